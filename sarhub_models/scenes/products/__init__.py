"""Radar products as they are delivered, opened as scenes: :func:`open_scene`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ImageError, OptionError
from ...io.geotiff import ENVI, envi_header
from ...io.raster import polarization
from ...transforms.radiometry import RADIOMETRIES
from .layout import is_safe
from .luts import CALIBRATIONS
from .raster import RasterScene
from .scene import Scene
from .sentinel1 import SafeScene
from .sicd import SicdScene
from .sources import Place, Source, find_source, is_remote, read_items

__all__ = ["Place", "Scene", "Source", "find_scenes", "is_scene", "open_scene"]

_NITF = (".nitf", ".ntf", ".nsf", ".sicd")
_RASTERS = (".tif", ".tiff", *ENVI)


def open_scene(
    path: str | os.PathLike[str] | Source,
    *,
    wanted: Sequence[str] = (),
    bands: Sequence[str] | None = None,
    band: int | str | None = None,
    radiometry: str | None = None,
    expected: str | None = None,
    swath: str | None = None,
    denoise: bool = False,
    trained: Mapping[str, Sequence[Any]] | None = None,
) -> Scene:
    """Open a scene for reading in windows.

    ======================== =======================================================================================
    what                     how
    ======================== =======================================================================================
    .tif, .tiff              GeoTIFF, BigTIFF, COG; its nodata value, mask band and NaN make a mask. Of a file whose
                             name says its polarization, the other ones beside it are read, too
    .img, .bin               ENVI, with its header (.hdr) beside it
    folder, .zip             Sentinel-1 GRD or SLC in its SAFE layout, calibrated
    .nitf, .ntf, .nsf, .sicd SICD, through sarkit; calibrated where the file says how
    address                  GeoTIFF at http, https, s3, gs or az, through GDAL; files beside it are not looked for
    ======================== =======================================================================================

    Args:
        path: the file or folder, an address, or a scene of :func:`find_scenes`.
        wanted: names of the bands that a network takes, in its order; none for all.
        bands: names of the bands of the file, in their order, where it does not say them.
        band: the only band to take, counted from 1 or by its name.
        radiometry: what its pixels hold, a name of :data:`~sarhub_models.transforms.RADIOMETRIES`; of a product that
            can be calibrated, what to calibrate it to, or ``"dn"``.
        expected: what the network expects, which decides that where ``radiometry`` does not.
        swath: of Sentinel-1 SLC, such as ``"IW1"``.
        denoise: subtract the thermal noise of Sentinel-1.
        trained: ``bands`` or ``band``, the names or the positions of the bands in the files that the network was
            fine-tuned on: they hold for a raster of several bands where neither ``bands`` nor ``band`` is given.

    Raises:
        ImageError: it cannot be read, or has not these bands.
        OptionError: an option is not for this kind of product, or both ``bands`` and ``band`` are given.
        MissingDependencyError: sarkit is missing.
    """
    if band is not None and bands is not None:
        raise OptionError("band and bands both say which bands to read: give one of them")
    place = path if isinstance(path, Source) else _place(path)
    if isinstance(place, Path) and not place.exists():
        raise ImageError(f"{place}: no such file or folder")
    if isinstance(place, Path) and is_safe(place):
        if bands is not None:
            raise OptionError(f"{place} says the names of its bands itself: leave bands out, or pick one with band")
        chosen = radiometry or _calibration(expected)
        return SafeScene(place, wanted=wanted, band=band, radiometry=chosen, swath=swath, denoise=denoise)
    if swath is not None or denoise:
        raise OptionError(f"{place} is no Sentinel-1 product in its SAFE layout: it has no swaths and no thermal noise")
    if isinstance(place, Path) and place.suffix.lower() in _NITF:
        return SicdScene(place, wanted=wanted, given=bands, band=band, radiometry=radiometry)
    if isinstance(place, Source) or is_scene(place):
        return RasterScene(place, wanted=wanted, given=bands, band=band, radiometry=radiometry, trained=trained)
    raise ImageError(
        f"{place}: expected a scene, a file of {', '.join((*_RASTERS, *_NITF))}, or a Sentinel-1 product (SAFE "
        "folder or .zip)"
    )


def is_scene(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of one scene, by its name and what is there."""
    place = _place(path)
    if isinstance(place, Source) or is_safe(place):
        return True
    return place.suffix.lower() in (*_NITF, *_RASTERS) and place.is_file()


def _place(path: str | os.PathLike[str]) -> Place:
    return find_source(os.fspath(path)) if is_remote(os.fspath(path)) else Path(path)


def _calibration(expected: str | None) -> str:
    """Return what to calibrate a product to for weights that expect a radiometry."""
    said = RADIOMETRIES[expected].calibration if expected is not None else None
    return "dn" if expected == "dn" else said if said in CALIBRATIONS else "sigma0"


def find_scenes(path: str | os.PathLike[str], *, wanted: Sequence[str] = ()) -> list[Place]:
    """Return the scenes that a path stands for, sorted.

    Args:
        path: a scene; a folder of them, searched with its subfolders; a .txt file with a path or address a line; or a
            .json file with a STAC item or item collection.
        wanted: names of the bands that a network takes: of files of one polarization each, one stands for all.

    Raises:
        ImageError: there is none.
    """
    place = _place(path)
    if isinstance(place, Source):
        return [place]
    if place.suffix.lower() == ".json" and place.is_file():
        return [*read_items(place)]
    found: list[Place]
    if place.is_file() and place.suffix.lower() == ".txt":
        lines = [line.strip() for line in _text(place).splitlines()]
        named = [line for line in lines if line and not line.startswith("#")]
        found = [find_source(line) if is_remote(line) else place.parent / line for line in named]
        if missing := [file for file in found if isinstance(file, Path) and not file.exists()]:
            raise ImageError(f"{place}: {len(missing)} of {len(found)} scenes are not there, {missing[0]} first")
    elif place.is_dir() and not is_safe(place):
        found = [*_in_folder(place)]
    else:
        return [place]
    if not found:
        raise ImageError(f"{place}: no scenes in this folder or below")
    return _one_a_scene(found, wanted)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise ImageError(f"{file}: expected a list of scenes in UTF-8 ({err}); save it in this encoding") from err


def _in_folder(folder: Path, seen: set[tuple[int, int]] | None = None) -> list[Path]:
    """Return the scenes of a folder and its subfolders, each folder once: links may lead in a circle."""
    seen, status = set() if seen is None else seen, folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += [entry] if is_safe(entry) else _in_folder(entry, seen)
        elif entry.suffix.lower() in (*_NITF, ".tif", ".tiff", ".zip") or (
            entry.suffix.lower() in ENVI and envi_header(entry) is not None
        ):
            found.append(entry)
    return found


def _one_a_scene(files: list[Place], wanted: Sequence[str]) -> list[Place]:
    from ...io.images import one_per_image

    paths = [file for file in files if isinstance(file, Path)]
    separate = [file for file in paths if file.suffix.lower() in _RASTERS and polarization(file.stem)]
    kept = set(one_per_image(separate, wanted))
    return [file for file in files if file not in separate or file in kept]
