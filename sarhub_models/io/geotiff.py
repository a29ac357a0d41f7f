"""GeoTIFF and ENVI rasters, whole or in parts, with what they say of their pixels and nothing else followed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from .limits import check_regular, check_size
from .raster import Raster, polarization

__all__ = [
    "COLORS",
    "ENVI",
    "TiffBands",
    "alone",
    "band_indices",
    "connect",
    "connect_remote",
    "envi_header",
    "of_gdal",
    "offline",
    "open_geotiff",
    "read_part",
    "read_tiff",
    "tiff_bands",
    "tiff_place",
    "tiff_size",
]

COLORS = ("red", "green", "blue")
ENVI = (".img", ".bin")
"""Suffixes of ENVI rasters."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PATIENT = {"GDAL_HTTP_MAX_RETRY": "4", "GDAL_HTTP_RETRY_DELAY": "0.5"}
_COMPLEX_INTEGERS = {"complex_int16": "int32"}  # GDAL's, by a type of that size


def band_indices(count: int, bands: Sequence[int] | None) -> list[int]:
    """Return the indices of bands that count from 1."""
    for band in bands or ():
        if not 1 <= band <= count:
            raise ImageError(f"has no band {band}, only {count} ({'1' if count == 1 else f'1 to {count}'})")
    return list(range(count)) if bands is None else [band - 1 for band in bands]


def envi_header(file: Path) -> Path | None:
    """Return the header beside an ENVI raster, ``name.hdr`` or ``name.img.hdr``, or ``None``."""
    candidates = (file.with_suffix(".hdr"), file.with_name(f"{file.name}.hdr"))
    return next((header for header in candidates if header.is_file()), None)


@contextmanager
def alone() -> Iterator[None]:
    """Let GDAL follow no reference to the network while the block runs, and say nothing of missing coordinates."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings(), offline():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # chips seldom are
        yield


def of_gdal(err: Exception) -> bool:
    """Return ``True`` for errors of rasterio and of GDAL below it, whose own have no public class."""
    return type(err).__module__.startswith("rasterio")


def offline(**options: Any) -> Any:
    """Return a :class:`rasterio.Env` in which GDAL follows no reference to the network; for the reads of a thread."""
    import rasterio

    # What a tag or an .aux.xml names may be an address; no file has this suffix. What is open stays so
    return rasterio.Env(CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".none", **_PATIENT, **options)


@contextmanager
def open_geotiff(file: Path) -> Iterator[Any]:
    """Open a GeoTIFF or ENVI raster; neither its name nor its content can lead to another file or to the network."""
    with alone(), connect(file) as dataset:
        yield dataset


def connect(file: Path, *, member: str | None = None) -> Any:
    """Return a GeoTIFF or ENVI raster that stays open, as a :class:`rasterio.io.DatasetReader`.

    Its name cannot lead to another file or to the network; nor can its content, if it is read within :func:`offline`.

    Args:
        file: the raster, or a .zip archive with one in it.
        member: path of a GeoTIFF in the archive.

    Raises:
        ImageError: it does not begin as such a file does, or is shorter than its header says.
        rasterio.errors.RasterioIOError: GDAL cannot open it.
    """
    import rasterio

    path = str(Path.cwd() / file)  # of a relative one, such as http:/… or GTIFF_DIR:…, GDAL would make an address
    # Only this driver: others, such as VRT, follow references to other files and to the network
    driver = "ENVI" if file.suffix.lower() in ENVI else "GTiff"
    if path.startswith("/vsi"):
        raise ImageError("lies where GDAL has its virtual files; move it to another folder")
    if member is not None:
        with alone():
            return rasterio.open(f"/vsizip/{{{path}}}/{member}", driver="GTiff")
    _check_beginning(file, driver)
    for suffix in (".msk", ".ovr", ".aux.xml"):
        _check_sidecar(Path(f"{path}{suffix}"))
    with alone():
        dataset = rasterio.open(path, driver=driver)
    if driver == "ENVI":
        _check_length(file, dataset)
    _check_mask(Path(f"{path}.msk"), dataset)
    return dataset


def connect_remote(path: str) -> Any:
    """Return a GeoTIFF of an object store that stays open, as :func:`connect` does; no other address is asked.

    Files beside it (masks, overviews, metadata) are not looked for.

    Args:
        path: GDAL's name of it, such as ``/vsicurl/https://…`` or ``/vsis3/bucket/…``.

    Raises:
        rasterio.errors.RasterioIOError: it is missing, out of reach, or no GeoTIFF.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    options = {"CPL_VSIL_CURL_ALLOWED_FILENAME": path, "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", **_PATIENT}
    with warnings.catch_warnings(), rasterio.Env(**options):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver="GTiff")


