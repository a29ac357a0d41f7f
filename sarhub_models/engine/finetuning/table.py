"""The chips of a fine-tuning: which files, with which labels, in which groups and splits."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.recognition.chips import SEPARATOR
from ...errors import DataError, ImageError, OptionError, closest
from ...io.images import image_of, list_images
from ...io.raster import POLARIZATIONS
from ...io.tables import read_table, write_table

SPLITS = ("train", "val", "test")
_LEARNED, _HELD_BACK = {"train", "training"}, {"val", "valid", "validation", "test", "testing"}
PARENT = "parent"  # group chips by the folder they lie in
_FILES, _LABELS = ("name", "image", "file", "path", "filename"), ("label", "labels", "class", "classes")
_SHOWN = 3
_HELD_OUT = 4  # a class of so many chips has one in every split


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: path below the folder of the chips, with ``/``.
        label: class, or several with ``;`` between them.
        group: chips of one group stay in one split; ``""`` where each is on its own.
        split: ``"train"``, ``"val"`` or ``"test"``; ``""`` while that is open.
    """

    name: str
    label: str
    group: str = ""
    split: str = ""


def find_chips(
    root: Path,
    *,
    labels: Path | None = None,
    group_by: str | None = None,
    bands: Sequence[str] = (),
    strict: bool = True,
) -> list[Chip]:
    """Find the chips below a folder and their labels.

    Args:
        root: holds a folder for each class, in which images may lie deeper, or folders ``train``, ``val``, ``test``
            that hold these; with ``labels``, images anywhere.
        labels: CSV or Parquet file with a column for the path below ``root`` (``name``), one for the class (``label``;
            several with ``;`` between them) and, if wanted, ``split`` and a column to group by. Of an image with a file
            for each band it lists one of them, or all with the same in each row.
        group_by: ``"parent"``, the folders between that of the class and the chip, or a column of ``labels``.
        bands: of the network; files of one image that hold a band each count once, or are a group if it takes one.
        strict: images without a label, and labels without an image, are an error; else both are left out.

    Raises:
        DataError: there are no chips, or labels and images do not fit.
        OptionError: there is nothing to group by.
    """
    files = image_of(images_below(root), bands)
    names = {file.relative_to(root).as_posix(): image.relative_to(root).as_posix() for file, image in files.items()}
    images = list(dict.fromkeys(names.values()))
    chips = _of_folders(root, images) if labels is None else _of_table(root, names, labels, group_by, strict)
    if group_by is None and len(bands) < 2:
        chips = _one_image_a_group(chips)
    elif group_by == PARENT:
        chips = [replace(chip, group=_parent(chip, within_class=labels is None)) for chip in chips]
        if labels is None and not any(chip.group for chip in chips):
            raise OptionError(
                "group_by='parent' needs folders within those of the classes, such as ship/scene_1/chip.tif; here each "
                "class is one folder. A column of --labels can say the groups, too"
            )
    elif group_by is not None and labels is None:
        raise OptionError(f"group_by={group_by!r} is a column of a table: give labels, too, or group_by='parent'")
    if not strict and (blank := [chip.name for chip in chips if not chip.label]) and not _several(chips):
        warnings.warn(f"{len(blank)} chips have no label, {blank[0]} among them: they are left out", stacklevel=4)
        chips = [chip for chip in chips if chip.label]
    return _checked(chips)


def _parent(chip: Chip, within_class: bool) -> str:
    """Return the folder of a chip, below that of its class: a scene of several classes has a folder in each."""
    folders = chip.name.split("/")[:-1]
    return "/".join(folders[(2 if chip.split else 1) if within_class else 0 :])


def _one_image_a_group(chips: Sequence[Chip]) -> list[Chip]:
    """Let the files of one image, a polarization each, be a group, where no splits are given."""
    shared = image_of([Path(chip.name) for chip in chips], POLARIZATIONS)
    count = Counter(shared.values())
    return [
        chip if chip.split or count[image] < 2 else replace(chip, group=image.as_posix())
        for chip, image in zip(chips, shared.values(), strict=True)
    ]


def images_below(root: Path) -> list[Path]:
    """Return the images below a folder.

    Raises:
        DataError: there are none.
    """
    try:
        return list_images(root)
    except ImageError as err:
        raise DataError(str(err)) from err


def check_split_folders(root: Path, folders: Collection[str]) -> None:
    """Refuse folders that are plainly splits, but not as they are called here: they would be taken for something else.

    Raises:
        DataError: one is for training and one for something else by its name.
    """
    low = {folder.lower() for folder in folders}
    if low & _LEARNED and low & _HELD_BACK:
        raise DataError(
            f"{root}: the folders {', '.join(sorted(folders))} look like splits: call them train, val and test, with "
            "nothing beside them (and the folders of the classes in each), or give the splits in a table"
        )


