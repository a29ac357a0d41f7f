"""The images and masks of a fine-tuning: which belong together, what numbers stand in the masks, and the splits."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...datasets.windows.base import Bands, read_filled
from ...datasets.windows.masks import COLUMNS, TABLE
from ...errors import DataError, ImageError, OptionError
from ...io.images import list_images, one_per_image
from ...io.masks import read_numbers
from ...io.progress import progress_bar
from ...io.raster import apart
from ...io.tables import read_table, write_table
from ...transforms import Pipeline, normalize_amplitude
from .table import PARENT, SPLITS, Chip, cell_text, check_split_folders, divide

IMAGES, MASKS = "images", "masks"
_MOST = 64  # classes; a mask with more numbers is no mask
_APART = 0.5  # pixels by which a mask may lie beside its image
_SHOWN = 3
_BAND = re.compile(r"[-_.](vv|vh|hv|hh)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """One image and its mask.

    Attributes:
        image: path below the folder of the images, with ``/``.
        mask: path from that folder.
        group: images of one group stay in one split; ``""`` where each is on its own.
        split: ``"train"``, ``"val"`` or ``"test"``; ``""`` while that is open.
        size: height and width in pixels; ``(0, 0)`` while they are not known.
        pixels: of each number of the mask.
    """

    image: str
    mask: str
    group: str = ""
    split: str = ""
    size: tuple[int, int] = (0, 0)
    pixels: tuple[tuple[int, int], ...] = ()


def find_pairs(root: Path, masks: Path, *, group_by: str | None = None, bands: Sequence[str] = ()) -> list[Pair]:
    """Find the images below a folder and the mask of each.

    Args:
        root: folder of the images, or one that holds folders ``train``, ``val``, ``test``.
        masks: folder of the masks, each called like its image (but for the suffix, and the polarization of an image in
            several files) and in a folder like that of its image, or directly in this one; or a CSV or Parquet file
            with the columns ``image`` and ``mask`` (paths below ``root``) and, if wanted, ``split`` and one to group
            by.
        group_by: ``"parent"``, or a column of that file.
        bands: of the network; files of one image that hold a band each count once.

    Returns:
        The pairs; images with the same mask are in one group.

    Raises:
        DataError: an image has no mask, a mask no image, or several fit; or two images would get one mask by name.
        OptionError: there is nothing to group by.
    """
    if not masks.exists():
        raise DataError(f"there are no masks in {masks}: no such folder or file")
    if masks.is_file():
        pairs = _of_table(root, masks, group_by)
    else:
        if group_by not in (None, PARENT):
            raise OptionError(f"group_by={group_by!r} is a column of a table of masks; without one, group_by='parent'")
        pairs = _of_folder(root, masks, bands)
    if group_by == PARENT:
        pairs = [replace(pair, group=Path(pair.image).parent.as_posix()) for pair in pairs]
    return _grouped(pairs)


def _grouped(pairs: Sequence[Pair]) -> list[Pair]:
    """Put images with the same mask, which show the same place, into one group."""
    shared = {mask for mask, count in Counter(pair.mask for pair in pairs).items() if count > 1}
    part_of: dict[str, str] = {}

    def whole(group: str) -> str:
        while group in part_of:
            group = part_of[group]
        return group

    for pair in pairs:
        group, other = whole(pair.group), whole(pair.mask)
        if pair.mask in shared and pair.group and group != other:
            part_of[other] = group
    return [
        replace(pair, group=whole(pair.group or pair.mask)) if pair.group or pair.mask in shared else pair
        for pair in pairs
    ]


def _of_folder(root: Path, masks: Path, bands: Sequence[str]) -> list[Pair]:
    inside = masks.resolve()
    try:
        images = [file for file in list_images(root) if inside not in file.resolve().parents]
        found = list_images(masks)
    except ImageError as err:
        raise DataError(str(err)) from err
    by_name: dict[str, list[Path]] = {}
    for mask in found:
        by_name.setdefault(mask.relative_to(masks).with_suffix("").as_posix(), []).append(mask)
    pairs, missing, used = list[Pair](), list[str](), dict[Path, str]()
    for file in one_per_image(images, bands):
        name = file.relative_to(root).with_suffix("").as_posix()
        keys = (name, _BAND.sub("", name), file.stem, _BAND.sub("", file.stem))
        fitting = next((by_name[key] for key in keys if key in by_name), [])
        if len(fitting) > 1:
            raise DataError(f"{file} could belong to the masks {fitting[0]} or {fitting[1]}")
        if not fitting:
            missing.append(name)
            continue
        other = used.setdefault(fitting[0], name)
        if _BAND.sub("", name) != _BAND.sub("", other):
            raise DataError(
                f"the images {other} and {name} would both get the mask {fitting[0]}: put masks into folders "
                "like those of their images, or list the pairs in a table"
            )
        relative = file.relative_to(root).as_posix()
        first = relative.split("/")[0]
        split = first if first in SPLITS and "/" in relative else ""
        pairs.append(Pair(relative, _from(root, fitting[0]), split=split))
    folders = {pair.image.split("/")[0] for pair in pairs if "/" in pair.image}
    if not folders <= set(SPLITS):
        check_split_folders(root, folders)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(missing) + len(pairs)} images below {root} have no mask of their name in {masks}: "
            f"{', '.join(missing[:_SHOWN])}"
        )
    if spare := [mask.name for mask in found if mask not in used]:
        raise DataError(f"{len(spare)} masks in {masks} have no image below {root}: {', '.join(spare[:_SHOWN])}")
    return pairs


def _of_table(root: Path, file: Path, group_by: str | None) -> list[Pair]:
    rows = read_table(file)
    for column in ("image", "mask", *(() if group_by in (None, PARENT) else (str(group_by),))):
        if not rows or column not in rows[0]:
            raise DataError(f"{file}: expected a column {column}, got {', '.join(rows[0]) if rows else 'no row'}")
    twice = [name for name, count in Counter(str(row["image"]) for row in rows).items() if count > 1]
    if twice:
        raise DataError(f"{file} lists {twice[0]} more than once")
    lost = [row[key] for row in rows for key in ("image", "mask") if not (root / str(row[key])).is_file()]
    if lost:
        raise DataError(f"{len(lost)} files that {file} lists are not below {root}: {', '.join(lost[:_SHOWN])}")
    return [
        Pair(
            str(row["image"]),
            str(row["mask"]),
            group="" if group_by in (None, PARENT) else cell_text(row[group_by]),
            split=cell_text(row.get("split")),
        )
        for row in rows
    ]


def _from(root: Path, file: Path) -> str:
    return Path(os.path.relpath(file, root)).as_posix()


def look_at_pair(root: Path, pair: Pair, bands: Bands, transform: Pipeline, *, full_scale: float | None) -> Pair:
    """Read an image and its mask, and return what they hold.

    Args:
        root: folder of the images.
        pair: the two.
        bands: that the network takes.
        transform: its preprocessing, for the images as they are.
        full_scale: value of amplitude 1.

    Raises:
        ImageError: the image cannot be used.
        DataError: the mask cannot be used, or has another size.
    """
    file = root / pair.image
    raster = bands.read(file)
    try:
        check_pixels(read_filled(raster)[0], transform, full_scale=full_scale)
    except ImageError as err:
        raise ImageError(f"{file}: {err}") from err
    try:
        mask = read_numbers(root / pair.mask)
    except ImageError as err:
        raise DataError(f"{err} (the mask of {pair.image})") from err
    size = raster.mask.shape
    if mask.mask.shape != size:
        raise DataError(
            f"{root / pair.mask} has {mask.mask.shape[0]} x {mask.mask.shape[1]} pixels, its image {file} "
            f"{size[0]} x {size[1]}"
        )
    if (off := apart(raster, mask)) > _APART:
        raise DataError(f"{root / pair.mask} lies {off:.3g} pixels beside its image {file}, as both files say")
    numbers, counts = np.unique(mask.array[0][mask.mask & raster.mask], return_counts=True)
    if len(numbers) > _MOST:
        raise DataError(f"{root / pair.mask} holds {len(numbers)} different numbers, {_MOST} at most: is it an image?")
    return replace(pair, size=(size[0], size[1]), pixels=tuple(zip(numbers.tolist(), counts.tolist(), strict=True)))


def check_pixels(pixels: np.ndarray, transform: Pipeline, *, full_scale: float | None) -> None:
    """Raise an ImageError unless pixels (C, H, W) hold what the preprocessing expects."""
    if transform.takes_amplitude:
        normalize_amplitude(pixels, full_scale=full_scale, trained=transform.trained_full_scale)
    else:
        transform.steps["radiometry"](pixels)


def look_at_pairs(
    root: Path, pairs: Sequence[Pair], bands: Bands, transform: Pipeline, *, full_scale: float | None, on_error: str
) -> tuple[list[Pair], dict[str, str]]:
    """Read all images and masks; with ``on_error="skip"``, return why some cannot be used, too."""
    found: list[Pair] = []
    skipped: dict[str, str] = {}
    with progress_bar("looking at the images", len(pairs)) as advance:
        for pair in pairs:
            try:
                found.append(look_at_pair(root, pair, bands, transform, full_scale=full_scale))
            except (ImageError, DataError) as err:
                if on_error == "stop":
                    raise
                skipped[pair.image] = str(err)
            advance(1)
    if not found:
        raise DataError(f"none of the {len(pairs)} images can be used: {next(iter(skipped.values()))}")
    return found, skipped


def choose_classes(pairs: Sequence[Pair], classes: Sequence[str] | None, ignore: int | None) -> dict[int, str]:
    """Return the name of each number that stands for a class.

    Args:
        pairs: with what they hold.
        classes: ``"number=name"`` of each, or names for 0, 1, 2, …; by default the numbers that occur.
        ignore: number of pixels without a class.

    Raises:
        DataError: masks hold another number, or a single class.
        OptionError: a class cannot be called so.
    """
    seen = sorted({number for pair in pairs for number, _ in pair.pixels} - {ignore})
    named = {number: str(number) for number in seen} if classes is None else _named(classes)
    named.pop(ignore, None)  # type: ignore[arg-type]
    for pair in pairs:
        for number, _ in pair.pixels:
            if number not in named and number != ignore:
                raise DataError(
                    f"the mask {pair.mask} holds the number {number}, which is no class of "
                    f"{', '.join(f'{n}={name}' for n, name in named.items())}; name it (--classes {number}=NAME,...) "
                    f"or leave its pixels out (--ignore {number})"
                )
    if len(seen) < 2 or len(named) > _MOST:
        raise DataError(f"expected masks of 2 to {_MOST} classes, found {', '.join(map(str, seen)) or 'none'}")
    return named


def _named(classes: Sequence[str]) -> dict[int, str]:
    parts = [text.partition("=") for text in classes]
    if not all(equals for _, equals, _ in parts):
        parts = [(str(index), "=", text) for index, text in enumerate(classes)]
    if not all(number.strip().lstrip("-").isdecimal() for number, _, _ in parts):
        raise OptionError(f"expected classes as number=name, or names for 0, 1, 2, …; got {', '.join(classes)}")
    named = {int(number): name.strip() for number, _, name in parts}
    names = list(named.values())
    if len(named) != len(classes) or len(set(names)) != len(names) or any(not n or ";" in n for n in names):
        raise OptionError(f"expected different numbers and names without ';', got {', '.join(classes)}")
    return named


def divide_pairs(pairs: Sequence[Pair], named: Mapping[int, str], *, val: float, test: float, seed: int) -> list[Pair]:
    """Give every pair a split, as :func:`.table.divide` does with the classes that a mask holds."""
    chips = []
    for pair in pairs:
        held = ";".join(named[number] for number, _ in pair.pixels if number in named)
        if not held:
            raise DataError(f"the mask {pair.mask} has no pixel of a class: remove it and its image")
        chips.append(Chip(pair.image, held, pair.group, pair.split))
    if odd := sorted({pair.split for pair in pairs} - {"", *SPLITS}):
        raise DataError(f"expected the splits {', '.join(SPLITS)}, got {', '.join(odd)}")
    if len({bool(pair.split) for pair in pairs}) > 1:
        raise DataError(f"{next(p.image for p in pairs if not p.split)} has no split, and others have one")
    divided = divide(chips, val=val, test=test, seed=seed)
    return [replace(pair, split=chip.split) for pair, chip in zip(pairs, divided, strict=True)]


def write_pairs(pairs: Sequence[Pair], named: Mapping[int, str], folder: Path) -> None:
    """Write the table that :class:`~sarhub_models.datasets.windows.masks.MaskWindows` reads."""
    rows = []
    for pair in pairs:
        counts = dict(pair.pixels)
        pixels = ";".join(str(counts.get(number, 0)) for number in named)
        values = (pair.image, pair.mask, pair.split, pair.group, *pair.size, pixels)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_table(rows, folder / TABLE)
