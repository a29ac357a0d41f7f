"""Coordinates of pixels on the ground, as far as a file says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from .geotiff import of_gdal
from .images import open_tiff
from .raster import Raster

__all__ = ["read_place", "to_longitude_latitude"]

_TIFF = (".tif", ".tiff")


def read_place(file: Path) -> Raster:
    """Return the georeference of a file, a raster without pixels; only the header is read.

    Raises:
        ImageError: the file is missing or damaged.
    """
    nothing = np.empty((0, 0, 0), np.uint8)
    if file.suffix.lower() not in _TIFF:
        return Raster(nothing)
    with open_tiff(file) as dataset:
        points, system = dataset.gcps
        return Raster(nothing, crs=dataset.crs or system, transform=dataset.transform, gcps=tuple(points))


def to_longitude_latitude(raster: Raster, points: np.ndarray) -> np.ndarray | None:
    """Return longitudes and latitudes (WGS 84) of points of an image.

    Args:
        raster: the image.
        points: x and y in pixels from the outer corner of the first one, (N, 2).

    Returns:
        float64 (N, 2), or ``None`` where the image does not say where it lies.

    Raises:
        ImageError: its coordinate reference system cannot be converted.
    """
    from rasterio.transform import GCPTransformer
    from rasterio.warp import transform

    placed = raster.transform is not None and not raster.transform.is_identity
    if raster.crs is None or not (placed or raster.gcps):
        return None
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    east: Any
    north: Any
    try:
        if placed:
            east, north = raster.transform * (x, y)
        else:
            with GCPTransformer(raster.gcps) as points_of:
                east, north = points_of.xy(y, x, offset="ul")
        longitude, latitude = transform(raster.crs, "EPSG:4326", np.atleast_1d(east), np.atleast_1d(north))[:2]
    except Exception as err:
        if not of_gdal(err):
            raise
        raise ImageError(f"its coordinates cannot be converted: {err}") from err
    found = np.column_stack([longitude, latitude])
    if not np.isfinite(found).all():  # GDAL says so 20 times in a process, then nothing
        raise ImageError("its coordinates cannot be converted: they are outside of the projection's domain")
    return found
