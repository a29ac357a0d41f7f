"""Masks on disk: the number that stands at each pixel, as the file stores it."""

from __future__ import annotations

import colorsys
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from .decoders import DECODERS
from .files import replacing
from .geotiff import open_geotiff
from .images import naming
from .limits import check_size
from .raster import Raster

__all__ = ["mask_colors", "read_numbers", "write_mask"]

_PICTURES = (".png", ".bmp")
_RASTERS = (".tif", ".tiff", ".img", ".bin")
_STRETCHED = {"L;2": 85, "L;4": 17}  # Pillow spreads fewer bits over 0…255


def read_numbers(path: str | os.PathLike[str]) -> Raster:
    """Read a mask: one whole number a pixel.

    Of a picture or raster with a table of colors the numbers are taken, not the colors.

    Args:
        path: PNG, BMP, GeoTIFF, ENVI, or ``.npy``.

    Returns:
        Integers (1, H, W), with the pixels that the file says have no data.

    Raises:
        ImageError: the file cannot be read, holds several bands or colors, or numbers that are not whole.
    """
    file = Path(path)
    with naming(file):
        suffix = file.suffix.lower()
        if suffix in _PICTURES:
            raster = _of_picture(file)
        elif suffix in _RASTERS:
            raster = _of_tiff(file)
        elif suffix == ".npy":
            raster = DECODERS[suffix].read(file, None)
        else:
            raise ImageError(f"a mask cannot be {suffix}: expected {', '.join((*_PICTURES, *_RASTERS, '.npy'))}")
        if len(raster.array) != 1:
            raise ImageError(f"expected one number a pixel, found {len(raster.array)} bands or colors")
        array = raster.array
        if array.dtype.kind not in "iu":
            known = np.ones(array.shape, bool) if raster.valid is None else raster.valid
            array = np.where(known, array, 0) if array.dtype.kind == "f" else array
            if array.dtype.kind != "f" or not (array == np.round(array)).all():
                raise ImageError(f"expected whole numbers, the number of a class at each pixel, got {array.dtype}")
            array = array.astype(np.int64)
        return Raster(array, raster.valid, raster.reason, crs=raster.crs, transform=raster.transform, gcps=raster.gcps)


def _of_picture(file: Path) -> Raster:
    from PIL import Image

    with Image.open(file, formats=("PNG", "BMP")) as picture:
        check_size((picture.height, picture.width))
        raw = str(picture.tile[0][3]) if picture.format == "PNG" and picture.tile else ""
        if picture.mode in ("1", "L", "P") or picture.mode.startswith("I"):
            array = np.asarray(picture)
            array = array.astype(np.uint8) if array.dtype == bool else array
            return Raster((array // _STRETCHED.get(raw, 1))[None])
        colors = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
        return Raster(colors[:1] if (colors == colors[:1]).all() else colors)


def _of_tiff(file: Path) -> Raster:
    with open_geotiff(file) as dataset:
        check_size((dataset.count, *dataset.shape))
        array = dataset.read()
        same = len(array) > 1 and bool((array == array[:1]).all())
        valid = np.ones(array.shape[1:], bool)
        if dataset.nodata is not None:
            valid = array[0] != dataset.nodata if dataset.nodata == dataset.nodata else ~np.isnan(array[0])
        points, system = dataset.gcps
        found = array[:1] if same else array
        nodata = None if valid.all() else np.broadcast_to(valid, found.shape)
        return Raster(found, nodata, "nodata", (), dataset.crs or system, dataset.transform, tuple(points))


def write_mask(file: Path, classes: np.ndarray, raster: Raster, class_names: Sequence[str], *, nodata: int) -> None:
    """Write a mask as GeoTIFF, with the georeference of its image, if that has one; it appears whole.

    Args:
        file: to write; its folder is made.
        classes: uint8 (H, W).
        raster: the image.
        class_names: go into the tag ``CLASSES``, with ``;`` between them, and into a table of colors.
        nodata: number of pixels without a class.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    place: dict[str, Any] = {} if raster.crs is None else {"crs": raster.crs}
    if raster.gcps:
        place["gcps"] = list(raster.gcps)
    elif raster.transform is not None and not raster.transform.is_identity:
        place["transform"] = raster.transform
    height, width = classes.shape
    options = {"compress": "deflate", "nodata": nodata, "dtype": "uint8", "count": 1, "width": width, "height": height}
    with warnings.catch_warnings(), replacing(file) as temporary:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(temporary, "w", driver="GTiff", **options, **place) as dataset:
            dataset.write(classes, 1)
            dataset.update_tags(CLASSES=";".join(class_names))
            dataset.write_colormap(1, dict(enumerate(mask_colors(len(class_names)))))


def mask_colors(count: int) -> list[tuple[int, int, int, int]]:
    """Return a color (red, green, blue, alpha) for each class."""
    return [_color(index) for index in range(count)]


def _color(index: int) -> tuple[int, int, int, int]:
    """Return the color of a class: dark for the first, as it is the background of most masks, then distinct hues."""
    if not index:
        return 40, 40, 40, 255
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255), 255
