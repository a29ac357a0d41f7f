"""A grid of cells: what of it is there, and what is left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiments.provenance import Inputs, InputsReader
from benchmarks.experiments.runner import Job
from sarhub_models.engine.initialization import starting_weights
from sarhub_models.engine.recipe import Recipe

from .grid import Cell, Grid
from .methods import Finetune, Finished, Frozen, finished

__all__ = ["Benchmark", "make_benchmark"]

LOG = "log.txt"


@dataclass(frozen=True)
class Benchmark:
    """The cells and the methods by which each is scored.

    Attributes:
        grid: what the cells share.
        recipes: by cell, in the order in which they are run.
        inputs: what each cell is computed from.
        methods: of :data:`~benchmarks.recognition.grid.METHODS`.
        out: folder of the cells and the report.
        keep: whether fine-tuned weights stay.
    """

    grid: Grid
    recipes: Mapping[Cell, Recipe]
    inputs: Mapping[Cell, Inputs]
    methods: Sequence[str]
    out: Path
    keep: bool

    def results(self) -> dict[tuple[Cell, str], Finished]:
        """Return what is finished, by cell and method.

        Raises:
            OptionError: a cell is there with other settings, or from other chips or weights.
        """
        found = {}
        for cell, recipe in self.recipes.items():
            for method in self.methods:
                if (done := finished(self._folder(cell, method), recipe, self.inputs[cell])) is not None:
                    found[cell, method] = done
        return found

    def jobs(self) -> list[tuple[Job, Path]]:
        """Return what is not finished, each with its log; frozen features first, as they are quick.

        The starting weights of these jobs are looked at: what is wrong with them is better known before the first hour.

        Raises:
            SarHubError: a cell is there with other settings, chips or weights, or starting weights cannot be had or do
                not fit.
        """
        done = self.results()
        frozen: dict[tuple[str, str], list[tuple[Cell, Recipe, Inputs, dict[str, Path]]]] = {}
        training: list[tuple[Job, Path]] = []
        for cell, recipe in self.recipes.items():
            left = {m: self._folder(cell, m) for m in self.methods if (cell, m) not in done}
            if folder := left.pop("finetune", None):
                self.inputs[cell].check_training(folder)
                training.append((Finetune(cell, recipe, self.inputs[cell], folder, self.keep), folder / LOG))
            if left:
                frozen.setdefault((cell.network, cell.start.label), []).append((cell, recipe, self.inputs[cell], left))
        jobs = [*map(self._frozen, frozen.values()), *training]
        if jobs:
            for network, start in dict.fromkeys((cell.network, cell.start) for cell in self.recipes):
                if start.init != "none":
                    starting_weights(network, start.init)
        return jobs

    def _folder(self, cell: Cell, method: str) -> Path:
        return self.out / "cells" / cell.name / method

    def _frozen(self, members: Sequence[tuple[Cell, Recipe, Inputs, dict[str, Path]]]) -> tuple[Job, Path]:
        first = members[0][0]
        job = Frozen(tuple(members), self.grid.whole(first))
        return job, self.out / "cells" / f"{first.name.rsplit('-', 2)[0]}.{LOG}"


def make_benchmark(grid: Grid, cells: Sequence[Cell], methods: Sequence[str], out: Path, keep: bool) -> Benchmark:
    """Return the benchmark of some cells; the arguments are the attributes of :class:`Benchmark`.

    Raises:
        SarHubError: an assignment does not fit the recipes, or the chips cannot be opened.
    """
    recipes = {cell: grid.recipe(cell) for cell in cells}
    reader = InputsReader()
    return Benchmark(grid, recipes, {cell: reader.read(recipes[cell]) for cell in cells}, methods, out, keep)