def _of_folders(root: Path, names: Sequence[str]) -> list[Chip]:
    parts = [name.split("/") for name in names]
    first = {part[0] for part in parts}
    split = first <= set(SPLITS) and "train" in first and all(len(part) > 2 for part in parts)
    if not split:
        check_split_folders(root, first)
    depth = 1 if split else 0
    if loose := [name for name, part in zip(names, parts, strict=True) if len(part) < depth + 2]:
        raise DataError(
            f"{root}: expected a folder for each class; {loose[0]} lies in none (labels in a table: --labels FILE)"
        )
    folders = root if not split else root / "train"
    empty = sorted(
        entry.name
        for entry in folders.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in {part[depth] for part in parts}
    )
    if empty:
        raise DataError(f"{folders / empty[0]} holds no image: remove the folder of this class, or fill it")
    if odd := sorted({part[depth] for part in parts if SEPARATOR in part[depth] or part[depth] != part[depth].strip()}):
        raise DataError(
            f"{folders / odd[0]}: the folder of a class cannot have a {SEPARATOR}, which stands between labels, or "
            "a blank at an end: rename it"
        )
    return [Chip(name, part[depth], split=part[0] if split else "") for name, part in zip(names, parts, strict=True)]


def _of_table(root: Path, names: Mapping[str, str], file: Path, group_by: str | None, strict: bool) -> list[Chip]:
    rows = read_table(file)
    if not rows:
        raise DataError(f"{file} lists no chip")
    columns = list(rows[0])
    name_of, label_of = _column(file, columns, _FILES), _column(file, columns, _LABELS)
    if group_by not in (None, PARENT) and group_by not in columns:
        raise OptionError(f"{file} has no column {group_by!r}{closest(str(group_by), columns)} to group by")
    listed = [str(row[name_of]) for row in rows]
    twice = [name for name, count in Counter(listed).items() if count > 1]
    if twice:
        raise DataError(f"{file} lists {twice[0]} more than once")
    missing = [name for name in listed if name not in names]
    unlabeled = sorted(set(names.values()) - {names.get(name) for name in listed})
    if strict and missing:
        raise DataError(
            f"{len(missing)} of {len(listed)} chips of {file} are not below {root}: {', '.join(missing[:_SHOWN])} "
            "(on_error=skip leaves them out)"
        )
    if strict and unlabeled:
        raise DataError(
            f"{len(unlabeled)} of {len(set(names.values()))} images below {root} have no label in {file}: "
            f"{', '.join(unlabeled[:_SHOWN])} (on_error=skip leaves them out)"
        )
    if missing or unlabeled:
        warnings.warn(
            f"{len(missing)} chips of {file} are not there and {len(unlabeled)} images below {root} have no label: "
            "they are left out",
            stacklevel=6,
        )
    chips: dict[str, Chip] = {}
    for row, name in zip(rows, listed, strict=True):
        if name in names:
            group = "" if group_by in (None, PARENT) else cell_text(row[group_by])
            chip = Chip(names[name], _joined(row[label_of]), group, cell_text(row.get("split")))
            if chips.setdefault(chip.name, chip) != chip:
                raise DataError(f"{file} says of {name} something else than of another band of the image, {chip.name}")
    return list(chips.values())


def _column(file: Path, columns: Sequence[str], names: Sequence[str]) -> str:
    found = [name for name in names if name in columns]
    if not found:
        raise DataError(f"{file}: expected a column {names[0]} (or {', '.join(names[1:])}), got {', '.join(columns)}")
    return found[0]


def cell_text(cell: Any) -> str:
    """Return what a cell says as text, ``""`` of an empty one, which Parquet may hold as ``None`` or NaN.

    Whole numbers are written as such, though a column with empty cells makes them floating-point ones.
    """
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.decode() if isinstance(cell, bytes) else str(cell)


def _joined(label: Any) -> str:
    """Return the label of a cell as text; Parquet may hold lists of them."""
    if isinstance(label, list | tuple | np.ndarray):
        return SEPARATOR.join(map(cell_text, label))
    return cell_text(label).strip()


def _several(chips: Sequence[Chip]) -> bool:
    return any(SEPARATOR in chip.label for chip in chips)


def _checked(chips: list[Chip]) -> list[Chip]:
    if odd := sorted({chip.split for chip in chips} - {"", *SPLITS}):
        raise DataError(f"expected the splits {', '.join(SPLITS)}, got {', '.join(odd)}")
    if len({bool(chip.split) for chip in chips}) > 1:
        name = next(chip.name for chip in chips if not chip.split)
        raise DataError(f"{name} has no split, and others have one")
    counts = class_counts(chips)
    blank = [chip.name for chip in chips if not chip.label]
    if blank and not _several(chips):
        raise DataError(f"{blank[0]} has no label (on_error=skip leaves such chips out)")
    if len(counts) < 2:
        raise DataError(f"expected at least two classes, found {', '.join(counts) or 'none'}")
    if rare := [name for name, count in counts.items() if count < 2]:
        raise DataError(f"class {rare[0]} has a single chip: at least two are needed, to learn from and to test on")
    return chips


