"""Decoders of images: one for NumPy files, GeoTIFF and pictures each; what the file says of its pixels is kept."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import ImageError
from .files import open_file
from .limits import check_array, check_member, check_regular, check_size, max_pixels
from .raster import Raster, polarization

__all__ = ["DECODERS", "Decoder", "envi_header", "is_image", "open_geotiff"]

_KEY = "image"
_COLORS = ("red", "green", "blue")
_CHANNELS = 4  # so many at most, and fewer than rows: (H, W, C)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ENVI = (".img", ".bin")
_COMPLEX_INTEGERS = {"complex_int16": "int32"}  # GDAL's, by a type of that size


@dataclass(frozen=True)
class Decoder:
    """A format: how it is read, and how its height and width are.

    Attributes:
        read: of a file and the bands to read, from 1, or ``None`` for all.
        size: of a file.
    """

    read: Callable[[Path, Sequence[int] | None], Raster]
    size: Callable[[Path], tuple[int, int]]


def _indices(count: int, bands: Sequence[int] | None) -> list[int]:
    """Return the indices of bands that count from 1."""
    for band in bands or ():
        if not 1 <= band <= count:
            raise ImageError(f"has no band {band}, only {count} ({'1' if count == 1 else f'1 to {count}'})")
    return list(range(count)) if bands is None else [band - 1 for band in bands]


# ------------------------------------------------------------------------------------------------------------- NumPy


def _planes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (bands, H, W) of the shape of an array."""
    if len(shape) not in (2, 3):
        raise ImageError(f"expected shape (H, W) or (bands, H, W), got {shape}")
    if len(shape) == 3 and shape[2] <= _CHANNELS < shape[0]:
        raise ImageError(
            f"expected shape (bands, H, W), got {shape}, which looks like (H, W, bands); save it with the bands first: "
            "numpy.moveaxis(x, -1, 0)"
        )
    return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]


def _check_header(stream: IO[bytes], size: int) -> tuple[int, int, int]:
    """Return (bands, H, W) from the header of an array, which must fit the limit and the bytes that are there."""
    return _planes(check_array(stream, size))


def _of_array(file: Path, array: np.ndarray, bands: Sequence[int] | None) -> Raster:
    array = array.reshape(_planes(array.shape))
    names = (polarization(file.stem),) if len(array) == 1 else ()
    raster = Raster(array, bands=names if any(names) else ())
    return raster if bands is None else raster.select(_indices(len(array), bands))


def _read_npy(file: Path, bands: Sequence[int] | None) -> Raster:
    with file.open("rb") as stream:
        _check_header(stream, os.fstat(stream.fileno()).st_size)
        stream.seek(0)
        return _of_array(file, np.load(stream, allow_pickle=False), bands)


def _npy_size(file: Path) -> tuple[int, int]:
    with file.open("rb") as stream:
        return _check_header(stream, os.fstat(stream.fileno()).st_size)[1:]


@contextmanager
def _npz_member(file: Path) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    with zipfile.ZipFile(file) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist()]
        if len(keys) != 1 and _KEY not in keys:
            raise ImageError(f"expected a single array or one called {_KEY!r}, got {', '.join(keys) or 'none'}")
        info = archive.infolist()[0 if len(keys) == 1 else keys.index(_KEY)]
        check_member(info, file.stat().st_size)
        yield archive, info


def _read_npz(file: Path, bands: Sequence[int] | None) -> Raster:
    with _npz_member(file) as (archive, info):
        with archive.open(info) as stream:
            _check_header(stream, info.file_size)
        with archive.open(info) as stream:
            return _of_array(file, np.lib.format.read_array(stream, allow_pickle=False), bands)


def _npz_size(file: Path) -> tuple[int, int]:
    with _npz_member(file) as (archive, info), archive.open(info) as stream:
        return _check_header(stream, info.file_size)[1:]


# -------------------------------------------------------------------------------------------------- GeoTIFF and ENVI


def envi_header(file: Path) -> Path | None:
    """Return the header beside an ENVI raster, ``name.hdr`` or ``name.img.hdr``, or ``None``."""
    candidates = (file.with_suffix(".hdr"), file.with_name(f"{file.name}.hdr"))
    return next((header for header in candidates if header.is_file()), None)


