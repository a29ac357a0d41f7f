"""Scenes that are no local path: rasters in object stores, and items of STAC collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from ...errors import DataError, ImageError, OfflineError
from ...io.json_files import read_object
from ...io.raster import polarization
from ...weights.http import without_credentials
from ...weights.hub import offline

__all__ = ["Place", "Source", "find_source", "is_remote", "read_items", "virtual_path"]

_SCHEMES = {
    "https": "/vsicurl/https://",
    "http": "/vsicurl/http://",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
}
_VIRTUAL = ("/vsicurl/http://", "/vsicurl/https://", "/vsis3/", "/vsigs/", "/vsiaz/")
_TIFF = (".tif", ".tiff")
_NO_DATA = {"thumbnail", "overview", "metadata", "visual"}  # roles of assets


@dataclass(frozen=True)
class Source:
    """A scene by the places of its rasters.

    Attributes:
        title: an address without what it may hold of credentials, or the id of an item.
        files: name of the band, or ``""``, and place of each raster: a path, an address, or a name of GDAL's.
    """

    title: str
    files: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.title

    @property
    def name(self) -> str:
        """The last part of the title."""
        return PurePosixPath(self.title).name

    def absolute(self) -> Source:
        """Return the same: its places hold in any working directory."""
        return self


Place = Path | Source
"""A scene: a file or folder here, or places elsewhere."""


def is_remote(place: str) -> bool:
    """Return whether a text is an address of http, https, s3, gs or az, or one of GDAL's names for these."""
    return place.startswith(_VIRTUAL) or (urlsplit(place).scheme in _SCHEMES and "://" in place)


def find_source(address: str) -> Source:
    """Return the scene at an address.

    Raises:
        ImageError: it does not end as a GeoTIFF does.
    """
    title = without_credentials(address).removesuffix("?…")
    if _suffix(address) not in _TIFF:
        raise ImageError(f"{title}: expected an address that ends in .tif or .tiff; download other products first")
    return Source(title, (("", address),))


def virtual_path(address: str) -> str:
    """Return GDAL's name for an address.

    Raises:
        OfflineError: the network must not be used.
    """
    if offline():
        raise OfflineError(f"{without_credentials(address)} needs the network, which SARHUB_OFFLINE forbids")
    if address.startswith(_VIRTUAL):
        return address
    scheme, _, rest = address.partition("://")
    return _SCHEMES[scheme] + rest


def read_items(file: Path) -> list[Source]:
    """Return the scenes of a file with a STAC item or item collection.

    Of each item the GeoTIFFs count that have the role ``data``, or, where none has, all that are no thumbnail, overview
    or metadata. Of several each is one polarization, as its field ``sar:polarizations``, its key or its name says.

    Raises:
        ImageError: it holds no items, or one has no such assets.
    """
    try:
        found = read_object(file, keys=("type",))
    except DataError as err:
        raise ImageError(str(err)) from err
    items = {"FeatureCollection": found.get("features"), "Feature": [found]}.get(str(found["type"]))
    if not isinstance(items, list) or not items:
        raise ImageError(f"{file}: expected a STAC item or item collection, found none")
    return [_of_item(item, file) for item in items]


def _of_item(item: Any, file: Path) -> Source:
    try:
        name, assets = str(item["id"]), dict(item["assets"])
        base = next((str(link["href"]) for link in item.get("links", ()) if link.get("rel") == "self"), "")
        rasters = {key: asset for key, asset in assets.items() if _is_raster(asset)}
        chosen = {key: asset for key, asset in rasters.items() if "data" in asset.get("roles", ())} or rasters
        files = [(_band(key, asset), _resolved(str(asset["href"]), base, file)) for key, asset in chosen.items()]
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise ImageError(f"{file}: holds what is no STAC item ({type(err).__name__}: {err})") from err
    if len(files) > 1:
        files = [pair for pair in files if pair[0]]
    bands = [band for band, _ in files]
    if not files or len(set(bands)) < len(bands):
        raise ImageError(
            f"{file}: of the item {name}, expected one GeoTIFF, or one for each polarization, among its assets "
            f"({', '.join(assets)}), found {', '.join(chosen) or 'none'}"
        )
    return Source(name, tuple(files))


def _is_raster(asset: Any) -> bool:
    tiff = str(asset.get("type", "")).startswith("image/tiff") or _suffix(str(asset["href"])) in _TIFF
    return tiff and not _NO_DATA & set(asset.get("roles", ()))


def _band(key: str, asset: Any) -> str:
    said: Sequence[str] = asset.get("sar:polarizations", ())
    return polarization(said[0] if len(said) == 1 else key) or polarization(_path(str(asset["href"])).stem)


def _resolved(href: str, base: str, file: Path) -> str:
    """Return the place that a link of an item means: relative to the item, or to the file that holds it."""
    if is_remote(href):
        return href
    if urlsplit(href).scheme == "file":
        return unquote(urlsplit(href).path)
    return urljoin(base, href) if is_remote(base) else str(file.absolute().parent / href)


def _path(place: str) -> PurePosixPath:
    return PurePosixPath(unquote(urlsplit(place).path))


def _suffix(place: str) -> str:
    return _path(place).suffix.lower()
