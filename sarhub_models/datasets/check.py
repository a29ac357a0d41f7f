"""Compare a data set on this disk with what was published of it: what is there, what is missing or damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, ImageError, IncompleteError
from ..io.tables import write_table
from .base import ImageDataset
from .catalog import CatalogEntry, find
from .lists import AnyPath, find_list

__all__ = ["Entry", "SplitIndex", "index_dataset", "write_index"]

Depth = Literal["names", "headers", "pixels"]
WHOLE = "all"  # what a split is called where there are no lists


@dataclass(frozen=True)
class Entry:
    """One file of a split.

    Attributes:
        name: path below the root; of a missing file, what the list or the annotations call it.
        label: class names, or the number of ships; empty where it was not read.
        size: height and width in pixels, where they were read.
        problem: what is wrong with it, or ``None``.
    """

    name: str
    label: str = ""
    size: tuple[int, int] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class SplitIndex:
    """The files found of one split, beside what was published.

    Attributes:
        split: its name, ``"all"`` where there are no lists.
        expected: images that were published, ``None`` where that is not known.
        found: images that are there.
        missing: files that are not there.
        damaged: files that cannot be used.
        classes: name of each class, images found, images published or ``None``.
        entries: every file.
        problems: what else is wrong.
        notes: what is worth knowing, but not wrong.
    """

    split: str
    expected: int | None
    found: int = 0
    missing: tuple[Entry, ...] = ()
    damaged: tuple[Entry, ...] = ()
    classes: tuple[tuple[str, int, int | None], ...] = ()
    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Return whether everything that was published is there and can be used."""
        counted = self.expected is None or self.found == self.expected
        in_classes = all(expected is None or found == expected for _, found, expected in self.classes)
        return counted and in_classes and not (self.missing or self.damaged or self.problems)


def index_dataset(
    name: str,
    root: AnyPath,
    *,
    lists: AnyPath | None = None,
    splits: Sequence[str] | None = None,
    depth: Depth = "headers",
    progress: Callable[[str, int], Any] | None = None,
) -> list[SplitIndex]:
    """Compare a data set with what was published of it.

    Args:
        name: of the catalog, see :func:`~sarhub_models.datasets.catalog.names`.
        root: folder of the data set.
        lists: folder of the split lists, or of the annotations of a detection data set; by default ``root``.
        splits: which ones; by default the usual ones, or everything there is where there are no lists.
        depth: ``"names"`` looks for files, ``"headers"`` also opens each, ``"pixels"`` also decodes each.
        progress: context manager that is given a title and the number of files, and gives what is called with the
            number of files done; by default nothing is shown.

    Returns:
        One entry for each split, and one called ``"all"`` where only the sum of the splits was published.

    Raises:
        UnknownNameError: there is no such data set.
        OptionError: lists are given for a data set that has none.
        DataError: there is no such folder.
    """
    published = find(name)
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the data set {name}")
    options = published.reader.options(root, None if lists is None else Path(lists))
    chosen = splits or _default_splits(published, Path(root if lists is None else lists))
    found = [_index_split(published, root, split, options, depth, progress) for split in chosen]
    if published.total is not None and not splits and len(found) > 1:
        found.append(SplitIndex(WHOLE, published.total, sum(index.found for index in found)))
    return found


def open_splits(
    name: str, root: AnyPath, *, lists: AnyPath | None = None, splits: Sequence[str] | None = None
) -> dict[str, ImageDataset[Any]]:
    """Open the splits of a data set that :func:`index_dataset` would compare, by their names.

    Raises:
        SarHubError: as the reader of the data set says.
    """
    published, root = find(name), Path(root)
    options = published.reader.options(root, None if lists is None else Path(lists))
    chosen = splits or _default_splits(published, Path(root if lists is None else lists))
    return {split or WHOLE: published.reader(root, split, **options) for split in chosen}


