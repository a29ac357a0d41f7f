"""Split lists, and the files on this disk that they mean.

A list is a text file with a line ``path label`` for each image, or ``path label,label,…`` where images carry several
labels. Published lists often hold absolute paths of the machine they were written on, or paths without suffix:
:class:`ImageIndex` matches them on the tail.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from ..errors import DataError, ImageError, IncompleteError
from ..io.images import SUFFIXES, list_images

__all__ = ["AnyPath", "ImageIndex", "Listed", "find_list", "label_array", "list_files", "read_list"]

AnyPath = str | os.PathLike[str]

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")
_LABELS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")
_SHOWN = 100  # characters of a line in a message
_TAIL = 2  # what a path of another machine must share with a file here: name and folder


@dataclass(frozen=True)
class Listed:
    """One line of a list.

    Attributes:
        path: as written.
        labels: class indices.
    """

    path: str
    labels: tuple[int, ...]


def find_list(folder: AnyPath, split: str, *, prefix: str = "") -> Path:
    """Return the list of a split, ``<prefix><split>.txt`` or ``<split>.txt``.

    Raises:
        DataError: the folder has neither.
    """
    candidates = [Path(folder) / f"{prefix}{split}.txt", Path(folder) / f"{split}.txt"]
    for file in candidates:
        if file.is_file():
            return file
    wanted = " or ".join(str(file) for file in dict.fromkeys(candidates))
    raise DataError(
        f"expected the list of the split {split!r} in {wanted}, found no such file; "
        "'python -m training.splits' downloads published lists, and lists=FOLDER says where they are"
    )


def read_list(file: AnyPath, num_classes: int, *, multilabel: bool = False) -> list[Listed]:
    """Read a list.

    Args:
        file: text in UTF-8; the label is what follows the last blank of a line. Empty lines are passed over.
        num_classes: labels must be below it.
        multilabel: whether a line may hold several labels, separated by commas.

    Raises:
        DataError: the file cannot be read or is empty, or a line is malformed; the message names the line.
    """
    file = Path(file)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read the list {file}: {err}") from err
    expected = f"'path label{',label,…' if multilabel else ''}' with labels from 0 to {num_classes - 1}"
    entries = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            entry = _parse(line)
            if entry is None or max(entry.labels) >= num_classes or (len(entry.labels) > 1 and not multilabel):
                raise DataError(f"{file}, line {number}: expected {expected}, got {line.strip()[:_SHOWN]!r}")
            entries.append(entry)
    if not entries:
        raise DataError(f"{file} is empty; expected lines {expected}")
    return entries


def _parse(line: str) -> Listed | None:
    path, *labels = line.rsplit(maxsplit=1)
    if not labels or _LABELS.fullmatch(labels[0]) is None:
        return None
    return Listed(path.strip(), tuple(map(int, labels[0].split(","))))


def label_array(entries: Sequence[Listed], num_classes: int, *, multilabel: bool = False) -> np.ndarray:
    """Return the labels of a list, int64 (N,), or uint8 (N, C) of zeros and ones where ``multilabel``."""
    if not multilabel:
        return np.array([entry.labels[0] for entry in entries], dtype=np.int64)
    labels = np.zeros((len(entries), num_classes), dtype=np.uint8)
    for row, entry in zip(labels, entries, strict=True):
        row[list(entry.labels)] = 1
    return labels


def list_files(root: AnyPath, *, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Return the images below a folder, sorted.

    Raises:
        DataError: it is not a folder, or holds no image with one of the suffixes.
    """
    try:
        found = [file for file in list_images(root) if file.suffix.lower() in suffixes]
    except ImageError as err:
        raise DataError(str(err)) from err
    if not found:
        raise DataError(f"{root}: expected files named {', '.join(suffixes)} in this folder or below, found none")
    return found


class ImageIndex:
    """The images below a folder, to be found by what a list calls them.

    A relative path of a list and the path of a file below the folder match if the shorter one is the tail of the
    longer one. Of an absolute path, written on another machine, the name and the folder of the file must agree, or
    the name alone where the file lies directly in the root. The suffix may be missing or another. Where several
    files match, the longest common tail wins, then a file of which nothing contradicts the list, then the suffix that
    the list names.

    Args:
        root: folder of the data set.
        suffixes: which files count.

    Raises:
        DataError: ``root`` is not a folder, or holds no such files.
    """

    def __init__(self, root: AnyPath, *, suffixes: Sequence[str] = SUFFIXES) -> None:
        self.root = Path(root)
        self._by_stem: dict[str, list[PurePath]] = defaultdict(list)
        for file in list_files(root, suffixes=suffixes):
            self._by_stem[file.stem].append(file.relative_to(self.root))

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the images without folder and suffix, each once."""
        return tuple(self._by_stem)

    def find(self, paths: Sequence[str]) -> list[Path]:
        """Return the file of each listed path.

        Raises:
            IncompleteError: paths have no file; it tells them, and the files of the others.
            DataError: several files match a path equally well; the message names them.
        """
        matches = [self._match(path) for path in paths]
        missing = [path for path, file in zip(paths, matches, strict=True) if file is None]
        found = [self.root / file for file in matches if file is not None]
        if missing:
            raise IncompleteError(self._describe_missing(missing, len(paths)), missing=missing, found=found)
        return found

    def _match(self, path: str) -> PurePath | None:
        parts = _parts(path)
        least = _TAIL if _ABSOLUTE.match(path) else len(parts)
        ranked = []
        for file in self._by_stem.get(_stem(parts[-1]), []):
            common = 1 + _common_tail(parts[:-1], file.parts[:-1])
            if common >= min(least, len(file.parts)):
                same_suffix = parts[-1].lower().endswith(file.suffix.lower())
                ranked.append(((common, common == len(file.parts), same_suffix), file))
        if not ranked:
            return None
        best = max(rank for rank, _ in ranked)
        matches = [file for rank, file in ranked if rank == best]
        if len(matches) > 1:
            raise DataError(
                f"{path!r} of the list could be {self.root / matches[0]} or {self.root / matches[1]}; "
                "give a folder that holds one of them only"
            )
        return matches[0]

    def _describe_missing(self, missing: Sequence[str], total: int) -> str:
        message = f"{len(missing)} of {total} listed images are not below {self.root}, {missing[0]!r} first"
        namesakes = self._by_stem.get(_stem(_parts(missing[0])[-1]), [])
        if namesakes:
            return f"{message}; {self.root / namesakes[0]} has that name, but lies in another folder than listed"
        return f"{message}; expected a file whose path ends in that, with or without a suffix"


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[/\\]", path) if part not in ("", ".")) or (path,)


def _stem(name: str) -> str:
    """Return a file name without the suffix of an image; other dots belong to the name."""
    return name[: -len(PurePath(name).suffix)] if PurePath(name).suffix.lower() in SUFFIXES else name


def _common_tail(left: Sequence[str], right: Sequence[str]) -> int:
    count = 0
    for a, b in zip(reversed(left), reversed(right), strict=False):
        if a != b:
            break
        count += 1
    return count
