"""List the models: ``sarhub list``."""

from __future__ import annotations

from typing import Annotated

import typer

from ...zoo import text
from ...zoo.manifest import list_models, model_info
from .. import console
from ..arguments import Json, split_bands
from ..local import weights_location


def command(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Shell-style wildcards; quote them.")] = "*",
    network: Annotated[str | None, typer.Option(help="Only this architecture.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only weights trained on this data.")] = None,
    sensor: Annotated[str | None, typer.Option(help="Only weights trained on images of this radar.")] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Only weights that take exactly these polarizations: VV, or VV,VH."),
    ] = None,
    radiometry: Annotated[str | None, typer.Option(help="Only weights that expect this of the pixels.")] = None,
    license: Annotated[str | None, typer.Option(help="Only this license; none: without one.")] = None,
    method: Annotated[str | None, typer.Option(help="Only weights pre-trained with this method.")] = None,
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
        bands=split_bands(bands),
        radiometry=radiometry,
        license=license,
        method=method,
    )
    infos = [model_info(name) for name in names]
    rows = [(info, weights_location(info)) for info in infos]
    if as_json:
        console.print_json([text.summary(info, here) for info, here in rows])
    elif rows:
        console.print_table(
            ("name", "network", "data", "bands", "radiometry", "classes", "params", "here"),
            [
                (
                    info.name,
                    info.network,
                    info.dataset.title,
                    ",".join(info.input.bands),
                    info.input.radiometry or "-",
                    str(info.num_classes or "-"),
                    text.thousands(info.params),
                    here or "",
                )
                for info, here in rows
            ],
            whole=("name",),
            spare=("network", "data", "classes", "here", "params", "radiometry", "bands"),
        )
    else:
        console.note(f"no model matches {pattern!r}; 'sarhub list' shows all")