@contextmanager
def open_geotiff(file: Path) -> Iterator[Any]:
    """Open a GeoTIFF or ENVI raster; neither its name nor its content can lead to another file or to the network."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path = str(Path.cwd() / file)  # of a relative one, such as http:/… or GTIFF_DIR:…, GDAL would make an address
    # Only this driver: others, such as VRT, follow references to other files and to the network
    driver = "ENVI" if file.suffix.lower() in _ENVI else "GTiff"
    _check_beginning(file, driver)
    if path.startswith("/vsi"):
        raise ImageError("lies where GDAL has its virtual files; move it to another folder")
    for suffix in (".msk", ".ovr", ".aux.xml"):
        _check_sidecar(Path(f"{path}{suffix}"))
    # What a tag or an .aux.xml names may be an address; no file has this suffix
    with warnings.catch_warnings(), rasterio.Env(CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".none"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # chips seldom are
        with rasterio.open(path, driver=driver) as dataset:
            if driver == "ENVI":
                _check_length(file, dataset)
            yield dataset


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


def _tiff_size(file: Path) -> tuple[int, int]:
    with open_geotiff(file) as dataset:
        return dataset.shape


def _read_tiff(file: Path, bands: Sequence[int] | None) -> Raster:
    with open_geotiff(file) as dataset:
        if len(dataset.subdatasets) > 1:
            raise ImageError(f"holds {len(dataset.subdatasets)} images; split it into files of one")
        if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
            raise ImageError("says that 0 is white, as of a fax; convert it to 0 for black")
        names, alpha, rgb = _tiff_bands(file, dataset)
        indices = _indices(len(names), bands)
        check_size((len(indices), *dataset.shape))
        for block in dataset.block_shapes:
            check_size(block)
        array = dataset.read([index + 1 for index in indices])
        valid, reason = _tiff_mask(dataset, indices, alpha)
        scales, offsets = ([values[index] for index in indices] for values in (dataset.scales, dataset.offsets))
        if any(scale != 1 for scale in scales) or any(offsets):
            wide = array.astype(np.result_type(array.dtype, np.float64))
            wide = wide * np.reshape(scales, (-1, 1, 1)) + np.reshape(offsets, (-1, 1, 1))
            array = wide.astype(np.complex64 if wide.dtype.kind == "c" else np.float32)
        array, names = _expand_palette(dataset, array, names)
        chosen = tuple(names[index] for index in indices) if len(names) > max(indices) else names
        raster = Raster(array, valid, reason, chosen if any(chosen) else (), *_place(dataset))
        if bands is None and rgb and (array == array[:1]).all():
            return raster.select([0])
        return raster


def _place(dataset: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return the coordinate reference system, the transform, and the ground control points."""
    points, system = dataset.gcps
    return dataset.crs or system, dataset.transform, tuple(points)


def _tiff_bands(file: Path, dataset: Any) -> tuple[tuple[str, ...], bool, bool]:
    """Return the names of the bands without that of transparency, whether there is one, and whether it is RGB."""
    said: list[str] = []
    for number, description in enumerate(dataset.descriptions, 1):
        tags = {key.lower(): value for key, value in dataset.tags(number).items()}
        tag = tags.get("polarization") or tags.get("polarisation")
        said.append(polarization(description) or polarization(tag) or description or "")
    colors = tuple(color.name for color in dataset.colorinterp)
    # GDAL writes three or four bands of bytes as RGB and alpha, whatever they are; names say what they are
    plain = not any(said)
    alpha = plain and colors in (("gray", "alpha"), (*_COLORS, "alpha"))
    names = said[:-1] if alpha else said
    rgb = plain and colors[: len(names)] == _COLORS
    if rgb:
        names = list(_COLORS)
    if len(names) == 1 and not names[0]:
        names = [polarization(file.stem)]
    return tuple(names), alpha, rgb


def _tiff_mask(dataset: Any, indices: Sequence[int], alpha: bool) -> tuple[np.ndarray | None, str]:
    from rasterio.enums import MaskFlags

    flags = {flag for index in indices for flag in dataset.mask_flag_enums[index]}
    if MaskFlags.alpha in flags and not alpha:  # a band of data that GDAL took for transparency
        return None, ""
    if flags <= {MaskFlags.all_valid}:
        return None, ""
    valid = np.stack([dataset.read_masks(index + 1) > 0 for index in indices])
    values = {f"{value:g}" for value in (dataset.nodatavals[index] for index in indices) if value is not None}
    reason = f"nodata ({', '.join(sorted(values))}, says the file)" if values else "masked by the file"
    return (None, "") if valid.all() else (valid, reason)


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


