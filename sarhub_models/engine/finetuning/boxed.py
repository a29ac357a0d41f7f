"""The images and boxes of a fine-tuning: what the annotations say, what does not fit, and the splits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...datasets.annotations.boxes import Annotation, fit_boxes
from ...datasets.annotations.coco import read_labeled_coco
from ...datasets.lists import ImageIndex
from ...datasets.windows.base import Bands, read_filled
from ...datasets.windows.boxes import COLUMNS, TABLE
from ...errors import DataError, ImageError, OptionError
from ...io.progress import progress_bar
from ...io.tables import write_table
from ...transforms import Pipeline
from .pairs import check_pixels
from .table import PARENT, SPLITS, Chip, divide

_EMPTY = "without a box"  # a class of its own while images are shared out


@dataclass(frozen=True)
class Boxed:
    """One image and its boxes.

    Attributes:
        image: path below the folder of the images, with ``/``.
        boxes: x1, y1, x2, y2 in pixels and the class of each.
        size: height and width in pixels.
        split: ``"train"``, ``"val"`` or ``"test"``; ``""`` while that is open.
        group: images of one group stay in one split.
    """

    image: str
    boxes: tuple[tuple[float, ...], ...]
    size: tuple[int, int]
    split: str = ""
    group: str = ""


def find_boxes(root: Path, boxes: Path, *, group_by: str | None = None) -> tuple[tuple[str, ...], list[Boxed]]:
    """Find the images that COCO files annotate.

    Args:
        root: folder of the images, which may lie deeper.
        boxes: a COCO file, or a folder with ``train.json`` and, if wanted, ``val.json`` and ``test.json``.
        group_by: ``"parent"`` or ``None``.

    Returns:
        The names of the classes, and the images with boxes as they are written.

    Raises:
        DataError: there are no boxes, files disagree in their classes, or images are missing.
        OptionError: there is nothing to group by.
    """
    if group_by not in (None, PARENT):
        raise OptionError(
            f"group_by={group_by!r}: images with boxes can be grouped by 'parent', the folder they lie in"
        )
    files = {"": boxes}
    if boxes.is_dir():
        files = {split: boxes / f"{split}.json" for split in SPLITS if (boxes / f"{split}.json").is_file()}
        if "train" not in files:
            raise DataError(f"{boxes}: expected train.json (and val.json, test.json) in this folder, found none")
    index, found = ImageIndex(root), list[Boxed]()
    names: tuple[str, ...] = ()
    for split, file in files.items():
        classes, annotations = read_labeled_coco(file)
        if names and classes != names:
            raise DataError(f"{file} has the classes {', '.join(classes)}, the file before {', '.join(names)}")
        names = classes
        images = index.find([annotation.image for annotation in annotations])
        found += [_boxed(root, image, a, split) for image, a in zip(images, annotations, strict=True)]
    if not any(one.boxes for one in found):
        raise DataError(f"{boxes} has no boxes at all, only {len(found)} images")
    if len({one.image for one in found}) != len(found):
        raise DataError(f"{boxes} annotates an image twice")
    if group_by == PARENT:
        found = [replace(one, group=Path(one.image).parent.as_posix()) for one in found]
    return names, found


def _boxed(root: Path, image: Path, annotation: Annotation, split: str) -> Boxed:
    rows = zip(annotation.boxes.tolist(), annotation.labels, strict=True)
    boxes = tuple((*box, float(label)) for box, label in rows)
    return Boxed(image.relative_to(root).as_posix(), boxes, annotation.size or (0, 0), split)


def look_at_boxes(
    root: Path, images: Sequence[Boxed], bands: Bands, transform: Pipeline, *, full_scale: float | None, on_error: str
) -> tuple[list[Boxed], dict[str, str]]:
    """Read all images and check their boxes; with ``on_error="skip"``, return why some cannot be used, too."""
    found: list[Boxed] = []
    skipped: dict[str, str] = {}
    with progress_bar("looking at the images", len(images)) as advance:
        for one in images:
            try:
                found.append(_looked_at(root, one, bands, transform, full_scale))
            except (ImageError, DataError) as err:
                if on_error == "stop":
                    raise
                skipped[one.image] = str(err)
            advance(1)
    if not found:
        raise DataError(f"none of the {len(images)} images can be used: {next(iter(skipped.values()))}")
    return found, skipped


def _looked_at(root: Path, one: Boxed, bands: Bands, transform: Pipeline, full_scale: float | None) -> Boxed:
    file = root / one.image
    raster = bands.read(file)
    try:
        check_pixels(read_filled(raster)[0], transform, full_scale=full_scale)
    except ImageError as err:
        raise ImageError(f"{file}: {err}") from err
    height, width = raster.mask.shape
    if one.size not in ((0, 0), (height, width)):
        raise DataError(
            f"{file} has {height} x {width} pixels, its annotation says {one.size[0]} x {one.size[1]}; are these the "
            "images of these annotations?"
        )
    fitted = []
    for box in one.boxes:
        try:
            inside = fit_boxes([box[:4]], (height, width))  # type: ignore[arg-type]
        except DataError as err:
            raise DataError(f"{file}: {err}") from err
        if not len(inside):
            numbers = ", ".join(f"{value:g}" for value in box[:4])
            raise DataError(f"{file}: the box {numbers} lies outside of its {height} x {width} pixels, or has no area")
        fitted.append((*inside[0].round(3).tolist(), box[4]))
    return replace(one, boxes=tuple(fitted), size=(height, width))


def divide_boxed(images: Sequence[Boxed], names: Sequence[str], *, val: float, test: float, seed: int) -> list[Boxed]:
    """Give every image a split, as :func:`.table.divide` does with the classes of the boxes in it."""
    chips = []
    for one in images:
        held = ";".join(sorted({names[int(box[4])].replace(";", ",") for box in one.boxes})) or _EMPTY
        chips.append(Chip(one.image, held, one.group, one.split))
    divided = divide(chips, val=val, test=test, seed=seed, unlearned=(_EMPTY,))
    found = [replace(one, split=chip.split) for one, chip in zip(images, divided, strict=True)]
    for split in SPLITS:
        chosen = [one for one in found if one.split == split]
        if chosen and not any(one.boxes for one in chosen):
            raise DataError(f"none of the {len(chosen)} images of the split {split} has a box")
    return found


def write_boxed(images: Sequence[Boxed], folder: Path) -> None:
    """Write the table that :class:`~sarhub_models.datasets.windows.boxes.BoxWindows` reads."""
    rows = [(one.image, one.split, one.group, *one.size, json.dumps(one.boxes)) for one in images]
    write_table([dict(zip(COLUMNS, row, strict=True)) for row in rows], folder / TABLE)
