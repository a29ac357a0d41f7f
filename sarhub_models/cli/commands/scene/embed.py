"""Compute the features of scenes: ``sarhub scene embed``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ... import console
from ...arguments import Model
from ...scenes import SceneOptions, print_picture, with_scene_options


@with_scene_options
def command(
    scenes: Annotated[
        str,
        typer.Argument(
            metavar="SCENE|DIR|LIST",
            help="A scene or its address, a folder of them, a .txt file with one a line, or a .json file with a STAC "
            "item collection.",
        ),
    ],
    model: Model,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="GeoParquet (.parquet, a row a window) or a dense map (.tif, one scene)."),
    ],
    options: SceneOptions = SceneOptions(),
) -> None:
    """Compute the features of scenes, window by window.

    A row for each window, with its outline, or a dense map as Cloud-Optimized GeoTIFF in float16. Start an interrupted
    run again and it resumes.

    \b
    Examples:
      sarhub scene embed S1A_IW_GRDH_….SAFE --model resnet50_ssl4eo.moco --out embeddings.parquet
      sarhub scene embed scene.tif --model mobilenetv3_dsn --out dense.tif --full-scale 65535
      sarhub scene embed scenes/ --model resnet50_ssl4eo.moco --out all.parquet --engine ray
      sarhub scene embed items.json --model resnet50_ssl4eo.moco --out all.parquet --radiometry gamma0
    """
    from ....scenes.embed import embed_scenes

    found = embed_scenes(scenes, weights=model, out=out, **options.settings())
    if options.as_json:
        console.print_json(asdict(found))
        return
    print(f"{out}: {found.windows} windows of {found.scenes} scenes, {found.features} features each")
    print(f"left out for want of data: {found.skipped}; coordinates: {found.coordinates}")
    print_picture(found.quicklook)
