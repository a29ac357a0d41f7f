"""Find and open the annotations of a detection data set: COCO files first, else VOC files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ...errors import DataError, IncompleteError, OptionError
from ..lists import AnyPath, ImageIndex
from .boxes import Annotation
from .coco import read_coco
from .voc import read_voc_files

__all__ = ["SPLITS", "open_annotations"]

SPLITS = ("train", "test")


def open_annotations(
    root: AnyPath,
    split: str,
    annotations: AnyPath | None,
    split_of: Callable[[str], str | None] | None,
) -> list[Annotation]:
    """Return the annotations of a split: from a COCO file, or from the VOC files of its images.

    Args:
        root: folder of the data set.
        split: ``"train"`` or ``"test"``.
        annotations: a COCO file, or a folder; by default the root. In it or below, the file ``<split>.json``,
            ``<split>2017.json`` or ``instances_<split>.json`` is a COCO file; else all VOC files there are taken.
        split_of: the split to which an image belongs by its name without suffix, ``None`` for other images;
            ``None`` where the data set has no VOC files.

    Raises:
        OptionError: there is no such split.
        IncompleteError: VOC files are missing or damaged; it tells which.
        DataError: there are no annotations, several, or a COCO file is damaged.
    """
    root = Path(root)
    if split not in SPLITS:
        raise OptionError(f"expected the split 'train' or 'test', got {split!r}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with images and their annotations")
    folder = root if annotations is None else Path(annotations)
    if not folder.exists():
        raise DataError(f"expected annotations in {folder}, found no such file or folder")
    coco = folder if folder.is_file() else _coco_file(folder, split)
    if coco is not None:
        return read_coco(coco)
    if split_of is None:
        raise DataError(f"{folder}: expected a COCO file {split}2017.json in this folder or below, found none")
    files = _voc_files(folder, split, split_of)
    images = {stem for stem in ImageIndex(root).stems if split_of(stem) == split}
    if missing := sorted(images - files.keys()):
        message = f"{len(missing)} of {len(images)} images of the {split} split have no VOC file, {missing[0]} first"
        raise IncompleteError(message, missing=[f"{stem}.xml" for stem in missing])
    return read_voc_files(list(files.values()))


def _coco_file(folder: Path, split: str) -> Path | None:
    pattern = re.compile(rf"(instances_)?{split}(2017)?\.json")
    found = sorted(file for file in folder.rglob("*.json") if pattern.fullmatch(file.name))
    if len(found) > 1:
        raise DataError(f"{found[0]} or {found[1]}? give the folder of one of them, or annotations=FILE")
    return found[0] if found else None


def _voc_files(folder: Path, split: str, split_of: Callable[[str], str | None]) -> dict[str, Path]:
    """Return the VOC files of a split by the name of their image, sorted."""
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.xml")):
        if split_of(file.stem) != split:
            continue
        if file.stem in files:
            raise DataError(f"{files[file.stem]} or {file}? give the folder of one kind of annotations")
        files[file.stem] = file
    if not files:
        raise DataError(
            f"{folder}: expected a COCO file {split}.json, or the VOC file of each image (.xml), in this folder or "
            "below, found neither; annotations=… says where they are"
        )
    return files
