"""``sarhub list | info | download | verify | import``: which models there are, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..errors import OptionError, SarHubError
from ..zoo import text
from ..zoo.manifest import ModelInfo, list_models, model_info
from . import console
from .arguments import Json, Name, Names, on_disk

if TYPE_CHECKING:
    from ..weights import Verification

__all__ = ["COMMANDS"]


def list_command(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Shell-style wildcards; quote them.")] = "*",
    network: Annotated[Optional[str], typer.Option(help="Only this architecture.")] = None,  # noqa: UP045
    dataset: Annotated[Optional[str], typer.Option(help="Only weights trained on this data.")] = None,  # noqa: UP045
    sensor: Annotated[Optional[str], typer.Option(help="Only weights that saw images of this radar.")] = None,  # noqa: UP045
    bands: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only weights that take exactly these polarisations: VV, or VV,VH."),
    ] = None,
    license: Annotated[Optional[str], typer.Option(help="Only this license; none: without one.")] = None,  # noqa: UP045
    method: Annotated[Optional[str], typer.Option(help="Only weights pre-trained in this way.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """List the models.

    \b
    Examples:
      sarhub list
      sarhub list 'resnet*' --dataset ben
      sarhub list --bands VV,VH --license CC-BY-4.0
      sarhub list --network swin_t --json
    """
    names = list_models(
        pattern,
        network=network,
        dataset=dataset,
        sensor=sensor,
        bands=bands.split(",") if bands is not None else None,
        license=license,
        method=method,
    )
    infos = [model_info(name) for name in names]
    rows = [(info, _whereabouts(info)) for info in infos]
    if as_json:
        console.print_json([text.summary(info, here) for info, here in rows])
    elif rows:
        console.print_table(
            ("name", "network", "data", "bands", "unit", "classes", "params", "here"),
            [
                (
                    info.name,
                    info.network,
                    info.dataset.title,
                    ",".join(info.input.bands),
                    info.input.unit or "-",
                    str(info.num_classes or "-"),
                    text.thousands(info.params),
                    here or "",
                )
                for info, here in rows
            ],
        )
    else:
        console.note(f"no model matches {pattern!r}; 'sarhub list' shows all")


def info_command(name: Name, as_json: Json = False) -> None:
    """Show all about one model.

    Data, classes, preprocessing with its numbers, sources, checksum, terms, citation, and how to load it.

    \b
    Examples:
      sarhub info resnet50_ben
      sarhub info swin_t_tsx --json
    """
    info = model_info(name)
    here = _whereabouts(info)
    if as_json:
        console.print_json({**info.to_dict(), "here": here, "license": info.license})
    else:
        console.print_facts(text.facts(info, here))
        print(f"\n{text.example(name, info)}")  # outside the columns: whole lines to copy


def download_command(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Download every model.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch weights into the cache.

    They are checked, converted to safetensors and ready for use offline. Interrupted downloads go on where they
    stopped. What is here already is not fetched again.

    \b
    Examples:
      sarhub download resnet18_tsx.grsl2020
      sarhub download resnet50_ben resnet50_osu
    """
    if everything == bool(names):
        raise OptionError("give the names of models, or --all")
    infos = [model_info(name) for name in (list_models() if everything else names or [])]
    from ..models.create import layout_of
    from ..weights import Store

    results: list[dict[str, Any]] = []
    for info in infos:
        try:
            path = Store().path(info, layout_of(info), progress=not as_json)
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


def verify_command(names: Names = None, as_json: Json = False) -> None:
    """Hash the weights on this disk anew.

    The exit code is 1 if a file is not what it was, or was made from another release than the published one. A damaged
    file is put aside, so that the next use fetches it again.

    \b
    Examples:
      sarhub verify
      sarhub verify resnet50_ben --json
    """
    from ..weights import Store

    found: list[Verification] = []
    wanted: list[str | None] = [*names] if names else [None]
    for name in wanted:
        with on_disk(name):
            found += Store().verify(name)
    if as_json:
        console.print_json([{"name": v.name, "path": v.path, "ok": v.ok, "problem": v.problem} for v in found])
    else:
        for result in found:
            print(f"{result.name}  {'ok' if result.ok else 'NOT OK'}  {result.problem or result.path}")
        if not found:
            print("no weights are on this disk")
    if not all(result.ok for result in found):
        console.note("some weights are not what they should be")
        raise typer.Exit(console.FAILED)


def import_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A released .pth file, or a .safetensors of this package.")
    ],
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The model that it holds; without it, file name and contents decide."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Cache a file of weights that you have.

    It is checked and converted; it stays as it is. For weights that no program may fetch: download them in a browser
    ('sarhub info NAME' shows where), then import.

    \b
    Examples:
      sarhub import ResNet50_BEN.pth
      sarhub import weights.pth --name resnet50_ben
    """
    from ..models.importing import import_checkpoint

    imported = import_checkpoint(file, name)
    if as_json:
        console.print_json({"name": imported.info.name, "path": imported.path, "reasons": imported.reasons})
    else:
        print(f"{file} is {imported.info.name}: {'; '.join(imported.reasons)}")
        print(f"converted to {imported.path}")


def _whereabouts(info: ModelInfo) -> str | None:
    """Return where the weights are on this disk: ``"cached"``, ``"bundled"`` or, if nowhere, ``None``."""
    from ..weights import Store
    from ..weights.sources import source_from

    if Store().cached(info) is not None:
        return "cached"
    return "bundled" if any(source_from(entry).in_place() for entry in info.sources) else None


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_command,
    "info": info_command,
    "download": download_command,
    "verify": verify_command,
    "import": import_command,
}
