"""The trials of recognition and the recipe of each."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.experiments.initializations import Initialization
from benchmarks.experiments.provenance import check_record, write_record
from benchmarks.experiments.trial import Trial
from sarhub_models import networks
from sarhub_models.datasets.catalog import find, names
from sarhub_models.datasets.recognition.folder import FolderDataset
from sarhub_models.engine.provenance import chips_digest
from sarhub_models.engine.readers import stratified
from sarhub_models.engine.recipe import Recipe, override
from sarhub_models.errors import OptionError
from sarhub_models.io.files import write_text
from training.recipes import load_recipe

__all__ = ["DATASETS", "METHODS", "STEPS", "Grid", "own_split", "trials_of"]

METHODS = {
    "finetune": "recognition",
    "probe": "recognition, linear probe",
    "knn": "recognition, kNN",
}
"""Task of each method, as the table calls it."""
_TARGETS = {name: entry for name in names("recognition") if (entry := find(name)).target}
DATASETS = tuple(_TARGETS)
STEPS = {name: entry.finetune_steps for name, entry in _TARGETS.items() if entry.finetune_steps is not None}
"""Steps of fine-tuning with all labels, where the paper's 500 epochs would be too long."""
PLATEAUS = 5  # of the learning rate: 500 epochs, halved after every 100
_PREFIX = re.compile(rf"(?:({'|'.join(networks.names())}):)?(.*)", re.DOTALL)
_RECORD = "split.json"  # of what a split was made
_TRIAL = {"model.init": "--init", "runtime.seed": "--seeds", "data.fraction": "--fractions"}
"""What trials differ in, and the option for it."""


@dataclass(frozen=True)
class Grid:
    """Settings that all trials share.

    Attributes:
        dataset: one of :data:`DATASETS`.
        data: folder of the chips.
        lists: folder of the lists, or ``None`` for what the reader expects.
        steps: of fine-tuning with all labels; a fraction f takes √f of them. ``None``: the paper's epochs.
        threads: CPU threads of a trial.
        assignments: ``[NETWORK:]section.key=value`` over the recipes.
    """

    dataset: str
    data: Path
    lists: Path | None
    steps: int | None
    threads: int
    assignments: Sequence[str]

    def recipe(self, trial: Trial) -> Recipe:
        """Return what is computed in a trial.

        Raises:
            OptionError: an assignment is of what trials differ in.
            SarHubError: as :func:`~sarhub_models.engine.load_recipe` says of the assignments.
        """
        fixed = [f"data.root={self.data}", "data.workers=0", f"runtime.threads={self.threads}"]
        fixed += [f"data.lists={self.lists}"] if self.lists is not None else []
        own = [text for text in (self._for(trial.network, text) for text in self.assignments) if text]
        if fault := next((text for text in own if text.partition("=")[0] in _TRIAL), None):
            raise OptionError(f"{fault} would be the same in all trials: {_TRIAL[fault.partition('=')[0]]}")
        given = [*fixed, *self._length(trial.fraction), *own]
        recipe = load_recipe(f"{trial.network}_{self.dataset}", given, finetune=True)
        # over the recipe of the whole split, whose values a list of its part shares
        part = self._part(recipe.data.train, trial.fraction)
        computed = [f"model.init={trial.initialization.init}", f"runtime.seed={trial.seed}", part]
        return override(recipe.model_dump(mode="json"), computed)

    def whole(self, trial: Trial) -> Recipe:
        """Return the recipe of the same trial with all labels."""
        return self.recipe(replace(trial, fraction=1.0))

    def notes(self, trials: Sequence[Trial]) -> list[str]:
        """Return a line for each fraction whose labels are drawn at random though a list of it was published."""
        published = {Path(path).stem for path in find(self.dataset).lists}
        folder = self.lists or self.data
        missing = {}
        parts = {(trial.network, trial.fraction): trial for trial in trials if published and trial.fraction < 1}
        for trial in parts.values():
            data, listed = self.recipe(trial).data, _listed(self.whole(trial).data.train, trial.fraction)
            if listed in published and data.train != listed:
                missing[listed] = f"{100 * trial.fraction:g} %"
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


def trials_of(
    dataset: str,
    initializations: dict[str, list[Initialization]],
    fractions: Sequence[float],
    seeds: int,
    methods: Sequence[str],
) -> list[Trial]:
    """Return the trials, frozen features first, as they are quick, and seed by seed, so that a part holds all rows."""
    pairs = [(network, initialization) for network, found in initializations.items() for initialization in found]
    product = itertools.product(range(seeds), sorted(fractions), pairs, methods)
    found = [Trial("recognition", dataset, *pair, fraction, seed, method) for seed, fraction, pair, method in product]
    return sorted(found, key=lambda trial: trial.variant == "finetune")


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
    record = {"test_share": share, "chips": chips_digest(chips)}
    if all((folder / name).is_file() for name in ("train.txt", "test.txt")):
        check_record(folder / _RECORD, record)
        return folder
    if single := [name for name, count in zip(chips.class_names, chips.counts(), strict=True) if count < 2]:
        raise OptionError(f"{data / single[0]} holds one chip: expected one to train on and one to test")
    test = set(stratified(chips.labels, share, 0).tolist())
    write_record(folder / _RECORD, record)
    for split, wanted in (("train", False), ("test", True)):
        lines = [
            f"{name} {label}\n"
            for index, (name, label) in enumerate(zip(chips.names, chips.labels.tolist(), strict=True))
            if (index in test) == wanted
        ]
        write_text(folder / f"{split}.txt", "".join(lines))
    return folder
