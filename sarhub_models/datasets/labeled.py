"""Images to compare networks on: a folder of images with or without labels, or packed DSN-SLC patches."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..io.images import list_images
from .lists import AnyPath
from .recognition.dsn.reader import PARTS, load_dsn

__all__ = ["TEST", "TRAIN", "LabeledImages", "open_images"]

TRAIN, TEST = "train", "test"
"""Names of the two splits."""

_DSN_FULL_SCALE = 65535.0  # of 16-bit digital numbers


@dataclass(frozen=True)
class LabeledImages:
    """Images to be compared on.

    Attributes:
        files: the images.
        names: one for each file.
        labels: class of each image by name, or ``None``.
        split: ``"train"`` or ``"test"`` for each image, or ``None``: then accuracies are cross-validated.
        radiometry: what the images hold, where their data set says so.
        full_scale: the digital number of amplitude 1, where their data set says so.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    split: tuple[str, ...] | None = None
    radiometry: str | None = None
    full_scale: float | None = None


@contextmanager
def open_images(images: AnyPath, *, labels: AnyPath | None = None) -> Iterator[LabeledImages]:
    """Find the images to compare on.

    Args:
        images: a folder of images that :func:`~sarhub_models.io.images.read_image` reads; or packed DSN-SLC patches, a
            folder of them or one file (:func:`~sarhub_models.datasets.load_dsn`), which bring labels, splits and
            radiometry along.
        labels: CSV file, a line ``image,label`` or ``image,label,split`` for each image, with the path of the image in
            the folder and the split ``train`` or ``test``; a first line may name these columns (``name`` for
            ``image``), in any order and with others beside them. Images that it does not name are left out. An image
            has one label: several, separated by ``;``, are refused.

    Yields:
        The images; those of packed files lie in a temporary folder until the end of the block.

    Raises:
        DataError: there are no images, or the list of labels does not fit them.
    """
    source = Path(images)
    packed = [source] if source.is_file() else [source / f"{part}.npz" for part in PARTS]
    packed = [file for file in packed if file.is_file() and file.name in {f"{part}.npz" for part in PARTS}]
    if packed and labels is None:
        with tempfile.TemporaryDirectory() as folder:
            yield _unpack(packed, Path(folder))
        return
    files = list_images(source)
    names = [file.relative_to(source).as_posix() for file in files]
    if labels is None:
        yield LabeledImages(tuple(files), tuple(names))
        return
    listed = _read_labels(Path(labels), dict(zip(names, files, strict=True)))
    splits = tuple(row[2] for row in listed.values())
    yield LabeledImages(
        files=tuple(row[0] for row in listed.values()),
        names=tuple(listed),
        labels=tuple(row[1] for row in listed.values()),
        split=splits if any(splits) else None,
    )


def _unpack(packed: Sequence[Path], folder: Path) -> LabeledImages:
    files: list[Path] = []
    names, labels, splits = [], [], []
    for split in (TRAIN, TEST):
        patches = load_dsn(packed[0].parent, parts=[file.stem for file in packed], split=split, quantity="complex")
        for name, image, label in zip(patches.names, patches.images, patches.labels, strict=True):
            files.append(folder / f"{len(files):06d}.npy")
            np.save(files[-1], image)
            names.append(name)
            labels.append(patches.class_names[label])
            splits.append(split)
    return LabeledImages(tuple(files), tuple(names), tuple(labels), tuple(splits), "dn", _DSN_FULL_SCALE)


def _read_labels(file: Path, known: Mapping[str, Path]) -> dict[str, tuple[Path, str, str]]:
    """Return path, label and split (or ``""``) of each listed image, by its name."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read the labels {file}: {err}") from err
    if rows and rows[0][0] in ("image", "name") and "label" in rows[0]:
        head, *rows = rows
        columns = [head.index(name) for name in (head[0], "label", "split") if name in head]
        rows = [[row[column] for column in columns] if len(row) == len(head) else row for row in rows]
        if any(len(row) != len(columns) for row in rows):
            raise DataError(f"{file}: expected {len(head)} cells in each line, as in its first one")
    listed: dict[str, tuple[Path, str, str]] = {}
    for number, row in enumerate(rows, 1):
        if not 2 <= len(row) <= 3 or row[0] not in known or row[0] in listed:
            raise DataError(
                f"{file}, entry {number}: expected 'image,label' or 'image,label,split' with the path of one of the "
                f"{len(known)} images, each once; got {','.join(row)!r}"
            )
        if ";" in row[1]:
            raise DataError(
                f"{file}, entry {number}: {row[1]!r} is several labels, as fine-tuning takes them; networks are "
                "compared by one label an image"
            )
        listed[row[0]] = (known[row[0]], row[1], row[2] if len(row) == 3 else "")
    if not listed:
        raise DataError(f"{file} names no image")
    return listed
