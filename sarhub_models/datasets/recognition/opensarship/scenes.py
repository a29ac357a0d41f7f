"""The archives of OpenSARShip as they were published: one a Sentinel-1 scene, unpacked or not.

An archive holds ``Ship.xml``, which says of every ship where it is in the scene and what AIS tells of it, and folders
of chips called ``<Type>_x<column>_y<row>.tif`` after the center of the ship: ``Patch`` (digital numbers), ``Patch_Cal``
(sigma0, linear power), both float32 with VH first, then VV, and of SLC scenes real and imaginary parts in ``Patch``;
and ``Patch_Uint8``, 8-bit ``Visual_…_vv.tif`` and ``…_vh.tif``. Scenes of one polarization do not name it. Version 1
has a folder for the scene in the archive, version 2 has none. In version 2 the last tag of ``Ship.xml`` is not
well-formed.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ....errors import DataError, ImageError, OptionError
from ....io.images import read_raster
from ...archives import find_files, list_members, open_member

__all__ = ["KINDS", "Chip", "Ship", "find_chips", "read_chip"]

KINDS = ("Patch_Uint8", "Patch_Cal", "Patch")
"""Folders of chips that can be read."""

_SHIPS = "Ship.xml"
_CHIP = re.compile(
    r"(?:Visual_)?(?P<type>.+)_x(?P<x>\d{1,6})_y(?P<y>\d{1,6})(?:_(?P<polarization>v[vh]))?\.tif", re.IGNORECASE
)
_PART = re.compile(rf"{_SHIPS}|{_CHIP.pattern}|S1[AB]_.*\.xml", re.IGNORECASE)
_SCENE = re.compile(r"S1[AB]_(?:IW|EW|SM)_(?:GRD.|SLC_)_1S(?P<polarizations>SV|SH|DV|DH)_\w+", re.IGNORECASE)
_SHIP = re.compile(r"<ship>.*?</ship>", re.DOTALL)
_LARGEST_LIST = 1 << 26  # bytes of a Ship.xml; the published ones have up to 0.3 MB
_SHORTEST = 2  # of the bands of Patch: so many are VH and VV, twice as many real and imaginary parts


@dataclass(frozen=True)
class Ship:
    """One ship of a ``Ship.xml``.

    Attributes:
        center: column and row of its center in the scene, in pixels.
        mmsi: its number in AIS.
        name: its name in AIS.
        ais_type: the type that AIS says, a number such as 70 (cargo).
        kind: the type in words, such as ``"Bulk Carrier"``.
        length: in AIS, in meters.
        width: in AIS, in meters.
        incidence: angle at the ship, in degrees.
        longitude: of the center, in degrees.
        latitude: of the center, in degrees.
    """

    center: tuple[int, int]
    mmsi: int
    name: str
    ais_type: int
    kind: str
    length: int
    width: int
    incidence: float
    longitude: float
    latitude: float


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        file: its path; in an archive ``ARCHIVE.zip/path/in/it``.
        scene: name of the product.
        type: class of the ship, as the name of the chip writes it.
        polarization: ``"vv"`` or ``"vh"``, ``""`` where neither the name nor the scene says it.
        ship: what ``Ship.xml`` tells; ``None`` where it has no ship at this place.
    """

    file: Path
    scene: str
    type: str
    polarization: str
    ship: Ship | None


def find_chips(root: Path, kind: str) -> list[Chip]:
    """Return the chips of a kind in all archives and unpacked scenes below a folder, sorted by scene and path.

    Args:
        root: the folder; nothing below it need be an archive.
        kind: of :data:`KINDS`.

    Returns:
        The chips; none where there is no ``Ship.xml``.

    Raises:
        OptionError: there is no such kind.
        DataError: an archive or a ``Ship.xml`` is damaged, or scenes were unpacked over each other.
    """
    if kind not in KINDS:
        raise OptionError(f"expected patch to be one of {', '.join(KINDS)}, got {kind!r}")
    unpacked, archives, _ = find_files(root, _PART)
    files = [*unpacked, *(file for archive in archives for file in list_members(archive, _PART)[0])]
    inside: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        inside[file.parent].append(file)
    chips: dict[tuple[str, str], Chip] = {}
    for folder, beside in inside.items():
        lists = [file for file in beside if file.name == _SHIPS]
        if lists:
            scene = _scene_name(folder, beside)
            for chip in _chips_of(scene, _read_ships(lists[0]), inside.get(folder / kind, [])):
                chips.setdefault((scene, chip.file.name), chip)  # one that is unpacked comes before its archive
    return sorted(chips.values(), key=lambda chip: (chip.scene, chip.file.name))


