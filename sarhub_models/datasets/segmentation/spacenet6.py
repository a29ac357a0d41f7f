"""SpaceNet 6: buildings of Rotterdam in tiles of 900 by 900 pixels, in X band with four polarizations.

Shermeyer, Hogan, Brown, Van Etten, Weir, et al.: SpaceNet 6: Multi-sensor all weather mapping dataset. CVPR Workshops,
2020. On disk: ``SAR-Intensity/SN6_…_SAR-Intensity_<times>_tile_<n>.tif`` (float32, bands HH, HV, VH, VV, 0.5 m) and
``geojson_buildings/SN6_…_Buildings_<times>_tile_<n>.geojson``, footprints in the coordinates of the tile. Of 3,401
tiles the paper trains on 2,380 and tests on 1,021.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, ImageError, IncompleteError
from ...io.images import open_tiff
from ..catalog import CatalogEntry
from ..lists import AnyPath, find_list
from .base import SegmentationDataset

__all__ = ["BANDS", "CLASS_NAMES", "DATASET", "SpaceNet6", "building_mask"]

BANDS = ("HH", "HV", "VH", "VV")
CLASS_NAMES = ("background", "building")

_TILE = re.compile(r"(?:\d{14}_\d{14}_)?tile_\d+$")  # the tail that a tile's image and footprints share
_FOLDER = "SAR-Intensity"  # the archive has optical images of the same tiles beside it
_GEOJSON_CRS = "EPSG:4326"  # of a file that names none, RFC 7946, section 4
_CRS = re.compile(
    r"(?:urn:ogc:def:crs:)?(?P<authority>EPSG|OGC|ESRI|IGNF):(?:[0-9.]*:)?(?P<code>[A-Z0-9]+)", re.IGNORECASE
)
_SHOWN = 60  # characters of a value in a message


class SpaceNet6(SegmentationDataset):
    """The tiles of one split, float32 (4, H, W) in decibels (HH, HV, VH, VV), with masks drawn from the footprints.

    Args:
        root: holds ``SAR-Intensity`` and ``geojson_buildings``; they may lie deeper.
        split: take only the tiles of the list ``<split>.txt``, one name a line, in its order; the published ones are
            ``train`` and ``test``. By default all tiles.
        lists: folder of the lists; by default ``root``.

    Attributes:
        files: the images.
        footprints: the GeoJSON file of each.
        names: paths of the images below the root, with ``/``.
        class_names: ``("background", "building")``.

    Raises:
        IncompleteError: images of the list, or footprints, are missing; it tells which.
        DataError: there are no tiles, one lies there twice, or the list is missing or malformed.
    """

    def __init__(self, root: AnyPath, split: str | None = None, *, lists: AnyPath | None = None) -> None:
        root = Path(root)
        images = _by_tile(file for file in root.rglob("*.tif") if _is_radar(file.relative_to(root)))
        if not images:
            raise DataError(f"{root}: expected tiles {_FOLDER}/*_tile_<number>.tif in this folder or below, found none")
        tiles = list(images)
        if split is not None:
            tiles = _read_tiles(find_list(root if lists is None else lists, split))
        footprints = _by_tile(root.rglob("*.geojson"))
        missing = [f"{tile}.tif" for tile in tiles if tile not in images]
        missing += [f"{tile}.geojson" for tile in tiles if tile in images and tile not in footprints]
        if missing:
            raise IncompleteError(
                f"{len(missing)} images or footprints of {len(tiles)} tiles are not below {root}, "
                f"that of {missing[0]} first; unpack the archive again, or give the list of these tiles",
                missing=missing,
                found=[images[tile] for tile in tiles if tile in images],
            )
        super().__init__(root, [images[tile] for tile in tiles], CLASS_NAMES)
        self.footprints = tuple(footprints[tile] for tile in tiles)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        file = self.files[index]
        with open_tiff(file) as tile:
            if tile.count != len(BANDS):
                raise ImageError(f"expected {len(BANDS)} bands, {', '.join(BANDS)}, got {tile.count}")
            image, transform, crs = tile.read(), tile.transform, tile.crs
        if crs is None or transform.is_identity:
            raise ImageError(f"{file}: expected a georeferenced image, or footprints cannot be drawn on it, got none")
        if not np.isfinite(image).all():
            raise ImageError(f"{file}: {int((~np.isfinite(image)).sum())} of {image.size} values are NaN or infinite")
        mask = building_mask(self.footprints[index], image.shape[1:], transform, crs)
        return image.astype(np.float32, copy=False), mask


DATASET = CatalogEntry(
    SpaceNet6,
    {"train": 2_380, "test": 1_021},
    total=3_401,
    class_names=CLASS_NAMES,
    whole=True,
    lists=tuple(  # spelt so in the repository
        f"Fine-tuning/Sementic_Segmentation/__base__/SAR data/{split}.txt" for split in ("train", "test")
    ),
)


def building_mask(file: AnyPath, shape: tuple[int, int], transform: Any, crs: Any) -> np.ndarray:
    """Draw footprints: a pixel belongs to a building if its center does.

    Args:
        file: GeoJSON with polygons. An empty file, or one without features, has no buildings; features without
            geometry are passed over.
        shape: height and width of the mask in pixels.
        transform: from pixels to coordinates, an :class:`affine.Affine`.
        crs: coordinate system of the image, anything rasterio takes.

    Returns:
        uint8 (H, W), 1 on buildings, else 0.

    Raises:
        DataError: the file cannot be read, holds no GeoJSON, something other than polygons, or is in another
            coordinate system than the image.
    """
    from rasterio.features import rasterize

    mask = np.zeros(shape, dtype=np.uint8)
    try:
        text = Path(file).read_text(encoding="utf-8-sig").strip()
        content = json.loads(text) if text else {"features": []}
        polygons = _polygons(content["features"])
        if not polygons:
            return mask
        _check_crs(content["crs"]["properties"]["name"] if content.get("crs") else _GEOJSON_CRS, crs)
        return rasterize(polygons, out=mask, transform=transform, default_value=1)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as err:
        reason = f"no {err}" if isinstance(err, KeyError) else str(err)
        raise DataError(f"{file} holds no footprints for this tile: {reason}") from err


def _check_crs(written: str, crs: Any) -> None:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    # Only a code: GDAL would also take a file or an address, and read or fetch it
    code = _CRS.fullmatch(written)
    if code is None:
        raise ValueError(f"expected the code of a coordinate system, such as EPSG:32631, got {written[:_SHOWN]!r}")
    try:
        same = CRS.from_string(f"{code['authority'].upper()}:{code['code']}") == CRS.from_user_input(crs)
    except CRSError as err:
        raise ValueError(f"unknown coordinate system {written!r}") from err
    if not same:
        raise ValueError(f"coordinates are in {written}, but those of the image in {crs}; reproject one of them")


def _polygons(features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    from rasterio.features import is_valid_geom

    polygons = []
    for feature in features:
        geometry = feature["geometry"]
        if geometry is None or not geometry["coordinates"]:
            continue
        if geometry["type"] not in ("Polygon", "MultiPolygon") or not is_valid_geom(geometry):
            raise ValueError(f"expected polygons, got {str(geometry)[:_SHOWN]!r}")
        _check_numbers(geometry["coordinates"])  # or nothing would be drawn, without a word
        polygons.append(geometry)
    return polygons


def _check_numbers(value: Any) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected coordinates, got {str(value)[:_SHOWN]!r}")


def _is_radar(file: Path) -> bool:
    return any(_FOLDER.lower() in part.lower() for part in file.parts)


def _by_tile(files: Iterable[Path]) -> dict[str, Path]:
    """Return files by the tail of their name, sorted by path; other files are passed over."""
    tiles: dict[str, Path] = {}
    for file in sorted(files):
        match = _TILE.search(file.stem)
        if match is None:
            continue
        if match.group() in tiles:
            raise DataError(f"{tiles[match.group()]} and {file} are the same tile; give the folder of one of them")
        tiles[match.group()] = file
    return tiles


def _read_tiles(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read the list {file}: {err}") from err
    tiles = []
    for line in lines:
        match = _TILE.search(line.removesuffix(".tif"))
        if match is None:
            raise DataError(f"{file}: expected names that end in tile_<number>, got {line!r}")
        tiles.append(match.group())
    if not tiles:
        raise DataError(f"{file} is empty; expected the name of a tile in each line")
    return tiles
