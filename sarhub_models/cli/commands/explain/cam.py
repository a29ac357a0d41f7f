"""Draw class-activation maps: ``sarhub explain cam``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ...arguments import Bands, Device, FullScale, Json, Model, Nodata, Preprocessing, Radiometry
from ...local import usable_device
from .. import explain as group

Method = Literal["gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam"]


def command(
    model: Model,
    images: group.Images,
    out: group.Out,
    preprocessing: Preprocessing = None,
    label: group.Label = None,
    method: Annotated[Method, typer.Option(help="Kind of class-activation map.")] = "gradcam",
    layer: group.Layer = None,
    class_index: Annotated[
        int | None,
        typer.Option("--class", min=0, help="Class to explain. Default: the one that is predicted for each chip."),
    ] = None,
    patch: group.Patch = 8,
    masks: group.Masks = None,
    full_scale: FullScale = None,
    radiometry: Radiometry = None,
    band: group.Band = None,
    bands: Bands = None,
    shown: group.Shown = None,
    nodata: Nodata = None,
    limit: group.Limit = None,
    table: group.Table = "csv",
    pictures: group.Figures = "png",
    palette: group.Palette = "default",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw class-activation maps.

    Where the evidence for a class lies, and how much of it on the target and its shadow. Needs a classifier.

    \b
    Examples:
      sarhub explain cam --model mobilenetv3_dsn --images chips/ --out cam/ --full-scale 65535
      sarhub explain cam --model mobilenetv3_dsn --images chips/ --out cam/ --method layercam --class 3
    """
    network, transform, reading = group.open_network(
        model,
        preprocessing,
        radiometry=radiometry,
        full_scale=full_scale,
        bands=bands,
        nodata=nodata,
    )
    chips = group.open_chips(images, transform, reading, band=band, bands=bands, limit=limit, shown=shown)
    from ....explain import class_activation_maps
    from ....explain.results import Found, write_folder

    regions = group.chip_regions(chips, masks, patch)
    maps = class_activation_maps(
        network.to(usable_device(device)),
        chips.values,
        method=method,
        layer=layer,
        classes=None if class_index is None else [class_index] * len(chips),
        mean=chips.mean,
        std=chips.std,
        names=chips.names,
        progress=not as_json,
    )
    settings = {"model": model, "method": method, "layer": layer, "class": class_index}
    found = Found(label or model, method, chips.names, chips.amplitude, regions, maps, settings=settings)
    summary = write_folder(out, found, table=table, pictures=pictures, palette=palette)
    group.print_summary(out, len(chips), summary, as_json)