def read_chip(file: Path, polarization: str) -> np.ndarray:
    """Read one polarization of a chip.

    Returns:
        (H, W): uint8 of ``Patch_Uint8``, float32 power of ``Patch_Cal``, of ``Patch`` float32 amplitude or, of SLC
        scenes, complex64.

    Raises:
        ImageError: it is missing or damaged, or has an unknown number of bands.
    """
    with open_member(file) as (stream, size), tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chip.tif"
        copy.write_bytes(stream.read(size))
        bands = read_raster(copy).array
    if len(bands) == 1:
        return np.asarray(bands[0])
    if len(bands) not in (_SHORTEST, 2 * _SHORTEST):
        raise ImageError(f"{file}: expected 1, 2 or 4 bands, got {len(bands)}")
    chosen = bands[: len(bands) // 2] if polarization == "vh" else bands[len(bands) // 2 :]
    return chosen[0] if len(chosen) == 1 else (chosen[0] + 1j * chosen[1]).astype(np.complex64)


def _chips_of(scene: str, ships: Mapping[tuple[int, int], Ship], files: Sequence[Path]) -> list[Chip]:
    match = _SCENE.match(scene)
    single = {"SV": "vv", "SH": "hh"}.get(match["polarizations"].upper(), "") if match else ""
    chips = []
    for file in files:
        found = _CHIP.fullmatch(file.name)
        if found is not None:
            place = int(found["x"]), int(found["y"])
            chips.append(Chip(file, scene, found["type"], (found["polarization"] or single).lower(), ships.get(place)))
    return chips


def _scene_name(folder: Path, beside: Sequence[Path]) -> str:
    """Return the name of the product: that of its own file, else of the folder or archive."""
    named = sorted({file.stem for file in beside if _SCENE.fullmatch(file.stem)})
    if len(named) > 1:
        raise DataError(
            f"{folder}: {named[0]} and {named[1]} were unpacked over each other, so that the ships of one are lost; "
            "unpack each archive into a folder of its own, or leave the archives as they are"
        )
    if named:
        return named[0]
    found = [match.group() for part in reversed(folder.parts) if (match := _SCENE.match(part))]
    return found[0] if found else folder.name


def _read_ships(file: Path) -> dict[tuple[int, int], Ship]:
    """Return the ships of a ``Ship.xml`` by their centers; each is parsed alone, as the end may not be well-formed."""
    try:
        with open_member(file) as (stream, size):
            if size > _LARGEST_LIST:
                raise DataError(f"{file}: expected at most {_LARGEST_LIST} bytes, got {size}; damaged?")
            text = stream.read(size).decode("utf-8", "replace")
        ships = [_ship(ElementTree.fromstring(block)) for block in _SHIP.findall(text)]
    except (ImageError, ValueError, ElementTree.ParseError) as err:
        raise DataError(f"{file} is no list of ships of OpenSARShip: {err}") from err
    if not ships:
        raise DataError(f"{file} is no list of ships of OpenSARShip: expected <ship>, found none")
    return {ship.center: ship for ship in ships}


def _ship(element: ElementTree.Element) -> Ship:
    def text(tag: str, default: str = "0") -> str:
        return (element.findtext(f".//{tag}") or default).strip()

    return Ship(
        center=(int(text("Center_x", "")), int(text("Center_y", ""))),
        mmsi=int(text("MMSI")),
        name=text("Name", ""),
        ais_type=int(text("Ship_Type")),
        kind=text("Elaborated_type", ""),
        length=round(float(text("Length"))),
        width=round(float(text("Width"))),
        incidence=float(text("Incidence", "nan")),
        longitude=float(text("Center_longitude", "nan")),
        latitude=float(text("Center_latitude", "nan")),
    )
