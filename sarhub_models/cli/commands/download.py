"""Download weights into the cache: ``sarhub download``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...errors import OptionError, SarHubError
from ...zoo import text
from ...zoo.manifest import list_models, model_info
from .. import console
from ..arguments import Json, Names


def command(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Download every model.")] = False,
    as_json: Json = False,
) -> None:
    """Download weights into the cache.

    They are checked, converted to safetensors and ready for use offline. Interrupted downloads resume. Weights that are
    in the cache already are not downloaded again.

    \b
    Examples:
      sarhub download resnet18_tsx.grsl2020
      sarhub download resnet50_ben resnet50_osu
    """
    if everything == bool(names):
        raise OptionError("give the names of models, or --all")
    infos = [model_info(name) for name in (list_models() if everything else names or [])]
    from ...models.loading import spec_of
    from ...weights import Store

    results: list[dict[str, Any]] = []
    for info in infos:
        try:
            path = Store().path(info, spec_of(info), progress=not as_json)
        except SarHubError as err:
            results.append({"name": info.name, "path": None, "bytes": None, "error": str(err)})
            console.note(str(err))
            continue
        results.append({"name": info.name, "path": path, "bytes": path.stat().st_size, "error": None})
        if not as_json:
            print(f"{info.name}  {text.size(path.stat().st_size)}  {path}")
    if as_json:
        console.print_json(results)
    if any(result["error"] for result in results):
        raise typer.Exit(console.FAILED)
