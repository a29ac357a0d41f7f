"""The cells of the table and the recipe of each."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.experiments.initializations import Start
from sarhub_models import networks
from sarhub_models.datasets.catalog import find, names
from sarhub_models.datasets.recognition.folder import FolderDataset
from sarhub_models.engine.provenance import chips_digest
from sarhub_models.engine.readers import stratified
from sarhub_models.engine.recipe import Recipe, override
from sarhub_models.errors import OptionError
from sarhub_models.io.files import write_text
from training.recipes import load_recipe

__all__ = ["DATASETS", "METHODS", "STEPS", "Cell", "Grid", "cells_of", "own_split", "settings_of"]

METHODS = {
    "finetune": "recognition",
    "probe": "recognition, linear probe",
    "neighbours": "recognition, nearest neighbours",
}
"""Task of each method, as the table calls it."""
_TARGETS = {name: entry for name in names("recognition") if (entry := find(name)).target}
DATASETS = tuple(_TARGETS)
STEPS = {name: entry.finetune_steps for name, entry in _TARGETS.items() if entry.finetune_steps is not None}
"""Steps of fine-tuning with all labels, where the paper's 500 epochs would be too long."""
PLATEAUS = 5  # of the learning rate: 500 epochs, halved after every 100
_PREFIX = re.compile(rf"(?:({'|'.join(networks.names())}):)?(.*)", re.DOTALL)
_RECORD = "split.json"  # of what a split was made
_CELL = {"model.init": "--init", "runtime.seed": "--seeds", "data.fraction": "--fractions"}
"""What the cells of the table differ in, and the option for it."""
# What may differ between what is there and what is asked for without a change in what is computed; what lies at these
# places is compared by its content, see the module inputs.
_FREE = {"data": ("root", "lists", "workers"), "runtime": ("threads", "save_minutes")}


@dataclass(frozen=True)
class Cell:
    """One place of the table.

    Attributes:
        network: architecture.
        start: what it starts from.
        fraction: of the training labels.
        seed: of the samples that make up the fraction, of the new head, and of the order.
    """

    network: str
    start: Start
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        label = re.sub(r"[^\w.]+", "_", self.start.label)
        return f"{self.network}-{label}-{100 * self.fraction:g}-{self.seed}"


@dataclass(frozen=True)
class Grid:
    """What all cells share.

    Attributes:
        dataset: one of :data:`DATASETS`.
        data: folder of the chips.
        lists: folder of the lists, or ``None`` for what the reader expects.
        steps: of fine-tuning with all labels; a fraction f takes √f of them. ``None``: the paper's epochs.
        threads: CPU threads of a cell.
        assignments: ``[NETWORK:]section.key=value`` over the recipes.
    """

    dataset: str
    data: Path
    lists: Path | None
    steps: int | None
    threads: int
    assignments: Sequence[str]

    def recipe(self, cell: Cell) -> Recipe:
        """Return what is computed in a cell.

        Raises:
            OptionError: an assignment is of what the cells differ in.
            SarHubError: as :func:`~sarhub_models.engine.load_recipe` says of the assignments.
        """
        fixed = [f"data.root={self.data}", "data.workers=0", f"runtime.threads={self.threads}"]
        fixed += [f"data.lists={self.lists}"] if self.lists is not None else []
        own = [text for text in (self._for(cell.network, text) for text in self.assignments) if text]
        if fault := next((text for text in own if text.partition("=")[0] in _CELL), None):
            raise OptionError(f"{fault} would be the same in all cells of the table: {_CELL[fault.partition('=')[0]]}")
        given = [*fixed, *self._length(cell.fraction), *own]
        recipe = load_recipe(f"{cell.network}_{self.dataset}", given, finetune=True)
        # over the recipe of the whole split, whose values a list of its part shares
        part = self._part(recipe.data.train, cell.fraction)
        computed = [f"model.init={cell.start.init}", f"runtime.seed={cell.seed}", part]
        return override(recipe.model_dump(mode="json"), computed)

    def whole(self, cell: Cell) -> Recipe:
        """Return the recipe of the same cell with all labels."""
        return self.recipe(replace(cell, fraction=1.0))

    def notes(self, cells: Sequence[Cell]) -> list[str]:
        """Return a line for each fraction whose labels are drawn at random though a list of it was published."""
        published = {Path(path).stem for path in find(self.dataset).lists}
        folder = self.lists or self.data
        missing = {}
        parts = {(cell.network, cell.fraction): cell for cell in cells if published and cell.fraction < 1}
        for cell in parts.values():
            data, listed = self.recipe(cell).data, _listed(self.whole(cell).data.train, cell.fraction)
            if listed in published and data.train != listed:
                missing[listed] = f"{100 * cell.fraction:g} %"
        return [
            f"The labels of {share} were drawn at random, with each seed anew: {folder / f'{listed}.txt'} is not "
            f"there. 'python -m training.splits {self.dataset} --out splits' fetches the published list, and --lists "
            f"splits/{self.dataset} takes it."
            for listed, share in missing.items()
        ]

    def _for(self, network: str, text: str) -> str | None:
        """Return an assignment without its network, or ``None`` if it is for another one."""
        match = _PREFIX.fullmatch(text)
        assert match is not None
        return match[2] if match[1] in (None, network) else None

    def _part(self, train: str, fraction: float) -> str:
        """Return the assignment that takes a fraction of the labels: a list of it, or else a random choice."""
        listed = _listed(train, fraction)
        if fraction < 1 and ((self.lists or self.data) / f"{listed}.txt").is_file():
            return f"data.train={listed}"
        return f"data.fraction={fraction}"

    def _length(self, fraction: float) -> list[str]:
        if self.steps is None:
            return []
        steps = max(1, round(self.steps * math.sqrt(fraction) / PLATEAUS))
        return [f"optim.epochs={PLATEAUS}", "optim.step_epochs=1", f"optim.epoch_steps={steps}"]


