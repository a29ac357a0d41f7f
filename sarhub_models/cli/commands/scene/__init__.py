"""Walk over whole scenes: ``sarhub scene``."""

from __future__ import annotations

import typer

group = typer.Typer(rich_markup_mode=None)


@group.callback(invoke_without_command=True)
def scene(context: typer.Context) -> None:
    """Walk over whole scenes, window by window: GeoTIFF, Sentinel-1 SAFE, SICD.

    \b
    Examples:
      sarhub scene embed S1A_IW_GRDH_….SAFE --model resnet50_ssl4eo.moco --out embeddings.parquet
      sarhub scene similar scene.tif --like 12.41,55.68 --model resnet50_ssl4eo.moco --out places.geojson
      sarhub scene cluster scene.tif --model resnet50_ssl4eo.moco --clusters 6 --out clusters.tif
      sarhub predict RUN scene.tif --out map.tif
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