def _check_beginning(file: Path, driver: str) -> None:
    """Refuse a file that is not what its suffix says, before GDAL looks at it."""
    if driver == "ENVI":
        header = envi_header(file)
        if header is None:
            raise ImageError(f"expected the header of an ENVI raster beside it, {file.stem}.hdr, found none")
        check_regular(header)
        with header.open("rb") as stream:
            if stream.read(4) != b"ENVI":
                raise ImageError(f"{header.name} beside it is no header of an ENVI raster, it does not begin with ENVI")
        return
    with file.open("rb") as stream:
        if stream.read(4) not in _TIFF:
            raise ImageError("cannot be read as .tif, it does not begin as a TIFF file does; truncated or damaged?")


def _check_length(file: Path, dataset: Any) -> None:
    """Refuse an ENVI raster that is shorter than its header says: GDAL would fill it with zeros."""
    pixels = dataset.count * dataset.width * dataset.height
    size = int(np.dtype(_COMPLEX_INTEGERS.get(dataset.dtypes[0], dataset.dtypes[0])).itemsize)
    if (found := file.stat().st_size) < pixels * size:
        raise ImageError(f"expected {pixels * size} bytes of pixels as its header says, got {found}; truncated?")


def _check_sidecar(file: Path) -> None:
    """Refuse what GDAL would wait for, and what it would open with any driver, as it does masks and overviews."""
    if not os.path.lexists(file):
        return
    if not file.is_file():
        raise ImageError(f"{file.name} beside it is no regular file; remove it")
    if file.suffix != ".xml":
        with file.open("rb") as stream:
            if stream.read(4) not in _TIFF:
                raise ImageError(f"{file.name} beside it is no TIFF file; remove it")


def _check_mask(file: Path, dataset: Any) -> None:
    """Refuse a mask beside a raster that says another size or place than it: GDAL looks at neither."""
    import rasterio

    if not file.is_file():
        return
    with alone(), rasterio.open(file, driver="GTiff") as mask:
        pairs = [("size", mask.shape, dataset.shape)]
        if mask.crs is not None:
            pairs.append(("coordinate reference system", mask.crs, dataset.crs or dataset.gcps[1]))
            if dataset.crs is not None:
                pairs.append(("transform", tuple(mask.transform), tuple(dataset.transform)))
    for what, here, there in pairs:
        if here != there:
            dataset.close()
            raise ImageError(
                f"the mask {file.name} beside it has another {what}: {here}, and the image {there}; bring the mask to "
                "the grid of the image"
            )


def tiff_size(file: Path) -> tuple[int, int]:
    """Return height and width."""
    with open_geotiff(file) as dataset:
        return dataset.shape


@dataclass(frozen=True)
class TiffBands:
    """The bands of a raster.

    Attributes:
        names: of each, ``""`` where the file does not say it; without that of transparency.
        alpha: there is one more, of transparency.
        rgb: they are the channels of a picture.
    """

    names: tuple[str, ...]
    alpha: bool
    rgb: bool


def read_tiff(file: Path, bands: Sequence[int] | None) -> Raster:
    """Read bands, counted from 1, of a GeoTIFF or ENVI raster; ``None`` for all."""
    with open_geotiff(file) as dataset:
        told = tiff_bands(file, dataset)
        indices = band_indices(len(told.names), bands)
        raster = read_part(dataset, told, indices)
        if bands is None and told.rgb and (raster.array == raster.array[:1]).all():
            return raster.select([0])
        return raster


