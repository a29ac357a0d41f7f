"""Images on disk become two-dimensional arrays; whatever is wrong with one is an error that names its path."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError

__all__ = ["SUFFIXES", "image_size", "list_images", "open_tiff", "read_image"]

_KEY = "image"


def read_image(path: str | os.PathLike[str], *, band: int | None = None) -> np.ndarray:
    """Read one band of an image.

    ============== ====================================================================================
    suffix         what is read
    ============== ====================================================================================
    .npy           (H, W), or (bands, H, W)
    .npz           the only array of the file, else the one called ``image``; then as .npy
    .tif, .tiff    any GeoTIFF that rasterio reads: 8 and 16 bits, floating point, complex (CInt16, too)
    .png, .jpg,    8 or 16 bits, through Pillow. RGB whose three channels are equal is one band; an alpha
    .jpeg          channel is dropped
    ============== ====================================================================================

    Values are returned as stored: :func:`~sarhub_models.transforms.normalize_amplitude` brings them to [0, 1].

    Args:
        path: the file; its suffix, in any case, tells the format.
        band: which band to read, counted from 1; needed where the image has several that differ.

    Returns:
        Array (H, W) in the dtype of the file and this machine's byte order, real or complex (complex integers
        become complex64).

    Raises:
        ImageError: the file is missing, truncated, of another format or suffix; it holds Python objects, no numbers,
            NaN or infinity, no pixels, or several bands while ``band`` is not given; or has no such band.
    """
    file = Path(path)
    with _naming(file):
        image = _READERS[file.suffix.lower()](file, band)
    return _checked(file, image)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return height and width of an image, in pixels; only the header is read, except of .npz.

    Raises:
        ImageError: the file is missing, of another format or suffix, or its header is damaged.
    """
    file = Path(path)
    with _naming(file):
        return _SIZES[file.suffix.lower()](file)


