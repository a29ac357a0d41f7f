"""The catalog of data sets: everything that the package knows of each by name.

A data set is one module (or package) of ``recognition/``, ``detection/`` or ``segmentation/``. Its file name is the
name of the data set; it holds the reader and a :class:`CatalogEntry` called ``DATASET``. Nothing else lists data sets:
the command line, recipes and benchmarks ask :func:`names`, which imports no reader, and :func:`find`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..errors import UnknownNameError, closest

__all__ = ["TASKS", "CatalogEntry", "find", "names", "task_of"]

TASKS = ("recognition", "detection", "segmentation")
_SHARED = "base"  # the module of each task that is no data set


@dataclass(frozen=True)
class CatalogEntry:
    """One data set: its reader, and what was published of it.

    The numbers of images are those of the papers, named in the module of each reader.

    Attributes:
        reader: a subclass of :class:`~sarhub_models.datasets.base.ImageDataset`, opened as ``reader(root, split, …)``.
        splits: images of each split; ``None`` where the number was not published.
        subsets: images of published lists that are parts of these splits.
        total: images of all splits together, where only this was published.
        class_names: name of each class, in the order of the labels; empty where the files tell.
        classes: images of each class, in the order of the labels, by split.
        class_count: number of classes, by split.
        whole: whether the reader opens everything there is where there are no lists.
        lists: paths of the split lists in the repository of SAR-HUB's authors.
        recipe: sections of a training recipe that differ from the defaults, and ``variants``.
        target: whether initializations are compared by fine-tuning on it.
        finetune_steps: steps of that fine-tuning with all labels; ``None`` for the epochs of the paper.
    """

    reader: type[Any]
    splits: Mapping[str, int | None]
    subsets: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None
    class_names: tuple[str, ...] = ()
    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    class_count: Mapping[str, int] = field(default_factory=dict)
    whole: bool = False
    lists: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    target: bool = False
    finetune_steps: int | None = None


def names(task: str | None = None) -> tuple[str, ...]:
    """Return the names of the data sets, of one task or all, without importing a reader.

    >>> names("segmentation")
    ('sarbake', 'sen1floods11', 'sl_ssdd', 'spacenet6')
    """
    rooms = TASKS if task is None else (task,)
    found = (pkgutil.iter_modules(import_module(f"{__package__}.{room}").__path__) for room in rooms)
    return tuple(module.name for modules in found for module in modules if module.name != _SHARED)


def task_of(name: str) -> str:
    """Return the task of a data set: ``"recognition"``, ``"detection"`` or ``"segmentation"``.

    Raises:
        UnknownNameError: there is no such data set; the message gives the closest.
    """
    for task in TASKS:
        if name in names(task):
            return task
    raise UnknownNameError(f"no data set is called {name!r}{closest(name, names())}; known: {', '.join(names())}")


def find(name: str) -> CatalogEntry:
    """Return a data set by its name.

    Raises:
        UnknownNameError: there is no such data set; the message gives the closest.
    """
    entry: CatalogEntry = import_module(f"{__package__}.{task_of(name)}.{name}").DATASET
    return entry