def write_index(
    splits: Sequence[SplitIndex], file: AnyPath, *, groups: Mapping[tuple[str, str], int] | None = None
) -> Path:
    """Write every file of some splits as ``.csv`` or ``.parquet``: split, name, label, height, width, problem, group.

    Args:
        splits: what was found.
        file: the table.
        groups: number of the group of images that share pixels, by split and name, for the column ``group``.

    Returns:
        The path of the table.

    Raises:
        OptionError: the suffix is another one.
        MissingDependencyError: it is a Parquet file and pyarrow is missing.
    """
    entries = [(index.split, entry) for index in splits for entry in index.entries]
    return write_table(
        {
            "split": [split for split, _ in entries],
            "name": [entry.name for _, entry in entries],
            "label": [entry.label for _, entry in entries],
            "height": [entry.size and entry.size[0] for _, entry in entries],
            "width": [entry.size and entry.size[1] for _, entry in entries],
            "problem": [entry.problem for _, entry in entries],
            **({} if groups is None else {"group": [groups.get((split, entry.name)) for split, entry in entries]}),
        },
        file,
    )


def _default_splits(published: CatalogEntry, folder: Path) -> Sequence[str | None]:
    names = list(published.splits)
    listed = [split for split in names if _has_list(folder, split, published.reader.list_prefix)]
    if published.whole and not listed:
        return [None]
    return names if published.lists or not published.whole else listed  # of one's own chips those that there are


def _has_list(folder: Path, split: str, prefix: str) -> bool:
    try:
        find_list(folder, split, prefix=prefix)
    except DataError:
        return False
    return True


def _index_split(
    published: CatalogEntry,
    root: Path,
    split: str | None,
    options: Mapping[str, Any],
    depth: Depth,
    progress: Callable[[str, int], Any] | None,
) -> SplitIndex:
    name = split or WHOLE
    expected = published.total if split is None else {**published.splits, **published.subsets}.get(split)
    reader = published.reader
    try:
        data = reader(root, split, **options)
    except IncompleteError as err:
        there = _entries(reader, root, err.found, depth, name, progress)
        missing = tuple(Entry(path, problem="missing") for path in err.missing)
        refused = tuple(Entry(_below(root, file), problem=reason) for file, reason in err.damaged.items())
        damaged = (*(entry for entry in there if entry.problem), *refused)
        return SplitIndex(name, expected, len(there), missing, damaged, entries=(*there, *missing, *refused))
    except (DataError, ImageError) as err:
        return SplitIndex(name, expected, problems=(str(err),))
    entries = tuple(_entries(data, root, data.files, depth, name, progress))
    return SplitIndex(
        name,
        expected,
        len(data),
        damaged=tuple(entry for entry in entries if entry.problem),
        classes=_classes(data, published.classes.get(name)),
        entries=entries,
        problems=_class_problems(data, published.class_count.get(name)),
        notes=data.notes(),
    )


def _entries(
    data: ImageDataset[Any] | type[ImageDataset[Any]],
    root: Path,
    files: Sequence[Path],
    depth: Depth,
    split: str,
    progress: Callable[[str, int], Any] | None,
) -> list[Entry]:
    """Return each file, with what reading it brings up; ``data`` is the reader's class where it could not be opened."""
    silent = progress is None or depth == "names"
    entries = []
    with nullcontext(lambda _: None) if silent else progress(f"reading {split}", len(files)) as advance:  # type: ignore[misc]
        for index, file in enumerate(files):
            size, problem = None, None
            try:
                size = None if depth == "names" else _size(data, file, index, depth)
            except (DataError, ImageError) as err:
                problem = str(err)
            label = "" if isinstance(data, type) else data.label_text(index)
            entries.append(Entry(_below(root, file), label, size, problem))
            advance(1)
    return entries


def _size(data: ImageDataset[Any] | type[ImageDataset[Any]], file: Path, index: int, depth: Depth) -> tuple[int, int]:
    """Return height and width as the header says, or as the pixels come out."""
    if isinstance(data, type):
        return data.header_size(file)
    if depth == "pixels":
        height, width = data[index].image.shape[-2:]
        return height, width
    return data.size(index)


def _classes(data: Any, expected: Sequence[int] | None) -> tuple[tuple[str, int, int | None], ...]:
    if not hasattr(data, "counts"):
        return ()
    found = data.counts().tolist()
    known: Sequence[int | None] = expected or [None] * len(found)
    return tuple(zip(data.class_names, found, known, strict=True))


def _class_problems(data: Any, expected: int | None) -> tuple[str, ...]:
    if expected is None or len(data.class_names) == expected:
        return ()
    return (f"expected {expected} classes in the lists of this size, found {len(data.class_names)}",)


def _below(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