@contextmanager
def open_tiff(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a GeoTIFF for reading, as a :class:`rasterio.io.DatasetReader`.

    Raises:
        ImageError: the file is missing, no GeoTIFF or damaged, or something fails while it is open; the message names
            it.
    """
    with _naming(Path(path)), _open_tiff(Path(path)) as dataset:
        yield dataset


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the images of a folder and its subfolders.

    Args:
        folder: where to look; hidden files and folders are left out.

    Returns:
        Paths below ``folder`` with a suffix that :func:`read_image` knows, sorted by their path within it: the same
        on every machine.

    Raises:
        ImageError: ``folder`` is not a folder, or holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageError(f"{root}: no such folder")
    candidates = (file.relative_to(root) for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    visible = (file for file in candidates if not any(part.startswith(".") for part in file.parts))
    found = sorted((file for file in visible if (root / file).is_file()), key=lambda file: file.parts)
    if not found:
        raise ImageError(f"{root}: no images in this folder or below; expected files named {', '.join(SUFFIXES)}")
    return [root / file for file in found]


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Make one error that names the file of whatever goes wrong when it is opened or decoded."""
    if file.suffix.lower() not in _READERS:
        raise ImageError(f"{file}: cannot read {file.suffix or 'files without suffix'}; expected {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise ImageError(f"{file}: no such file")
    try:
        yield
    except ImageError as err:
        raise ImageError(f"{file}: {err}") from err.__cause__
    except Exception as err:  # whatever a decoder makes of foreign bytes
        reason = f"{type(err).__name__}: {err}"
        raise ImageError(f"{file}: cannot be read as {file.suffix.lower()}, truncated or damaged? ({reason})") from err


def _checked(file: Path, image: np.ndarray) -> np.ndarray:
    if image.dtype.kind not in "iufc":
        raise ImageError(f"{file}: expected integer, floating-point or complex pixels, got {image.dtype}")
    if image.size == 0:
        raise ImageError(f"{file}: expected at least one pixel, got shape {image.shape}")
    if not np.isfinite(image).all():
        count = int(image.size - np.isfinite(image).sum())
        raise ImageError(f"{file}: {count} of {image.size} pixels are NaN or infinite; mask or replace them first")
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def _pick(array: np.ndarray, band: int | None) -> np.ndarray:
    """Return one band of (H, W) or (bands, H, W)."""
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise ImageError(f"expected shape (H, W) or (bands, H, W), got {array.shape}")
    return array[_index(len(array), band)]


def _index(count: int, band: int | None) -> int:
    """Return the index of a band that counts from 1."""
    if band is None and count != 1:
        raise ImageError(f"holds {count} bands; say which one to read with band=1 to {count}")
    if band is not None and not 1 <= band <= count:
        raise ImageError(f"has no band {band}, only {count} ({'1' if count == 1 else f'1 to {count}'})")
    return (band or 1) - 1


def _read_numpy(file: Path, band: int | None) -> np.ndarray:
    try:
        content: Any = np.load(file, allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                content = content[_npz_key(content.files)]
    except ValueError as err:
        if "allow_pickle" in str(err):
            raise ImageError("no array of numbers; Python objects (pickle) can run code and are never loaded") from err
        raise
    return _pick(content, band)


def _npz_key(keys: list[str]) -> str:
    if len(keys) == 1:
        return keys[0]
    if _KEY in keys:
        return _KEY
    raise ImageError(f"expected a single array or one called {_KEY!r}, got {', '.join(keys) or 'none'}")


def _numpy_size(file: Path) -> tuple[int, int]:
    content: Any = np.load(file, allow_pickle=False, mmap_mode="r")  # maps no more than there is
    if content.ndim not in (2, 3):
        raise ImageError(f"expected shape (H, W) or (bands, H, W), got {content.shape}")
    return content.shape[-2:]


def _npz_size(file: Path) -> tuple[int, int]:
    return _read_numpy(file, 1).shape


def _tiff_size(file: Path) -> tuple[int, int]:
    with _open_tiff(file) as dataset:
        return dataset.shape


def _picture_size(file: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(file, formats=("PNG", "JPEG")) as picture:
        return picture.height, picture.width


def _read_tiff(file: Path, band: int | None) -> np.ndarray:
    with _open_tiff(file) as dataset:
        return dataset.read(_index(dataset.count, band) + 1)


@contextmanager
def _open_tiff(file: Path) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # chips seldom are
        # Only this driver: others, such as VRT, follow references to other files and to the network
        with rasterio.open(file, driver="GTiff") as dataset:
            yield dataset


def _read_picture(file: Path, band: int | None) -> np.ndarray:
    from PIL import Image

    # Only these: Pillow goes by content, not suffix, and hands PostScript to Ghostscript
    with Image.open(file, formats=("PNG", "JPEG")) as picture:
        if picture.mode.startswith("I"):  # Pillow opens 16 bits as I;16 or, by release, as 32-bit I
            return _pick(np.asarray(picture).astype(np.uint16), band)
        if picture.mode in ("1", "L", "LA"):
            return _pick(np.asarray(picture.convert("L")), band)
        channels = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    if band is None and (channels == channels[0]).all():
        return channels[0]
    if band is None:
        raise ImageError("a color picture, not one band of amplitude; pick a channel with band=1, 2 or 3")
    return _pick(channels, band)


_READERS: dict[str, Callable[[Path, int | None], np.ndarray]] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".jpeg": _read_picture,
}
_SIZES: dict[str, Callable[[Path], tuple[int, int]]] = {
    ".npy": _numpy_size,
    ".npz": _npz_size,
    ".tif": _tiff_size,
    ".tiff": _tiff_size,
    ".png": _picture_size,
    ".jpg": _picture_size,
    ".jpeg": _picture_size,
}
SUFFIXES = tuple(_READERS)
"""Suffixes of the files that can be read, in lower case."""
