"""Map clusters of a scene: ``sarhub scene cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...arguments import Bands, BatchSize, Device, FullScale, Json, Model, Radiometry, Seed
from ...local import usable_device
from ...scenes import (
    Address,
    Band,
    Denoise,
    Engine,
    MaxNodata,
    Overlap,
    Quicklook,
    Resolution,
    SceneArgument,
    Size,
    Stride,
    Swath,
    print_map,
    reading,
    windows,
)


def command(
    scene: SceneArgument,
    model: Model,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Map to write, .tif.")],
    clusters: Annotated[int, typer.Option(min=2, max=64, help="Number of clusters.")] = 8,
    seed: Seed = 0,
    size: Size = None,
    stride: Stride = None,
    overlap: Overlap = None,
    resolution: Resolution = None,
    max_nodata: MaxNodata = 0.5,
    radiometry: Radiometry = None,
    full_scale: FullScale = None,
    bands: Bands = None,
    band: Band = None,
    swath: Swath = None,
    denoise: Denoise = False,
    batch_size: BatchSize = 32,
    device: Device = "auto",
    engine: Engine = "local",
    address: Address = None,
    quicklook: Quicklook = True,
    as_json: Json = False,
) -> None:
    """Map clusters of a scene: places that look alike, without any label.

    k-means of the features of overlapping windows; cluster 0 is the largest. The map is a Cloud-Optimized GeoTIFF with
    a palette.

    \b
    Example:
      sarhub scene cluster scene.tif --model resnet50_ssl4eo.moco --clusters 6 --out clusters.tif
    """
    from ....scenes.cluster import cluster_scene

    found = cluster_scene(
        scene,
        weights=model,
        out=out,
        clusters=clusters,
        seed=seed,
        windows=windows(size, stride, overlap, resolution, max_nodata, batch_size),
        reading=reading(bands, band, radiometry, full_scale, swath, denoise),
        device=usable_device(device),
        engine=engine,
        address=address,
        quicklook=quicklook,
        progress=not as_json,
    )
    print_map(found, as_json)
