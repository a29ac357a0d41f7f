"""The files of a Sentinel-1 product, in its SAFE folder or in a .zip archive of one, and what ties them together."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from ...errors import ImageError

__all__ = ["Image", "Product", "is_safe", "open_product"]

_MEASUREMENT = re.compile(
    r"(?P<stem>s1[a-d]-(?P<swath>[a-z0-9]+)-(?P<kind>grd|slc)-(?P<pol>[hv]{2})-[a-z0-9-]+)\.tiff?"
)
_LARGEST = 256 << 20  # bytes of an annotation file
_HEADER = ("missionId", "productType", "polarisation", "mode", "swath", "missionDataTakeId", "imageNumber")


@dataclass(frozen=True)
class Image:
    """One measurement of a product, with the files that describe it.

    Attributes:
        name: of its files, without suffix.
        swath: in capitals: IW, IW1, EW, S3, …
        polarization: VV, VH, HV or HH.
        measurement: path in the product.
    """

    name: str
    swath: str
    polarization: str
    measurement: str


@dataclass(frozen=True)
class Product:
    """A SAFE folder, as it is or in an archive.

    Attributes:
        path: folder or .zip file.
        root: of the product in the archive, with a slash at its end; ``""`` in a folder.
        names: of all files, from the root.
        load: gives the bytes of one of them.
    """

    path: Path
    root: str
    names: frozenset[str]
    load: Callable[[str], bytes]

    @property
    def zipped(self) -> bool:
        """It lies in an archive."""
        return bool(self.path.is_file())

    @cached_property
    def images(self) -> tuple[Image, ...]:
        """Its measurements, by swath and polarization."""
        found = []
        for name in self.names:
            path = PurePosixPath(name)
            match = _MEASUREMENT.fullmatch(path.name.lower())
            if path.parent.as_posix() == "measurement" and match is not None:
                found.append(Image(path.stem, match["swath"].upper(), match["pol"].upper(), name))
        if not found:
            raise ImageError(
                f"{self.path}: expected images in measurement/ named as of Sentinel-1 GRD or SLC, found none"
            )
        return tuple(sorted(found, key=lambda image: (image.swath, image.polarization)))

    def annotation(self, image: Image) -> ElementTree.Element:
        """Return the annotation of an image.

        Raises:
            ImageError: it is missing, damaged, or of another image.
        """
        root = self._parse(f"annotation/{image.name}.xml", "annotation")
        if (said := root.findtext("adsHeader/polarisation")) != image.polarization:
            raise ImageError(
                f"{self.path}: annotation/{image.name}.xml is of polarization {said}, not {image.polarization}"
            )
        return root

    def table(self, kind: str, image: Image, annotation: ElementTree.Element) -> ElementTree.Element:
        """Return the calibration or the noise file of an image.

        Args:
            kind: ``"calibration"`` or ``"noise"``.
            image: the image.
            annotation: of the image.

        Raises:
            ImageError: it is missing, damaged, or of another product or image.
        """
        name = f"annotation/calibration/{kind}-{image.name}.xml"
        root = self._parse(name, kind)
        for field in _HEADER:
            here, there = annotation.findtext(f"adsHeader/{field}"), root.findtext(f"adsHeader/{field}")
            if here != there:
                raise ImageError(
                    f"{self.path}: {name} belongs to another product or image: its {field} is {there}, that of the "
                    f"annotation {here}; unpack the product anew"
                )
        return root

    def _parse(self, name: str, what: str) -> ElementTree.Element:
        if name not in self.names:
            raise ImageError(f"{self.path}: the {what} {name} is missing; unpack or download the product anew")
        try:
            return ElementTree.fromstring(self.load(name))
        except (ElementTree.ParseError, OSError, ValueError, zipfile.BadZipFile, EOFError) as err:
            raise ImageError(f"{self.path}: {name} cannot be read; truncated or damaged? ({err})") from err


def is_safe(path: Path) -> bool:
    """Return whether a path is named or built like a Sentinel-1 product: a SAFE folder, or an archive."""
    if path.is_dir():
        return (path / "manifest.safe").is_file() or (path / "measurement").is_dir()
    return path.suffix.lower() == ".zip"


def open_product(path: Path) -> Product:
    """Return the product of a SAFE folder or an archive of one.

    Raises:
        ImageError: there is none, or the archive is damaged or holds several.
    """
    if path.is_dir():
        names = frozenset(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        return Product(path, "", names, lambda name: _bounded(path / name))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, zipfile.BadZipFile) as err:
        raise ImageError(f"{path}: cannot be read as a .zip archive; truncated or damaged? ({err})") from err
    folders = {PurePosixPath(name).parent for name in members if PurePosixPath(name).parent.name == "measurement"}
    roots = {folder.parent.as_posix() for folder in folders}
    if len(roots) != 1:
        raise ImageError(f"{path}: expected an archive of one Sentinel-1 product, found {len(roots)}")
    top = next(iter(roots))
    root = "" if top == "." else f"{top}/"
    inside = frozenset(name.removeprefix(root) for name in members if name.startswith(root) and not name.endswith("/"))
    return Product(path, root, inside, lambda name: _member(path, root + name))


def _bounded(file: Path) -> bytes:
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"more than {_LARGEST} bytes")
    return file.read_bytes()


def _member(archive: Path, name: str) -> bytes:
    with zipfile.ZipFile(archive) as opened, opened.open(name) as stream:
        content: Any = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"more than {_LARGEST} bytes")
    return bytes(content)