def class_counts(chips: Sequence[Chip]) -> Mapping[str, int]:
    """Return the number of chips of each class, sorted by name."""
    labels = (part.strip() for chip in chips for part in chip.label.split(SEPARATOR))
    return dict(sorted(Counter(label for label in labels if label).items()))


def divide(chips: Sequence[Chip], *, val: float, test: float, seed: int, unlearned: Collection[str] = ()) -> list[Chip]:
    """Give every chip a split: chips of a group stay together, and classes have about the same share in each.

    Args:
        chips: those with splits keep them, but where none is for validation, a part of the training split becomes it.
        val: share of the chips to validate on.
        test: share of the chips to test on.
        seed: decides which.
        unlearned: classes that the training split need not have.

    Raises:
        DataError: another class is in no chip of the training split, or the given splits tear a group apart.
        OptionError: the shares leave nothing to train on.
    """
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise OptionError(f"expected shares of val above 0 and test from 0, together below 1, got {val} and {test}")
    _check_groups([chip for chip in chips if chip.split])
    splits = np.array([chip.split or "train" for chip in chips], dtype=object)
    if not chips[0].split and test:
        splits[_held_out(chips, np.arange(len(chips)), test, seed)] = "test"
    if "val" not in splits:
        rest = np.flatnonzero(splits == "train")
        share = val / (1 - test) if not chips[0].split else val
        splits[_held_out(chips, rest, share, seed + 1)] = "val"
    divided = [replace(chip, split=str(split)) for chip, split in zip(chips, splits, strict=True)]
    if not any(chip.split == "val" for chip in divided):
        raise DataError(f"{len(chips)} chips (or groups) are too few to hold some out: expected {_HELD_OUT} of a class")
    learnt = class_counts([chip for chip in divided if chip.split == "train"])
    if lost := sorted(class_counts(divided).keys() - learnt.keys() - set(unlearned)):
        raise DataError(
            f"class {lost[0]} has no chip in the training split: its chips are in too few groups, or the given splits "
            "leave it out"
        )
    return divided


def _check_groups(chips: Sequence[Chip]) -> None:
    found: dict[str, str] = {}
    for chip in chips:
        if chip.group and found.setdefault(chip.group, chip.split) != chip.split:
            raise DataError(
                f"the group {chip.group} lies in the splits {found[chip.group]} and {chip.split}, as they are given: "
                "leave out group_by, or the splits, which then keep groups together"
            )


def _held_out(chips: Sequence[Chip], among: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the indices of about this share of some chips, whole groups, alike in all classes."""
    groups: dict[str, list[int]] = {}
    for index in among:
        groups.setdefault(chips[index].group or f"\0{index}", []).append(int(index))
    order = np.random.default_rng(seed).permutation(len(groups))
    counted = [(group, _held([chips[index] for index in group])) for group in groups.values()]
    left = _held([chips[index] for index in among])
    wanted = {name: max(share * count, count >= _HELD_OUT) for name, count in left.items()}
    chosen: dict[int, list[int]] = {}

    def sweep(matters: Collection[str]) -> None:
        """Choose the groups that bring these classes nearer to what is wanted."""
        for position in order:
            group, counts = counted[position]
            gain = sum(
                min(count, wanted[name]) - max(count - wanted[name], 0)
                for name, count in counts.items()
                if name in matters
            )
            if position not in chosen and gain > 0 and all(left[name] > count for name, count in counts.items()):
                chosen[position] = group
                for name, count in counts.items():
                    wanted[name] -= count
                    left[name] -= count

    sweep(left)
    if _several(chips):  # a label that comes with others is not shut out by what these have already
        for name in sorted(left, key=lambda name: left[name]):
            sweep({name})
    return np.sort(np.array([index for group in chosen.values() for index in group], dtype=np.int64))


def _held(chips: Sequence[Chip]) -> Counter[str]:
    """Return the number of chips of each class, and of those without a label as one of its own, ``""``."""
    blank = sum(not chip.label for chip in chips)
    return Counter(class_counts(chips)) + Counter({"": blank})


def write_chips(chips: Sequence[Chip], file: Path) -> None:
    """Write the table that :class:`~sarhub_models.datasets.recognition.chips.ChipsDataset` reads."""
    write_table([{"name": c.name, "label": c.label, "split": c.split, "group": c.group} for c in chips], file)


def read_chips(file: Path) -> list[Chip]:
    """Read what :func:`write_chips` wrote."""
    return [Chip(row["name"], row["label"], row["group"], row["split"]) for row in read_table(file)]
