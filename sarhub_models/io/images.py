"""Images on disk become arrays; whatever is wrong with one is an error that names its path."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BandsWarning, ImageError
from .decoders import DECODERS, is_image
from .geotiff import COLORS, open_geotiff
from .limits import check_regular
from .raster import Raster, apart, polarization

__all__ = [
    "SUFFIXES",
    "companions",
    "files_of",
    "image_of",
    "image_size",
    "list_images",
    "luma",
    "named_images",
    "naming",
    "one_per_image",
    "open_tiff",
    "read_bands",
    "read_image",
    "read_pixels",
    "read_raster",
]

SUFFIXES = tuple(DECODERS)
"""Suffixes of the files that can be read, in lower case."""

_SEPARATED = re.compile(r"(?<![A-Za-z0-9])(vv|vh|hv|hh)(?![A-Za-z0-9])", re.IGNORECASE)
# Of a SAFE folder; the number at the end is another one for each polarization
_MEASUREMENT = re.compile(r"s1[a-z]-.*-\d{3}", re.IGNORECASE)
_APART = 0.5  # pixels, between polarizations
_MEASUREMENTS = 6  # in a SAFE folder, at most


def read_image(path: str | os.PathLike[str], *, band: int | str | None = None, nodata: str = "refuse") -> np.ndarray:
    """Read one band of an image.

    ============== ====================================================================================
    suffix         what is read
    ============== ====================================================================================
    .npy           (H, W), or (bands, H, W)
    .npz           the only array of the file, else the one called ``image``; then as .npy
    .tif, .tiff    any GeoTIFF that rasterio reads: 8 and 16 bits, floating point, complex (CInt16, too);
                   scale and offset are applied, a table of grays is expanded, one of colors is refused
    .img, .bin     ENVI, with its header (.hdr) beside it; then as .tif
    .png, .jpg,    8 or 16 bits, through Pillow; 1, 2 and 4 bits are stretched to 0…255. RGB whose three
    .jpeg, .bmp    channels are equal is one band; RGB of 16 bits and CMYK are refused
    ============== ====================================================================================

    Values are returned as stored: :func:`~sarhub_models.transforms.normalize_amplitude` brings them to [0, 1].

    Args:
        path: the file; its suffix, in any case, tells the format.
        band: which band to read, counted from 1, or the name that the file gives it, such as ``"VH"``; needed where
            the image has several that differ. ``"luma"`` makes one of the colors of a picture (:func:`luma`), for data
            sets that were stored so.
        nodata: what pixels without data do, see :func:`~sarhub_models.io.raster.fill_nodata`: those of the file's
            nodata value, outside of its mask, transparent, NaN or infinite.

    Returns:
        Array (H, W) in the dtype of the file and this machine's byte order, real or complex (complex integers
        become complex64, scaled values float32).

    Raises:
        ImageError: the file is missing, truncated, of another format or suffix, no regular file, or beyond the limit
            of :func:`~sarhub_models.io.limits.max_pixels`; it holds Python objects, no numbers, no pixels, or several
            bands while ``band`` is not given; or has no such band.
        NodataError: pixels have no data, and ``nodata`` refuses them.
    """
    file = Path(path)
    with naming(file):
        raster = _read(file, [band] if isinstance(band, int) else None)
        if isinstance(band, str) and band != "luma":
            return raster.named(band).filled(nodata)[0]
        count = len(raster.array)
        if count > 1 and raster.bands == COLORS:
            if band == "luma" and raster.array.dtype == np.uint8:
                return luma(raster.filled(nodata))
            raise ImageError("a color picture, not one band of amplitude; pick a channel with band=1, 2 or 3")
        if count > 1:
            raise ImageError(f"holds {count} bands; say which one to read with band=1 to {count}")
        return raster.filled(nodata)[0]


def luma(colors: np.ndarray) -> np.ndarray:
    """Return the brightness of a picture, uint8 (3, H, W) → (H, W), in whole numbers as Pillow and JPEG compute it.

    ``0.299 R + 0.587 G + 0.114 B`` (ITU-R BT.601), rounded.
    """
    weights = np.array([19595, 38470, 7471], np.uint32).reshape(3, 1, 1)  # of 2^16
    return np.asarray(((colors * weights).sum(axis=0) + 0x8000) >> 16, dtype=np.uint8)


def read_raster(path: str | os.PathLike[str], *, bands: Sequence[int] | None = None) -> Raster:
    """Read the bands of an image with all that the file says of them: formats as of :func:`read_image`.

    Args:
        path: the file.
        bands: which bands to read, counted from 1; by default all, transparency left out.

    Raises:
        ImageError: as of :func:`read_image`; pixels without data are told by :attr:`Raster.valid`, not refused.
    """
    file = Path(path)
    with naming(file):
        return _read(file, bands)


def read_bands(
    path: str | os.PathLike[str],
    wanted: Sequence[str],
    *,
    given: Sequence[str] | None = None,
    nodata: str = "refuse",
) -> np.ndarray:
    """Read the bands that a network takes, by name and in its order.

    Names are those of the file (descriptions of its bands, their tag ``POLARIZATION``, or its name, if it has one
    band), or ``given``. A file whose name says its polarization is read with those beside it that differ in nothing
    else, as BigEarthNet (``…_VV.tif``, ``…_VH.tif``) and SAFE folders (``…-vv-…-001.tiff``) have them.

    Args:
        path: the file, or the one of its first band.
        wanted: names of the bands.
        given: names of the file's bands, in their order; what the file says cannot be overruled.
        nodata: as of :func:`read_image`.

    Returns:
        (C, H, W).

    Raises:
        ImageError: as of :func:`read_raster` and :meth:`Raster.match`.
        NodataError: pixels have no data, and ``nodata`` refuses them.

    Warns:
        BandsWarning: the file has bands that are not used; it names them. Or as of :meth:`Raster.match`.
    """
    file = Path(path)
    with naming(file):
        return match_bands(file, wanted, given).filled(nodata)


def match_bands(file: Path, wanted: Sequence[str], given: Sequence[str] | None) -> Raster:
    """Return the bands of a file, and of those of its other polarizations, that a network takes."""
    raster = _read(file, None)
    if len(wanted) > 1 and len(raster.array) == 1 and (given is None or len(given) > 1):
        raster = _withcompanions(file, raster, wanted)
        if len(raster.array) > 1:  # which say what they are
            given = None
    matched = raster.match(wanted, given=given)
    names, taken = given or raster.bands, {name.upper() for name in wanted}
    left_out = [name or "?" for name in names if name.upper() not in taken]
    if left_out and len(matched.array) < len(names):
        warnings.warn(f"has bands that are not used: {', '.join(left_out)}", BandsWarning, stacklevel=3)
    return matched


def read_pixels(
    path: str | os.PathLike[str],
    *,
    wanted: Sequence[str] = (),
    given: Sequence[str] | None = None,
    band: int | Sequence[int] | None = None,
    nodata: str = "refuse",
) -> np.ndarray:
    """Read the bands that a network takes, by name as :func:`read_bands` or by position.

    Args:
        path: the file.
        wanted: names of the bands in the order of the network; none for the only band of the file.
        given: names of the file's bands, where it does not say them.
        band: position of the band to read, counted from 1, or of several in the order of the network, in place of
            names.
        nodata: as of :func:`read_image`.

    Returns:
        (H, W) of one band, (C, H, W) of several.

    Raises:
        ImageError: as of :func:`read_image` and :func:`read_bands`.
        NodataError: pixels have no data, and ``nodata`` refuses them.
    """
    if isinstance(band, int) or (band is None and not wanted):
        return read_image(path, band=band, nodata=nodata)
    if band is None:
        image = read_bands(path, wanted, given=given, nodata=nodata)
        return image[0] if len(image) == 1 else image
    raster = read_raster(path, bands=band)
    with naming(Path(path)):
        image = (raster.match(wanted, given=wanted) if wanted else raster).filled(nodata)
    return image[0] if len(image) == 1 else image


def _withcompanions(file: Path, raster: Raster, wanted: Sequence[str]) -> Raster:
    """Return the one band of a file with those of the files of the other polarizations beside it."""
    if not polarization(file.stem):
        return raster
    found = [(file, raster), *((other, read_raster(other)) for other in companions(file, wanted))]
    for other, one in found:
        if one.array.shape != raster.array.shape or one.array.dtype != raster.array.dtype:
            raise ImageError(f"{other.name} has shape {one.array.shape}, expected {raster.array.shape} as here")
        if apart(one, raster) > _APART:
            raise ImageError(f"{other.name} says that it lies elsewhere than this file: bring both to one grid")
    valid = None
    if any(one.valid is not None for _, one in found):
        valid = np.concatenate([one.array == one.array if one.valid is None else one.valid for _, one in found])
    return replace(
        raster,
        array=np.concatenate([one.array for _, one in found]),
        valid=valid,
        reason=next((one.reason for _, one in found if one.valid is not None), raster.reason),
        bands=tuple(polarization(other.stem) for other, _ in found),
    )


def companions(file: Path, wanted: Sequence[str]) -> list[Path]:
    """Return the files of the other polarizations beside one, by what they must be called: folders may be large."""
    stem, numbers = file.stem, [""]
    if _MEASUREMENT.fullmatch(stem):
        stem, own = stem[:-3], int(stem[-3:])
        numbers = [f"{n:03d}" for n in range(max(own - _MEASUREMENTS, 1), own + _MEASUREMENTS + 1)]
    names = [
        f"{_renamed(stem, name)}{end}{file.suffix}"
        for name in wanted
        if name != polarization(file.stem)
        for end in numbers
    ]
    return [other for name in names if (other := file.with_name(name)).is_file()]


def files_of(file: Path, wanted: Sequence[str]) -> list[Path]:
    """Return a file and those of other polarizations that :func:`read_pixels` may read along with it."""
    return [file, *(companions(file, wanted) if len(wanted) > 1 and polarization(file.stem) else ())]


def _renamed(stem: str, name: str) -> str:
    return _SEPARATED.sub(lambda own: name.lower() if own.group().islower() else name, stem)


def one_per_image(files: Sequence[Path], wanted: Sequence[str]) -> list[Path]:
    """Return the files without those that :func:`read_bands` reads along with another one of them."""
    return list(dict.fromkeys(image_of(files, wanted).values()))


def image_of(files: Sequence[Path], wanted: Sequence[str]) -> dict[Path, Path]:
    """Return, of every file, the one by which :func:`read_bands` reads it: itself, or that of the first wanted band."""
    if len(wanted) < 2:
        return dict(zip(files, files, strict=True))
    kept: dict[tuple[Path, str], Path] = {}
    for file in files:
        here = kept.setdefault((file.parent, _without_polarization(file)), file)
        names = [polarization(one.stem) for one in (here, file)]
        if all(name in wanted for name in names) and wanted.index(names[1]) < wanted.index(names[0]):
            kept[file.parent, _without_polarization(file)] = file
    return {file: kept[file.parent, _without_polarization(file)] for file in files}


def _without_polarization(file: Path) -> str:
    """Return the name of a file, the same for all polarizations of one image."""
    if not polarization(file.stem):
        return file.name
    stem = file.stem[:-3] if _MEASUREMENT.fullmatch(file.stem) else file.stem
    return f"{_SEPARATED.sub('*', stem)}{file.suffix.lower()}"


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return height and width of an image, in pixels; only the header is read.

    Raises:
        ImageError: the file is missing, of another format or suffix, or its header is damaged.
    """
    file = Path(path)
    with naming(file):
        return DECODERS[file.suffix.lower()].size(file)


