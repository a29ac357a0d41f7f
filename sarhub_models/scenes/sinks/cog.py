"""Write Cloud-Optimized GeoTIFFs from rows of a grid, of which only those at hand are in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OptionError
from ...io.files import replacing
from ...io.georeference import Georeference
from ...io.geotiff import alone, of_gdal

__all__ = ["Palette", "check_cog", "write_cog"]

Palette = Sequence[tuple[int, ...]]
"""Red, green and blue of each class."""

_LARGEST, _SMALLEST = 512, 16  # sides of a tile
_TILE = 16 << 20  # bytes of one, all bands together, at most
_SUFFIXES = (".tif", ".tiff")


def check_cog(out: str | os.PathLike[str]) -> Path:
    """Return the path of a GeoTIFF that can be written, so that a long run need not end with an error.

    Raises:
        OptionError: it has another suffix, or there is no folder for it.
    """
    target = Path(out)
    if target.suffix.lower() not in _SUFFIXES:
        raise OptionError(f"{target}: expected a file name that ends in {' or '.join(_SUFFIXES)}")
    if not target.parent.is_dir():
        raise OptionError(f"{target}: there is no folder {target.parent}; create it first")
    return target


def write_cog(
    target: Path,
    strips: Iterable[np.ndarray],
    *,
    shape: tuple[int, int, int],
    dtype: str,
    georeference: Georeference,
    nodata: float,
    names: Sequence[str] = (),
    palette: Palette | None = None,
    tags: Mapping[str, str] | None = None,
    to_grid: str | None = None,
) -> None:
    """Write a Cloud-Optimized GeoTIFF, which appears whole or not at all and replaces one of the same name.

    Args:
        target: the file.
        strips: rows from the top, (bands, any number of rows, width) each; all together those of ``shape``.
        shape: bands, height and width.
        dtype: ``"uint8"``, ``"float32"``, or ``"float16"``, which readers see as float32.
        georeference: of the grid. Without one, the tag ``COORDINATES`` says that there are none.
        nodata: value of cells without data.
        names: descriptions of the bands.
        palette: colors of the values of the only band, from 0.
        tags: what else the file says.
        to_grid: coordinate reference system of a grid that the map is warped to, by its transform or by thin-plate
            splines through its ground control points; cells beside the map have no data.

    Raises:
        OptionError: ``to_grid`` does not suit the map.
        OSError: the disk refuses; the error names ``target``.
    """
    import rasterio
    from rasterio.shutil import copy

    bands, height, width = shape
    half = dtype == "float16"
    kind = "float32" if half else dtype
    block = _block(bands, np.dtype(kind).itemsize)
    layout: dict[str, Any] = {"BIGTIFF": "IF_SAFER", "COMPRESS": "DEFLATE", **({"NBITS": "16"} if half else {})}
    said = {**(tags or {}), **({"COORDINATES": "pixels"} if georeference.kind == "pixels" else {})}
    with replacing(target) as temporary:
        plain = temporary.with_name("plain.tif")
        tiles = {"tiled": True, "blockxsize": block, "blockysize": block, "interleave": "pixel", "ZLEVEL": 1}
        options = {"driver": "GTiff", "count": bands, "dtype": kind, "nodata": nodata, **tiles, **layout}
        options |= {"COMPRESS": "NONE"} if kind == "float32" else {}  # such numbers hardly get smaller
        place = georeference if to_grid is None else georeference.points_in(to_grid)
        try:
            with alone():
                with rasterio.open(plain, "w", height=height, width=width, **options, **place.profile()) as dataset:
                    _write(dataset, _of_height(strips, block))
                    _describe(dataset, names, palette, said)
                if to_grid is not None:
                    source, plain = plain, temporary.with_name("warped.tif")
                    with rasterio.open(source) as dataset:
                        profile = _grid(dataset, place, to_grid)
                        with rasterio.open(plain, "w", **options, **profile) as warped:
                            _warp(dataset, warped, place, smooth=palette is None)
                            _describe(warped, names, palette, said)
                    source.unlink()
                cog = {"BLOCKSIZE": block, "OVERVIEW_RESAMPLING": "NEAREST" if palette else "AVERAGE"}
                cog |= {} if half else {"PREDICTOR": "YES"}
                cog |= {"LEVEL": 1} if kind == "float32" else {}
                temporary.unlink()
                copy(plain, temporary, driver="COG", **layout, **cog)
                _check(temporary, bands, 0 if to_grid is not None else len(place.gcps))
        except Exception as err:
            if not of_gdal(err):
                raise
            raise OSError(errno.EIO, f"could not be written; is the disk full? ({err})", str(target)) from err
        plain.unlink()


def _block(bands: int, size: int) -> int:
    """Return the side of a tile: all bands of one lie together, so many bands make it small."""
    block = _LARGEST
    while block > _SMALLEST and block * block * bands * size > _TILE:
        block //= 2
    return block


def _of_height(strips: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Yield the same rows in strips of so many rows, so that each tile is written once."""
    waiting: list[np.ndarray] = []
    for strip in strips:
        waiting.append(strip)
        if sum(part.shape[1] for part in waiting) >= height:
            whole = np.concatenate(waiting, axis=1)
            full = whole.shape[1] // height * height
            yield whole[:, :full]
            waiting = [whole[:, full:]] if full < whole.shape[1] else []
    if waiting:
        yield np.concatenate(waiting, axis=1)


