"""Find knowledge points: ``sarhub explain kp``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ....errors import OptionError
from ...arguments import Device, FullScale, Json, Seed
from ...local import usable_device
from . import (
    Band,
    Figures,
    Images,
    Label,
    Layer,
    Limit,
    Masks,
    Model,
    Out,
    Palette,
    Patch,
    Preprocessing,
    Table,
    chip_regions,
    open_chips,
    open_network,
    print_summary,
)

if TYPE_CHECKING:
    from torch import nn

    from ....explain import ChipBatch, KnowledgePoints

__all__ = ["command"]


def command(
    model: Model,
    images: Images,
    out: Out,
    preprocessing: Preprocessing = None,
    label: Label = None,
    layer: Layer = None,
    patch: Patch = 8,
    masks: Masks = None,
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
    band: Band = None,
    limit: Limit = None,
    table: Table = "csv",
    pictures: Figures = "png",
    palette: Palette = "default",
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
      sarhub explain kp --model best.safetensors --preprocessing mobilenetv3_dsn --images chips/ --out kp/
    """
    if unet is not None and estimator != "unet":
        raise OptionError("--unet is the file of --estimator unet: give both")
    network, transform = open_network(model, preprocessing)
    chips = open_chips(images, transform, full_scale, band, limit)
    from ....explain import THRESHOLDS, Amortized, Direct

    options: dict[str, Any] = {
        "layer": layer,
        "patch": patch,
        "mean": transform.mean,
        "std": transform.std,
        "alpha": alpha,
    }
    options |= {"draws": draws, "exact": exact, "seed": seed, "progress": not as_json}
    options["estimator"] = Direct(steps=steps) if estimator == "direct" else Amortized(epochs=epochs)
    points = _explainer(network.to(usable_device(device)), chips, unet, options)
    summary = _write_points(
        *(out, label or model, chips, points, masks, tuple(b or THRESHOLDS)),
        {"table": table, "pictures": pictures, "palette": palette, "seed": seed},
    )
    print_summary(out, len(chips), summary, as_json)


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


def _write_points(
    out: Path,
    label: str,
    chips: ChipBatch,
    points: KnowledgePoints,
    masks: Path | None,
    thresholds: tuple[float, ...],
    options: dict[str, Any],
) -> list[dict[str, Any]]:
    from ....explain.results import Found, write_folder

    regions = chip_regions(chips, masks, points.problem.patch)
    explanation = points.explain(chips.values, chips.names)
    found = Found.of_points(
        label, chips.names, chips.amplitude, regions, explanation, thresholds, settings=points.settings()
    )
    return write_folder(out, found, **options)
