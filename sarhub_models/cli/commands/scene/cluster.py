"""Map clusters of a scene: ``sarhub scene cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...arguments import Model, Seed
from ...scenes import SceneArgument, SceneOptions, print_map, with_scene_options


@with_scene_options
def command(
    scene: SceneArgument,
    model: Model,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Map to write, .tif.")],
    clusters: Annotated[int, typer.Option(min=2, max=64, help="Number of clusters.")] = 8,
    seed: Seed = 0,
    options: SceneOptions = SceneOptions(),
) -> None:
    """Map clusters of a scene: places that look alike, without any label.

    k-means of the features of overlapping windows; cluster 0 is the largest. The map is a Cloud-Optimized GeoTIFF with
    a palette.

    \b
    Example:
      sarhub scene cluster scene.tif --model resnet50_ssl4eo.moco --clusters 6 --out clusters.tif
    """
    from ....scenes.cluster import cluster_scene

    found = cluster_scene(scene, weights=model, out=out, clusters=clusters, seed=seed, **options.settings())
    print_map(found, as_json=options.as_json)