def _write(dataset: Any, strips: Iterable[np.ndarray]) -> None:
    row = 0
    for strip in strips:
        height = strip.shape[1]
        dataset.write(strip.astype(dataset.dtypes[0]), window=((row, row + height), (0, dataset.width)))
        row += height
    assert row == dataset.height, f"{row} rows of {dataset.height}"


def _describe(dataset: Any, names: Sequence[str], palette: Palette | None, tags: Mapping[str, str]) -> None:
    for number, name in enumerate(names, 1):
        dataset.set_band_description(number, name)
    if palette is not None:
        dataset.write_colormap(1, {value: (*color, 255) for value, color in enumerate(palette)})
    dataset.update_tags(**tags)


def _grid(dataset: Any, georeference: Georeference, system: str) -> dict[str, Any]:
    """Return size, transform and system of the grid that a map fits on with cells of the same size."""
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import calculate_default_transform

    points, (height, width) = list(dataset.gcps[0]), dataset.shape
    try:
        if not points:  # GDAL's own suggestion follows a transform that is rotated, which bounds do not tell
            with WarpedVRT(dataset, crs=system) as found:
                return {"crs": system, "transform": found.transform, "width": found.width, "height": found.height}
        transform, width, height = calculate_default_transform(
            georeference.crs, system, width, height, gcps=points, **_method(georeference)
        )
    except Exception as err:
        if not of_gdal(err):
            raise
        raise OptionError(f"{georeference.file}: its map cannot be warped to {system}: {err}") from err
    return {"crs": system, "transform": transform, "width": width, "height": height}


def _warp(dataset: Any, warped: Any, georeference: Georeference, *, smooth: bool) -> None:
    """Warp all bands, a part at a time."""
    from rasterio import band
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    bands = list(range(1, dataset.count + 1))
    how = Resampling.bilinear if smooth else Resampling.nearest
    reproject(band(dataset, bands), band(warped, bands), resampling=how, **_method(georeference))


def _method(georeference: Georeference) -> dict[str, str]:
    return {"SRC_METHOD": "GCP_TPS"} if georeference.spline else {}


def _check(file: Path, bands: int, points: int) -> None:
    """Read the last pixel: GDAL does not always say that a disk was full."""
    import rasterio

    with rasterio.open(file) as dataset:
        corner = ((dataset.height - 1, dataset.height), (dataset.width - 1, dataset.width))
        dataset.read(bands, window=corner)
        assert len(dataset.gcps[0]) == points