# ---------------------------------------------------------------------------------------------------------- pictures


@contextmanager
def _open_picture(file: Path) -> Iterator[Any]:
    from PIL import Image

    allowed = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is checked here
        try:
            if allowed is not None and max_pixels() > 2 * allowed:
                Image.MAX_IMAGE_PIXELS = max_pixels()
            # Only these: Pillow goes by content, not suffix, and hands PostScript to Ghostscript
            formats = ("BMP",) if file.suffix.lower() == ".bmp" else ("PNG", "JPEG")
            with open_file(file) as stream, Image.open(stream, formats=formats) as picture:
                check_size((picture.height, picture.width))
                yield picture
        except ValueError as err:
            if "Decompressed data too large" not in str(err):
                raise
            raise ImageError(f"is refused: texts in it unpack to more than the limit of Pillow ({err})") from err
        finally:
            Image.MAX_IMAGE_PIXELS = allowed


def _picture_size(file: Path) -> tuple[int, int]:
    with _open_picture(file) as picture:
        return picture.height, picture.width


def _read_picture(file: Path, bands: Sequence[int] | None) -> Raster:
    with _open_picture(file) as picture:
        array, valid = _pixels(picture)
    if len(array) == 3 and bands is None and (array == array[0]).all():
        array = array[:1]
    names = _COLORS if len(array) == 3 else (polarization(file.stem),)
    if valid is not None:
        valid = None if valid.all() else np.broadcast_to(valid, array.shape)
    raster = Raster(array, valid, "transparent", names if any(names) else ())
    return raster if bands is None else raster.select(_indices(len(array), bands))


def _pixels(picture: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the channels (1 or 3, H, W) of a picture, and where it is not transparent, (H, W)."""
    mode, key = picture.mode, picture.info.get("transparency")
    raw = str(picture.tile[0][3]) if picture.format == "PNG" and picture.tile else ""
    if mode.startswith("I"):  # Pillow opens 16 bits as I;16 or, by release, as 32-bit I
        array = np.asarray(picture).astype(np.uint16)
        return array[None], array != key if isinstance(key, int) else None
    if ";16" in raw:
        raise ImageError(f"16 bits a channel in {len(picture.getbands())} channels would lose 8 of them; save one band")
    if mode in ("1", "L"):
        array = np.asarray(picture if mode == "L" else picture.convert("L"))
        steps = {"1": 255, "L;2": 85, "L;4": 17}.get(raw, 1)  # fewer bits are stretched to 0…255
        return array[None], array != key * steps if isinstance(key, int) else None
    if mode not in ("LA", "P", "RGB", "RGBA"):
        raise ImageError(f"a picture of mode {mode}, which is no amplitude; save one band")
    if mode == "LA":
        gray, alpha = np.moveaxis(np.asarray(picture), -1, 0)
        return gray[None], alpha > 0
    transparent = mode == "RGBA" or key is not None
    channels = np.moveaxis(np.asarray(picture.convert("RGBA" if transparent else "RGB")), -1, 0)
    return channels[:3], channels[3] > 0 if transparent else None


_NPY, _NPZ = Decoder(_read_npy, _npy_size), Decoder(_read_npz, _npz_size)
_TIF, _PICTURE = Decoder(_read_tiff, _tiff_size), Decoder(_read_picture, _picture_size)
DECODERS = {
    ".npy": _NPY,
    ".npz": _NPZ,
    ".tif": _TIF,
    ".tiff": _TIF,
    ".png": _PICTURE,
    ".jpg": _PICTURE,
    ".jpeg": _PICTURE,
    ".bmp": _PICTURE,
    ".img": _TIF,
    ".bin": _TIF,
}
"""By suffix, in lower case."""


def is_image(file: Path) -> bool:
    """Return whether the name of a file says that it is an image; ``.img`` and ``.bin`` with a header beside it."""
    suffix = file.suffix.lower()
    return suffix in DECODERS and (suffix not in _ENVI or envi_header(file) is not None)
