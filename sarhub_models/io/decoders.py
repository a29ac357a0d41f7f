"""Decoders of images: one for NumPy files, GeoTIFF (:mod:`.geotiff`) and pictures each; what a file says is kept."""

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
from .geotiff import COLORS, ENVI, band_indices, envi_header, read_tiff, tiff_size
from .limits import check_array, check_member, check_size, max_pixels
from .raster import Raster, polarization

__all__ = ["DECODERS", "Decoder", "is_image"]

_KEY = "image"
_CHANNELS = 4  # so many at most, and fewer than rows: (H, W, C)


@dataclass(frozen=True)
class Decoder:
    """A format: how it is read, and how its height and width are.

    Attributes:
        read: of a file and the bands to read, from 1, or ``None`` for all.
        size: of a file.
    """

    read: Callable[[Path, Sequence[int] | None], Raster]
    size: Callable[[Path], tuple[int, int]]


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
    return raster if bands is None else raster.select(band_indices(len(array), bands))


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
    names = COLORS if len(array) == 3 else (polarization(file.stem),)
    if valid is not None:
        valid = None if valid.all() else np.broadcast_to(valid, array.shape)
    raster = Raster(array, valid, "transparent", names if any(names) else ())
    return raster if bands is None else raster.select(band_indices(len(array), bands))


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
        if not isinstance(key, int):
            return array[None], None
        steps = {"L;2": 85, "L;4": 17}.get(raw, 1)  # fewer bits are stretched to 0…255
        return array[None], array != (255 * bool(key) if raw == "1" else key * steps)
    if mode not in ("LA", "P", "RGB", "RGBA"):
        raise ImageError(f"a picture of mode {mode}, which is no amplitude; save one band")
    if mode == "LA":
        gray, alpha = np.moveaxis(np.asarray(picture), -1, 0)
        return gray[None], alpha > 0
    transparent = mode == "RGBA" or key is not None
    channels = np.moveaxis(np.asarray(picture.convert("RGBA" if transparent else "RGB")), -1, 0)
    return channels[:3], channels[3] > 0 if transparent else None


_NPY, _NPZ = Decoder(_read_npy, _npy_size), Decoder(_read_npz, _npz_size)
_TIF, _PICTURE = Decoder(read_tiff, tiff_size), Decoder(_read_picture, _picture_size)
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
    return suffix in DECODERS and (suffix not in ENVI or envi_header(file) is not None)
