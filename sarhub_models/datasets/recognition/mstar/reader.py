"""MSTAR: chips of military vehicles in X band, 10 classes.

Published by the US Air Force Research Laboratory; Ross, Worrell, Velten, Mossing, Bryant: Standard SAR ATR evaluation
experiments using the MSTAR public release data set. SPIE 3370, 1998. On disk: Phoenix files (see
:mod:`.mstar.phoenix`) called ``HB19868.000``, in any folders below the root, unpacked or in the .zip archives
themselves. Their headers, not their names, tell the vehicle and the depression angle:
chips taken at 17° are for training, those at 15° for the test. Or the same as pictures, ``HB19868.000.jpeg``, in the
folders of the CDs (see :mod:`.mstar.pictures`). Or ``.npy`` files, such as
``train/2S1/HB19868.000_Mag.npy``, and lists.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ....errors import DataError, ImageError, IncompleteError, OptionError
from ....io.images import image_size, read_image
from ...archives import find_files, list_members
from ...catalog import CatalogEntry
from ...lists import AnyPath, ImageIndex, Listed, label_array, read_list
from ..base import SceneDataset
from .phoenix import read_header, read_phoenix
from .pictures import is_picture, picture_folders, picture_size, read_picture

__all__ = ["CLASS_NAMES", "DATASET", "DEPRESSION", "MSTAR"]

CLASS_NAMES = ("2S1", "BMP-2", "BRDM-2", "BTR-60", "BTR-70", "D7", "T-62", "T-72", "ZIL-131", "ZSU-234")
DEPRESSION = {"train": 17, "test": 15}
"""Depression angle of each split, degrees."""

CHIP = re.compile(r"(HB\d+\.\d{3})(?:\.(?:jpe?g|png))?", re.IGNORECASE)
"""Pattern of the name of a chip, a Phoenix file or a picture; its group is the name of the Phoenix file."""
_STANDARD = {"BMP-2": "9563", "T-72": "132"}  # of these two, several vehicles were measured
_TARGETS = {re.sub(r"\W", "", name).lower(): label for label, name in enumerate(CLASS_NAMES)}


@dataclass(frozen=True)
class _Chip:
    """A Phoenix file, or a picture, of one of the ten vehicles."""

    file: Path  # of a member: ARCHIVE/path/in/it
    packed: bool
    label: int
    serial: str
    depression: int | None
    azimuth: str


class MSTAR(SceneDataset):
    """The chips of one split.

    Images are magnitude, float32, in the values of the file: about 0.05 on average, above 1 at bright scatterers; those
    of pictures are divided by their maximum.
    Chips differ in size from class to class (128 by 128 to 193 by 192 pixels).

    Args:
        root: folder of the archives, unpacked or not; or of the ``.npy`` files and lists. Phoenix files come first,
            then pictures. A chip in an archive is called ``ARCHIVE/path/in/it``; one that lies unpacked beside it is
            read from there.
        split: ``"train"`` (17°), ``"test"`` (15°), or the name of a list. The paper's lists are ``train``,
            ``train_30``, ``train_10`` and ``test``.
        lists: folder of the lists; by default ``root``. With Phoenix files, ``"train"`` and ``"test"`` take a list
            only where this is given.
        variants: take every vehicle of the types BMP-2 and T-72. By default one of each, as the paper does, with the
            serial numbers 9563 and 132: 2,747 chips to train and 2,425 to test.

    Raises:
        OptionError: ``variants`` is asked for where a list decides.
        IncompleteError: chips of the list are missing, or Phoenix files are damaged; it tells which.
        DataError: no chips were found, one lies there twice, an archive is damaged, of another kind than .zip or holds
            archives in place of chips, or the list is missing, malformed or ambiguous.
    """

    def __init__(self, root: AnyPath, split: str, *, lists: AnyPath | None = None, variants: bool = False) -> None:
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; expected one with the archives of MSTAR, or .npy files")
        unpacked, archives, others = find_files(root, CHIP)
        phoenix = [*((file, False) for file in unpacked), *((file, True) for file in _packed_files(archives))]
        if not all(is_picture(file) for file, _ in phoenix):
            phoenix = [(file, packed) for file, packed in phoenix if not is_picture(file)]
        listed = lists is not None or (root / f"{split}.txt").is_file()
        if others and not unpacked and (phoenix or not listed):
            raise DataError(f"{others[0]}: only .zip archives are read in place; unpack it, or pack its files as .zip")
        if archives and not phoenix and not listed:
            raise DataError(
                f"{root}: expected chips called HB19868.000 in {archives[0].name}, found none in any archive"
            )
        if phoenix and lists is None and split in DEPRESSION:
            chips = _chips(root, phoenix, variants, DEPRESSION[split])
            files, labels = [chip.file for chip in chips], np.array([chip.label for chip in chips], dtype=np.int64)
        elif variants:
            raise OptionError("variants=True takes the chips of Phoenix files by their headers; a list names its chips")
        else:
            entries = read_list(self._list(root, lists, split), len(CLASS_NAMES))
            labels = label_array(entries, len(CLASS_NAMES))
            if phoenix:
                files = _listed_chips(root, _chips(root, phoenix), entries)
            else:
                files = ImageIndex(root, suffixes=(".npy",)).find([entry.path for entry in entries])
        super().__init__(root, files, labels, CLASS_NAMES)

    def _read(self, file: Path) -> np.ndarray:
        if is_picture(file):
            return read_picture(file)
        return read_image(file) if file.suffix == ".npy" else read_phoenix(file).magnitude

    @staticmethod
    def header_size(file: Path) -> tuple[int, int]:
        """Return height and width of a chip in pixels, from its header."""
        if is_picture(file):
            return picture_size(file)
        if file.suffix == ".npy":
            return image_size(file)
        header = read_header(file)
        return header.rows, header.columns


DATASET = CatalogEntry(
    MSTAR,
    {"train": 2_747, "test": 2_425},
    subsets={"train_30": 817, "train_10": 268},
    class_names=CLASS_NAMES,
    # Chen, Wang, Xu, Jin: Target classification using the deep convolutional networks for SAR images. TGRS 54, 2016
    classes={
        "train": (299, 233, 298, 256, 233, 299, 299, 232, 299, 299),
        "test": (274, 195, 274, 195, 196, 274, 273, 196, 274, 274),
    },
    lists=tuple(
        f"Fine-tuning/Target_recognition/data/MSTAR/{split}.txt" for split in ("train", "train_30", "train_10", "test")
    ),
    recipe={  # the middle of each chip
        # of the magnitudes in the files, which exceed 1 only at bright scatterers
        "data": {"full_scale": 1.0},
        "preprocess": {"crop": 128, "operator": "none", "draa": False, "mean": 0.051745296, "std": 0.059024353},
        "evaluation": {"split": None},
    },
    target=True,
)


def _packed_files(archives: Sequence[Path]) -> list[Path]:
    """Return the chips in some archives, sorted within each.

    Raises:
        DataError: an archive is damaged, or holds archives in place of chips.
    """
    found: list[Path] = []
    there = {archive.name for archive in archives}
    for archive in archives:
        members, nested = list_members(archive, CHIP)
        found += members
        packed = [name for name in nested if PurePosixPath(name).name not in there]
        if packed and not members:
            raise DataError(
                f"{archive} holds no chips but archives, {packed[0]!r} first: unpack it once; the .zip files that come "
                "out need not be unpacked"
            )
    return found


def _chips(
    root: Path, files: Sequence[tuple[Path, bool]], variants: bool = False, depression: int | None = None
) -> list[_Chip]:
    """Return the chips of the ten vehicles, by their headers, at one angle or all; other targets are passed over."""
    chips, damaged = [], {}
    for file, packed in files:
        try:
            chip = _picture(root, file, packed) if is_picture(file) else _read_chip(file, packed)
        except ImageError as err:
            damaged[file] = str(err)
            continue
        if chip is not None and (variants or _STANDARD.get(CLASS_NAMES[chip.label], chip.serial) == chip.serial):
            chips.append(chip)
    angles = sorted({chip.depression for chip in chips if chip.depression is not None})
    chips = [chip for chip in chips if depression in (None, chip.depression)]
    if damaged:
        first = next(iter(damaged.values()))
        message = f"{len(damaged)} of {len(files)} Phoenix files below {root} are damaged; {first}"
        raise IncompleteError(message, damaged=damaged, found=[chip.file for chip in chips])
    if not angles:
        raise DataError(f"{root}: {len(files)} Phoenix files, but none of {', '.join(CLASS_NAMES)}")
    if not chips:
        raise DataError(f"{root}: expected chips at {depression}°, found {', '.join(map(str, angles))}°")
    return _unique(chips)


def _read_chip(file: Path, packed: bool) -> _Chip | None:
    fields = read_header(file, chip=False).fields
    target = re.sub(r"[\W_]", "", fields.get("TargetType", "")).lower()
    label = next((label for name, label in _TARGETS.items() if target.startswith(name)), None)
    if label is None:  # the calibration target (slicy), and scenes of clutter
        return None
    read_header(file)  # a chip is as long as its header says
    try:
        depression = round(float(fields["DesiredDepression"]))
    except (KeyError, ValueError, OverflowError) as err:
        given = fields.get("DesiredDepression")
        raise ImageError(f"{file}: expected a header with DesiredDepression= and degrees, got {given!r}") from err
    serial = fields.get("TargetSerNum", "").lower().removeprefix("sn_")
    return _Chip(file, packed, label, serial, depression, fields.get("TargetAz", ""))


def _picture(root: Path, file: Path, packed: bool) -> _Chip | None:
    names, serial, depression = picture_folders(file.relative_to(root).parts[:-1])
    folded = (re.sub(r"[\W_]", "", name).lower() for name in names)
    label = next((_TARGETS[name] for name in folded if name in _TARGETS), None)
    return None if label is None else _Chip(file, packed, label, serial, depression, "")


def _unique(chips: Sequence[_Chip]) -> list[_Chip]:
    """Return the chips without those in archives that also lie unpacked, which come first; any other twin is wrong."""
    seen: dict[tuple[str, int, str, int | None, str], _Chip] = {}
    for chip in chips:
        key = (_name(chip.file), chip.label, chip.serial, chip.depression, chip.azimuth)
        twin = seen.setdefault(key, chip)
        if twin is not chip and twin.packed == chip.packed:
            raise DataError(f"{twin.file} and {chip.file} are the same chip; remove one of them")
    return list(seen.values())


def _name(file: Path) -> str:
    match = CHIP.fullmatch(file.name)
    assert match is not None  # chips were found by it
    return match[1].lower()


def _listed_chips(root: Path, chips: Sequence[_Chip], entries: Sequence[Listed]) -> list[Path]:
    """Return the Phoenix file of each line of a list; within a class, the name tells a chip."""
    named = defaultdict(list)
    for chip in chips:
        named[_name(chip.file), chip.label].append(chip.file)
    found: list[Path] = []
    missing = []
    for entry in entries:
        match = CHIP.match(re.split(r"[/\\]", entry.path)[-1])
        files = named[match[1].lower(), entry.labels[0]] if match else []
        if len(files) > 1:
            raise DataError(f"{entry.path!r} of the list could be {files[0]} or {files[1]}; remove one of them")
        if files:
            found += files
        else:
            missing.append(entry.path)
    if missing:
        message = f"{len(missing)} of {len(entries)} listed chips are not below {root}, {missing[0]!r} first"
        raise IncompleteError(f"{message}; expected Phoenix files of that name and class", missing=missing, found=found)
    return found