@contextmanager
def open_tiff(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a GeoTIFF for reading, as a :class:`rasterio.io.DatasetReader`.

    Raises:
        ImageError: the file is missing, no GeoTIFF or damaged, or something fails while it is open; the message names
            it.
    """
    with naming(Path(path)), open_geotiff(Path(path)) as dataset:
        yield dataset


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the images of a folder and its subfolders, linked ones included.

    Args:
        folder: where to look; hidden files and folders are left out.

    Returns:
        Paths below ``folder`` with a suffix that :func:`read_image` knows, sorted by their path within it: the same
        on every machine. Links that lead nowhere are among them, so that reading names them.

    Raises:
        ImageError: ``folder`` is not a folder, or holds no image.

    Warns:
        UserWarning: a link leads to a folder that was listed already, as in a cycle; it is left out.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageError(f"{root}: no such folder")
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    again: list[Path] = []
    for here, folders, names in os.walk(root, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            again.append(Path(here))
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # Where a folder lies here and is linked, too, it is listed where it lies
        folders.sort(key=lambda name: Path(here, name).is_symlink())
        visible = (Path(here, name) for name in names if not name.startswith("."))
        found += (f for f in visible if is_image(f) and (f.is_file() or f.is_symlink()))
    if again:
        warnings.warn(
            f"{root}: {len(again)} links lead to folders that are listed already and are left out, {again[0]} first",
            stacklevel=2,
        )
    if not found:
        raise ImageError(f"{root}: no images in this folder or below; expected files named {', '.join(SUFFIXES)}")
    return sorted(found, key=lambda file: file.relative_to(root).parts)


def named_images(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the images of a folder by their paths in it, as :func:`list_images` finds them, or one image by its name.

    Raises:
        ImageError: there is nothing at ``path``, or the folder holds no image.
    """
    place = Path(path)
    if place.is_file():
        return {place.name: place}
    if not place.exists():
        raise ImageError(f"{place}: no such file or folder")
    return {file.relative_to(place).as_posix(): file for file in list_images(place)}


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Make one error that names the file of whatever goes wrong when it is opened or decoded.

    Raises:
        ImageError: something went wrong.
    """
    if file.suffix.lower() not in DECODERS:
        raise ImageError(f"{file}: cannot read {file.suffix or 'files without suffix'}; expected {', '.join(SUFFIXES)}")
    check_regular(file)
    try:
        yield
    except ImageError as err:
        text = str(err)
        raise type(err)(text if text.startswith(f"{file}: ") else f"{file}: {text}") from err.__cause__
    except Exception as err:  # whatever a decoder makes of foreign bytes
        reason = f"{type(err).__name__}: {err}"
        raise ImageError(f"{file}: cannot be read as {file.suffix.lower()}, truncated or damaged? ({reason})") from err


def _read(file: Path, bands: Sequence[int] | None) -> Raster:
    raster = DECODERS[file.suffix.lower()].read(file, bands)
    array = raster.array
    if array.dtype.kind not in "iufc":
        raise ImageError(f"expected integer, floating-point or complex pixels, got {array.dtype}")
    if array.size == 0:
        raise ImageError(f"expected at least one pixel, got shape {array.shape[-2:]}")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if array.dtype.kind in "fc" and not (finite := np.isfinite(array)).all():
        said, valid = raster.reason, raster.valid
        reason = "NaN or infinite" if valid is None else f"{said}, NaN or infinite"
        return replace(raster, array=array, valid=finite if valid is None else finite & valid, reason=reason)
    return replace(raster, array=array)
