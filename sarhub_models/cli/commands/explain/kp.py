"""Find knowledge points: ``sarhub explain kp``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ....errors import OptionError
from ...arguments import Bands, Device, FullScale, Json, Model, Nodata, Preprocessing, Radiometry, Seed
from ...local import usable_device
from .. import explain as group

if TYPE_CHECKING:
    from torch import nn

    from ....explain import ChipBatch, KnowledgePoints


def command(
    model: Model,
    images: group.Images,
    out: group.Out,
    preprocessing: Preprocessing = None,
    label: group.Label = None,
    layer: group.Layer = None,
    patch: group.Patch = 8,
    masks: group.Masks = None,
    estimator: Annotated[
        Literal["direct", "unet"], typer.Option(help="direct: chip by chip; unet: a U-Net trained on these chips.")
    ] = "direct",
    unet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="U-Net of --estimator unet: read, with its training settings, if it exists; else written.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the direct estimator.")] = 150,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the U-Net.")] = 500,
    alpha: Annotated[float, typer.Option(help="Weight of the entropy in the loss.")] = 0.25,
    draws: Annotated[int, typer.Option(min=1, help="Draws of noise whose mean disturbs a chip.")] = 15,
    exact: Annotated[bool, typer.Option("--exact", help="Draw --draws times, not once with less noise.")] = False,
    b: Annotated[
        list[float] | None,
        typer.Option("--b", help="Threshold of knowledge points; may be repeated. Default: 0.25 0.3 0.4 0.5."),
    ] = None,
    full_scale: FullScale = None,
    radiometry: Radiometry = None,
    band: group.Band = None,
    bands: Bands = None,
    of_band: group.OfBand = None,
    nodata: Nodata = None,
    limit: group.Limit = None,
    table: group.Table = "csv",
    pictures: group.Figures = "png",
    palette: group.Palette = "default",
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find knowledge points.

    Patches where a network notices noise earlier than in the background, at several thresholds; and how many of them
    lie on the target and its shadow. Writes measures, summary, and for each chip maps (.npz) and a picture.

    \b
    Examples:
      sarhub explain kp --model mobilenetv3_dsn --images chips/ --out kp/ --full-scale 65535
      sarhub explain kp --model outputs/my_run --images chips/ --out kp/
    """
    if unet is not None and estimator != "unet":
        raise OptionError("--unet is the file of --estimator unet: give both")
    network, transform, reading = group.open_network(
        model,
        preprocessing,
        radiometry=radiometry,
        full_scale=full_scale,
        bands=bands,
        nodata=nodata,
    )
    chips = group.open_chips(images, transform, reading, band=band, bands=bands, limit=limit, shown=of_band)
    from ....explain import THRESHOLDS, Amortized, Direct, band_index
    from ....explain.results import Found, write_folder

    options: dict[str, Any] = {
        **{"layer": layer, "patch": patch, "alpha": alpha, "draws": draws, "exact": exact, "seed": seed},
        **{"mean": chips.mean, "std": chips.std, "progress": not as_json, "channel": band_index(transform, of_band)},
        "estimator": Direct(steps=steps) if estimator == "direct" else Amortized(epochs=epochs),
    }
    points = _explainer(network.to(usable_device(device)), chips, unet, options)
    regions = group.chip_regions(chips, masks, points.problem.patch)
    explanation = points.explain(chips.values, chips.names)
    found = Found.of_points(
        *(label or model, chips.names, chips.amplitude, regions, explanation),
        thresholds=tuple(b or THRESHOLDS),
        settings=points.settings(),
    )
    summary = write_folder(out, found, table=table, pictures=pictures, palette=palette, seed=seed)
    group.print_summary(out, len(chips), summary, as_json)


def _explainer(network: nn.Module, chips: ChipBatch, unet: Path | None, options: dict[str, Any]) -> KnowledgePoints:
    """Return the explainer: with a U-Net from a file, with one trained on these chips, or without."""
    from ....explain import Direct, KnowledgePoints

    if unet is not None and unet.exists():
        return KnowledgePoints.load(unet, network, progress=options["progress"])
    points = KnowledgePoints(network, **options)
    if not isinstance(points.estimator, Direct):
        points.fit(chips.values, chips.names)
        if unet is not None:
            points.save(unet)
    return points