def _listed(train: str, fraction: float) -> str:
    """Return what the list of a fraction of a split is called."""
    return f"{train}_{100 * fraction:g}"


def cells_of(starts: dict[str, list[Start]], fractions: Sequence[float], seeds: int) -> list[Cell]:
    """Return the cells, seed by seed, so that a part of the table holds all of its places.

    Raises:
        OptionError: two cells would share a folder.
    """
    pairs = [(network, start) for network, found in starts.items() for start in found]
    cells = [
        Cell(network, start, fraction, seed)
        for seed, fraction, (network, start) in itertools.product(range(seeds), sorted(fractions), pairs)
    ]
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise OptionError(f"labels must differ in letters or digits: {', '.join(sorted({p[1].label for p in pairs}))}")
    return cells


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return the part of a recipe that decides what comes out, as JSON-ready sections."""
    return {
        section: {name: value for name, value in values.items() if name not in _FREE.get(section, ())}
        for section, values in recipe.model_dump(mode="json").items()
    }


def own_split(data: Path, out: Path, share: float) -> Path:
    """Return the folder of the lists of a user's own chips: theirs, or new ones below ``out``, written once.

    Args:
        data: holds a folder for each class.
        out: of the benchmark.
        share: of every class that is kept for the test, at most one half.

    Raises:
        OptionError: a class has a single chip, or ``out`` holds the split of other chips or of another share.
        DataError: the folder holds no classes.
    """
    if (data / "train.txt").is_file() or (data / "test.txt").is_file():
        return data
    folder = out / "split"
    chips = FolderDataset(data)
    record = {"share": share, "chips": chips_digest(chips)}
    if all((folder / name).is_file() for name in ("train.txt", "test.txt")):
        _check_split(folder, record)
        return folder
    if single := [name for name, count in zip(chips.class_names, chips.counts(), strict=True) if count < 2]:
        raise OptionError(f"{data / single[0]} holds one chip: expected one to train on and one to test")
    test = set(stratified(chips.labels, share, 0).tolist())
    write_text(folder / _RECORD, json.dumps(record) + "\n")
    for split, wanted in (("train", False), ("test", True)):
        lines = [
            f"{name} {label}\n"
            for index, (name, label) in enumerate(zip(chips.names, chips.labels.tolist(), strict=True))
            if (index in test) == wanted
        ]
        write_text(folder / f"{split}.txt", "".join(lines))
    return folder


def _check_split(folder: Path, record: dict[str, Any]) -> None:
    """Raise unless a split was made of the same chips with the same share."""
    try:
        stored = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        share, chips = stored["share"], stored["chips"]
    except (OSError, ValueError, KeyError, TypeError):
        share = chips = None
    if chips is None:
        found = "a split that does not say of which chips it is"
    elif chips != record["chips"]:
        found = "the split of other chips (names or classes differ)"
    elif share != record["share"]:
        found = f"a split with --test-share {share}, not {record['share']}"
    else:
        return
    raise OptionError(f"{folder} holds {found}: take another folder with --out, or delete {folder.parent}")
