"""List the models: ``sarhub list``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ...zoo import text
from ...zoo.manifest import list_models, model_info
from .. import console
from ..arguments import FullScale, Json, split_bands
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
    size: Annotated[int | None, typer.Option(help="Only weights whose images have so many pixels a side.")] = None,
    license: Annotated[str | None, typer.Option(help="Only this license; none: without one.")] = None,
    method: Annotated[str | None, typer.Option(help="Only weights pre-trained with this method.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--for", metavar="FILE", help="Rank the weights by how well they fit this image, and say why not."
        ),
    ] = None,
    full_scale: FullScale = None,
    as_json: Json = False,
) -> None:
    """List the models.

    \b
    Examples:
      sarhub list
      sarhub list 'resnet*' --dataset ben
      sarhub list --bands VV,VH --license CC-BY-4.0
      sarhub list --network swin_t --json
      sarhub list --for tile.tif
      sarhub list --for chip.npy --bands VV,VH --radiometry db
    """
    if file is not None:
        names = list_models(pattern, network=network, dataset=dataset, sensor=sensor, license=license, method=method)
        _rank(file, names, split_bands(bands), radiometry, full_scale, as_json)
        return
    names = list_models(
        pattern,
        network=network,
        dataset=dataset,
        sensor=sensor,
        bands=split_bands(bands),
        radiometry=radiometry,
        size=size,
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


def _rank(
    file: Path,
    names: Sequence[str],
    bands: Sequence[str] | None,
    radiometry: str | None,
    full_scale: float | None,
    as_json: bool,
) -> None:
    """Print the weights beside an image."""
    from ...models.fitting import rank_models

    fits = rank_models(file, names=names, bands=bands, radiometry=radiometry, full_scale=full_scale)
    if as_json:
        console.print_json([{"name": f.info.name, "obstacle": f.obstacle, "notes": list(f.notes)} for f in fits])
        return
    usable = [fit for fit in fits if fit.obstacle is None]
    if usable:
        rows = [(f.info.name, f.info.network, text.thousands(f.info.params), "; ".join(f.notes)) for f in usable]
        console.print_table(("fits", "network", "params", ""), rows)
    reasons: dict[str, list[str]] = {}
    for fit in fits:
        if fit.obstacle is not None:
            reasons.setdefault(fit.obstacle, []).append(fit.info.name)
    for reason, those in reasons.items():
        more = f" and {len(those) - 3} more" if len(those) > 3 else ""
        print(f"\nnot {', '.join(those[:3])}{more}: {reason}")
