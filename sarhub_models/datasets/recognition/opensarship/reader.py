"""OpenSARShip: Sentinel-1 chips of ships, up to 14 classes.

Huang, Liu, Li, Guo, Yu, Meng, Liu: OpenSARShip: A dataset dedicated to Sentinel-1 ship interpretation. IEEE JSTARS
11(1), 2018. On disk: the archives of the scenes (:mod:`.opensarship.scenes`), or 8-bit chips of several sizes in a
folder for each class. The published lists call chips ``<column>_<row>_<length>_<width>_vv.jpg``; they come in three
sizes, ``low``, ``medium`` and ``large``, for networks that take 32, 96 and 128 pixels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....errors import DataError, IncompleteError, OptionError
from ....io.images import image_size
from ...catalog import CatalogEntry
from ...lists import AnyPath, Listed, find_list, read_list
from ..base import SceneDataset
from ..folder import class_folders, listed_in_folders
from .scenes import KINDS, Chip, Ship, find_chips, read_chip

__all__ = ["CLASS_NAMES", "DATASET", "SIZES", "OpenSARShip"]

CLASS_NAMES = (
    "Tug",
    "Pilot_Vessel",
    "Towing",
    "Search_and_Rescue_vessel",
    "Law_Enforcement",
    "Pleasure_Craft",
    "Port_Tender",
    "Passenger",
    "Wing_in_ground",
    "High_speed_craft",
    "Dredging_or_underwater_ops",
    "Cargo",
    "Tanker",
    "Fishing",
)
SIZES = {"low": 32, "medium": 96, "large": 128}
"""Side of the input for each size of the published lists, in pixels."""

_SPLITS = tuple(f"{size}_{part}" for size in SIZES for part in ("train", "test"))
_SPLIT = re.compile(rf"({'|'.join(SIZES)})_(?:train|test)")
_GROUPED = ("mmsi", "scene")
_SHARES = {"train": (0, 70), "val": (70, 85), "test": (85, 100)}  # percent, by a digest of the ship or scene
_POLARIZATION = re.compile(r"_(v[vh])$", re.IGNORECASE)
_SHORTEST = 3  # letters that are no name cut off
_NUMBERS = {re.sub(r"_", "", name).lower(): number for number, name in enumerate(CLASS_NAMES)}


class OpenSARShip(SceneDataset):
    """The chips of one split.

    Published lists number all 14 classes, but those of the larger sizes hold fewer: 14 (low), 13 (medium) and 7
    (large). Here ``class_names`` are the classes that the two lists of a size hold, in the order of
    :data:`CLASS_NAMES`, and labels index them. Any other list, and none, leaves all 14.

    Args:
        root: folder of the archives, unpacked or not; or of the class folders, which may lie deeper.
        split: take only the chips of the list ``<split>.txt``, in its order: ``low_train``, ``low_test``,
            ``medium_train``, … Its labels must agree with the folders, or the names in the archives. Of archives also
            ``mmsi_train``, ``mmsi_val``, ``mmsi_test``, which have no ship in common, and ``scene_train``, …, which
            have no scene in common: 70, 15 and 15 percent of ships or scenes. By default all chips.
        lists: folder of the lists; by default ``root``. A published list needs the other one of its size beside it.
        polarization: ``"vv"`` or ``"vh"``; without a list, chips whose names say the other one are left out.
        patch: which chips of archives: ``"Patch_Uint8"``, ``"Patch_Cal"`` or ``"Patch"`` (:func:`.scenes.read_chip`).

    Attributes:
        ships: what the archives tell of each chip's ship, or ``None``; empty for class folders.
        scenes: name of the scene of each chip; empty for class folders.

    Raises:
        OptionError: there is no such polarization or kind of chip, or a split needs archives.
        IncompleteError: chips of the list are missing; it tells which.
        DataError: no chips were found, an archive is damaged, or a list is missing, malformed, ambiguous, or
            contradicts the folders or archives.
    """

    ships: tuple[Ship | None, ...] = ()
    scenes: tuple[str, ...] = ()

    def __init__(
        self,
        root: AnyPath,
        split: str | None = None,
        *,
        lists: AnyPath | None = None,
        polarization: str = "vv",
        patch: str = "Patch_Uint8",
    ) -> None:
        if polarization not in ("vv", "vh"):
            raise OptionError(f"expected polarization 'vv' or 'vh', got {polarization!r}")
        root = Path(root)
        self.polarization = polarization
        by, _, part = (split or "").partition("_")
        grouped = by in _GROUPED and part in _SHARES
        folder = Path(root if lists is None else lists)
        list_file = None if split is None or grouped else find_list(folder, split)
        entries = [] if list_file is None else read_list(list_file, len(CLASS_NAMES))
        chips = find_chips(root, patch) if root.is_dir() else []
        if chips:
            wanted = _known(chips, polarization, full=patch != KINDS[0])
            self._other = sum(_label(chip) is None for chip in _polarized(chips, polarization, full=patch != KINDS[0]))
            if entries:
                chosen = _listed(root, wanted, entries)
            else:
                chosen = [chip for chip in wanted if not grouped or _share(chip, by) == part]
            self.ships, self.scenes = tuple(c.ship for c in chosen), tuple(c.scene for c in chosen)
            files, labels = [chip.file for chip in chosen], [_label(chip) or 0 for chip in chosen]
        elif grouped:
            raise OptionError(f"the split {split} needs the archives of OpenSARShip, which name ships and scenes")
        else:
            files, labels = _in_folders(root, list_file, entries, polarization)
        kept = range(len(CLASS_NAMES)) if list_file is None or split is None else _classes(folder, split)
        if not files:
            raise DataError(f"{root}: no chip of {', '.join(CLASS_NAMES[label] for label in kept)} in {split or 'all'}")
        order = {label: index for index, label in enumerate(kept)}
        numbers = np.array([order[label] for label in labels], dtype=np.int64)
        super().__init__(root, files, numbers, [CLASS_NAMES[label] for label in kept])

    _other = 0

    def _read(self, file: Path) -> np.ndarray:
        return read_chip(file, self.polarization) if self.scenes else super()._read(file)

    def notes(self) -> tuple[str, ...]:
        """Return a remark on chips of types that are none of the classes."""
        return (f"{self._other} chips of other types were left out",) if self._other else ()

    @staticmethod
    def header_size(file: Path) -> tuple[int, int]:
        """Return height and width of a chip in pixels."""
        return image_size(file) if file.is_file() else read_chip(file, "vv").shape[-2:]


def _in_folders(
    root: Path, list_file: Path | None, entries: Sequence[Listed], polarization: str
) -> tuple[list[Path], list[int]]:
    """Return the chips in class folders, of a list or all, with their published labels."""
    label_of = class_folders(root, CLASS_NAMES)
    if list_file is None:
        files = [file for file in label_of if _polarization(file) in (None, polarization)]
        return files, [label_of[file] for file in files]
    return listed_in_folders(root, list_file, entries, label_of, CLASS_NAMES), [entry.labels[0] for entry in entries]


def _label(chip: Chip) -> int | None:
    """Return the number of the class that the name of a chip says, ``None`` for other types.

    Some names are cut off: "Search" is a vessel for search and rescue among the calibrated chips of an archive.
    """
    said = re.sub(r"[\W_]", "", chip.type).lower()
    begun = [number for name, number in _NUMBERS.items() if len(said) > _SHORTEST and name.startswith(said)]
    return _NUMBERS.get(said, begun[0] if len(begun) == 1 else None)


def _polarized(chips: Sequence[Chip], polarization: str, *, full: bool) -> list[Chip]:
    """Return the chips in one polarization; with ``full`` a chip holds all of its scene."""
    return [chip for chip in chips if chip.polarization == polarization or (full and not chip.polarization)]


def _known(chips: Sequence[Chip], polarization: str, *, full: bool) -> list[Chip]:
    """Return the chips of the classes in one polarization."""
    return [chip for chip in _polarized(chips, polarization, full=full) if _label(chip) is not None]


def _share(chip: Chip, by: str) -> str:
    """Return the part that a chip belongs to, by its ship or scene; a ship without a number counts as its scene."""
    key = f"{chip.ship.mmsi}" if by == "mmsi" and chip.ship is not None and chip.ship.mmsi else chip.scene
    percent = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    return next(name for name, (low, high) in _SHARES.items() if low <= percent < high)


def _listed(root: Path, chips: Sequence[Chip], entries: Sequence[Listed]) -> list[Chip]:
    """Return the chip of each line of a list: center, length and width of a ship tell it."""
    by_name: dict[str, list[Chip]] = {}
    for chip in chips:
        if chip.ship is not None:
            (x, y), ship = chip.ship.center, chip.ship
            by_name.setdefault(f"{x}_{y}_{ship.length}_{ship.width}", []).append(chip)
    found, missing = [], []
    for entry in entries:
        name = _POLARIZATION.sub("", re.split(r"[/\\]", entry.path)[-1].rsplit(".", 1)[0])
        match = [chip for chip in by_name.get(name, []) if _label(chip) == entry.labels[0]]
        if len(match) > 1:
            raise DataError(f"{entry.path!r} of the list could be {match[0].file} or {match[1].file}")
        if match:
            found.append(match[0])
        else:
            missing.append(entry.path)
    if missing:
        raise IncompleteError(
            f"{len(missing)} of {len(entries)} listed chips are in no archive below {root}, {missing[0]!r} first",
            missing=missing,
            found=[chip.file for chip in found],
        )
    return found


def _polarization(file: Path) -> str | None:
    match = _POLARIZATION.search(file.stem)
    return match[1].lower() if match else None


def _classes(folder: Path, split: str) -> Sequence[int]:
    """Return the published labels that occur in the two lists of a size."""
    match = _SPLIT.fullmatch(split)
    if match is None:
        return range(len(CLASS_NAMES))
    files = [find_list(folder, f"{match[1]}_{part}") for part in ("train", "test")]
    return sorted({entry.labels[0] for file in files for entry in read_list(file, len(CLASS_NAMES))})


DATASET = CatalogEntry(
    OpenSARShip,
    dict.fromkeys(_SPLITS),
    class_names=CLASS_NAMES,
    class_count={split: {"low": 14, "medium": 13, "large": 7}[split.partition("_")[0]] for split in _SPLITS},
    whole=True,
    lists=tuple(f"Fine-tuning/Target_recognition/data/OSS/{split}.txt" for split in _SPLITS),
    recipe={  # large chips, 7 classes; mean and std are the paper's, null measures those of chips on another scale
        "data": {"train": "large_train", "test": "large_test", "balanced": True},
        "preprocess": {"operator": "none", "draa": False, "size": 128, "mean": 0.00258246, "std": 0.0032765},
        "evaluation": {"split": None},
        "variants": {
            "data.train": {
                "medium_train": {
                    "data": {"test": "medium_test"},
                    "preprocess": {"size": 96, "mean": 0.00184448, "std": 0.00251385},
                },
                "low_train": {
                    "data": {"test": "low_test"},
                    "preprocess": {"size": 32, "mean": 0.00307491, "std": 0.00376823},
                },
            }
        },
    },
    target=True,
)