def tiff_bands(file: Path, dataset: Any) -> TiffBands:
    """Return what the bands of an open raster are.

    Raises:
        ImageError: it holds several images, or 0 is white.
    """
    if len(dataset.subdatasets) > 1:
        raise ImageError(f"holds {len(dataset.subdatasets)} images; split it into files of one")
    if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        raise ImageError("says that 0 is white, as of a fax; convert it to 0 for black")
    for block in dataset.block_shapes:
        check_size(block)
    said: list[str] = []
    for number, description in enumerate(dataset.descriptions, 1):
        tags = {key.lower(): value for key, value in dataset.tags(number).items()}
        tag = tags.get("polarization") or tags.get("polarisation")
        said.append(polarization(description) or polarization(tag) or description or "")
    colors = tuple(color.name for color in dataset.colorinterp)
    # GDAL writes three or four bands of bytes as RGB and alpha, whatever they are; names say what they are
    plain = not any(said)
    alpha = colors in (("gray", "alpha"), (*COLORS, "alpha")) if plain else colors[-1] == "alpha" and not said[-1]
    names = said[:-1] if alpha else said
    rgb = plain and colors[: len(names)] == COLORS
    if rgb:
        names = list(COLORS)
    if len(names) == 1 and not names[0]:
        names = [polarization(file.stem)]
    return TiffBands(tuple(names), alpha, rgb)


def read_part(dataset: Any, told: TiffBands, indices: Sequence[int], *, window: Any = None) -> Raster:
    """Read bands of an open raster, with scale, offset and a table of grays applied.

    Args:
        dataset: as of :func:`connect`.
        told: its bands.
        indices: of the bands to read, from 0.
        window: ``((first row, last row + 1), (first column, last column + 1))`` within the raster; by default all.

    Raises:
        ImageError: it is more than the limit, or has a table of colors.
    """
    names = told.names
    size = dataset.shape if window is None else tuple(stop - start for start, stop in window)
    check_size((len(indices), *size))
    array = dataset.read([index + 1 for index in indices], window=window)
    valid, reason = _tiff_mask(dataset, indices, told.alpha, window, array)
    scales, offsets = ([values[index] for index in indices] for values in (dataset.scales, dataset.offsets))
    if any(scale != 1 for scale in scales) or any(offsets):
        wide = array.astype(np.result_type(array.dtype, np.float64))
        wide = wide * np.reshape(scales, (-1, 1, 1)) + np.reshape(offsets, (-1, 1, 1))
        array = wide.astype(np.complex64 if wide.dtype.kind == "c" else np.float32)
    array, names = _expand_palette(dataset, array, names)
    chosen = tuple(names[index] for index in indices) if len(names) > max(indices) else names
    return Raster(array, valid, reason, chosen if any(chosen) else (), *tiff_place(dataset))


def tiff_place(dataset: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return the coordinate reference system, the transform, and the ground control points."""
    points, system = dataset.gcps
    return dataset.crs or system, dataset.transform, tuple(points)


def _tiff_mask(
    dataset: Any, indices: Sequence[int], alpha: bool, window: Any, array: np.ndarray
) -> tuple[np.ndarray | None, str]:
    from rasterio.enums import MaskFlags

    flags = {flag for index in indices for flag in dataset.mask_flag_enums[index]}
    if MaskFlags.alpha in flags and not alpha:  # a band of data that GDAL took for transparency
        return None, ""
    if flags <= {MaskFlags.all_valid}:
        return None, ""
    if flags == {MaskFlags.nodata} and array.dtype.kind == "c":  # of which GDAL compares the real part alone
        valid = np.stack([_differs(band, dataset.nodatavals[i]) for band, i in zip(array, indices, strict=True)])
    else:
        valid = np.stack([dataset.read_masks(index + 1, window=window) > 0 for index in indices])
    values = {f"{value:g}" for value in (dataset.nodatavals[index] for index in indices) if value is not None}
    reason = f"nodata ({', '.join(sorted(values))}, says the file)" if values else "masked by the file"
    return (None, "") if valid.all() else (valid, reason)


def _differs(band: np.ndarray, nodata: float) -> np.ndarray:
    """Return where complex values are not the one that stands for no data."""
    return ~np.isnan(band) if np.isnan(nodata) else band != nodata


def _expand_palette(dataset: Any, array: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the values that the color table of the only band stands for: grays, or nothing at all."""
    if len(names) != 1 or dataset.colorinterp[0].name != "palette":
        return array, names
    table = dataset.colormap(1)
    if any(not red == green == blue for red, green, blue, _ in table.values()):
        raise ImageError("has a table of colors, so its numbers are no amplitude; convert it to one band of data")
    grays = np.zeros(int(array.max()) + 1, np.uint8)
    for value, color in table.items():
        if value < len(grays):
            grays[value] = color[0]
    return grays[array], names
