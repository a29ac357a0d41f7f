"""Trials that train a recipe and score its network on the test split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import StoppedError
from training.evaluate import score_run

from .provenance import Provenance, RecipeInputs
from .runner import Experiment
from .trial import Trial

__all__ = ["TrainingExperiment"]


@dataclass(frozen=True)
class TrainingExperiment(Experiment):
    """Trials that train.

    Attributes:
        out: folder of the trials and the report.
        recipe: gives that of a trial.
    """

    recipe: Callable[[Trial], Recipe]
    inputs: RecipeInputs = field(default_factory=RecipeInputs, compare=False)

    def provenance(self, trial: Trial) -> Provenance:
        """Return what a trial is computed from."""
        return self.inputs.read(self.recipe(trial))

    def execute(self, trial: Trial, folder: Path) -> dict[str, float]:
        """Train, or go on, and return the scores: ``val_<name>`` on the validation split, ``<name>`` on the test split.

        Raises:
            StoppedError: the process was asked to stop.
            SarHubError: as :func:`~sarhub_models.engine.run.train` says.
        """
        recipe = self.recipe(trial)
        if not train(recipe, folder):
            raise StoppedError("stopped; the same command goes on")
        run = load_run(folder, [f"data.root={recipe.data.root}"])
        scores = score_run(run, recipe.data.test, again=False)
        return {**{f"val_{name}": value for name, value in run.val.items()}, **scores}
