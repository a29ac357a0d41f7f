"""The methods of recognition: fine-tuning, and classifiers on frozen features.

Each leaves ``predictions.csv`` in the folder of a trial: name, label and prediction of every test chip, and a score of
every class.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.experiments.features import pooled_features
from benchmarks.experiments.provenance import Provenance, RecipeInputs
from benchmarks.experiments.runner import Experiment
from benchmarks.experiments.trial import Trial
from sarhub_models.engine.augment import make_transform
from sarhub_models.engine.batches import Files
from sarhub_models.engine.checkpoint import LAST, PREVIOUS
from sarhub_models.engine.initialization import build_network, starting_weights
from sarhub_models.engine.metrics import make_metrics, plain, probabilities
from sarhub_models.engine.readers import Scenes
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import SUMMARY, load_run, train
from sarhub_models.engine.scoring import Outputs, collect
from sarhub_models.engine.sources import Split
from sarhub_models.engine.splits import mean_std, open_source, open_training
from sarhub_models.errors import InputError, OptionError, StoppedError
from sarhub_models.features.probe import classifiers
from sarhub_models.io.tables import write_table
from sarhub_models.zoo.description import BEST

from .grid import Grid

__all__ = ["PREDICTIONS", "Recognition", "frozen_settings"]

PREDICTIONS = "predictions.csv"
_CLASSIFIERS = {"probe": "linear", "knn": "knn"}  # by method, as the library calls them


def frozen_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what frozen features follow from, of the settings of a recipe: nothing of its training.

    ``frozen`` was not there while weights with a preprocessing of their own saw whole chips.
    """
    kept = {name: values for name, values in settings.items() if name != "optim"}
    return {**kept, "frozen": {"crop": settings["preprocess"]["crop"]}}


@dataclass(frozen=True)
class Recognition(Experiment):
    """The trials of recognition.

    Attributes:
        out: folder of the trials and the report.
        grid: the recipes.
        keep: whether fine-tuned weights stay.
    """

    grid: Grid
    keep: bool
    inputs: RecipeInputs = field(default_factory=RecipeInputs, compare=False)

    def provenance(self, trial: Trial) -> Provenance:
        """Return what a trial is computed from."""
        found = self.inputs.read(self.grid.recipe(trial))
        return found if trial.variant == "finetune" else replace(found, settings=frozen_settings(found.settings))

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Look at the starting weights.

        Raises:
            SarHubError: they cannot be had or do not fit.
        """
        for network, initialization in dict.fromkeys((trial.network, trial.initialization) for trial in trials):
            if initialization.init != "none":
                starting_weights(network, initialization.init)
        for initialization in {trial.initialization for trial in trials if trial.variant != "finetune"}:
            initialization.transform()

    def process(self, trial: Trial) -> Hashable:
        """Return the trial, or what trials share whose features are computed once."""
        return trial if trial.variant == "finetune" else (trial.network, trial.initialization)

    def work(self, trial: Trial) -> float:
        """Return the expected steps of a fine-tuning, little for a classifier."""
        optim = self.grid.recipe(trial).optim
        return optim.epochs * (optim.epoch_steps or 100 * trial.fraction) if trial.variant == "finetune" else 1.0

    def leaves(self, trial: Trial) -> tuple[str, ...]:
        """Return the name of the file of predictions."""
        return (PREDICTIONS,)

    def execute(self, trial: Trial, folder: Path) -> dict[str, float]:
        """Classify the test chips and return the scores.

        Raises:
            StoppedError: the process was asked to stop.
            SarHubError: as :func:`~sarhub_models.engine.run.train` says, or chips cannot be read.
        """
        recipe = self.grid.recipe(trial)
        return self._finetune(recipe, folder) if trial.variant == "finetune" else self._classify(trial, recipe, folder)

    def _finetune(self, recipe: Recipe, folder: Path) -> dict[str, float]:
        if (folder / SUMMARY).is_file() and not (folder / BEST).is_file():
            (folder / SUMMARY).unlink()
        if not (folder / SUMMARY).is_file() and not train(recipe, folder):
            raise StoppedError("stopped; the same command goes on")
        run = load_run(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        test = _open_test(recipe, run.class_names)
        network = run.model().to(device)
        outputs = collect(lambda x: probabilities(network(x), False), test, run.transform(), device=device)
        scores = _write(folder, run.class_names, outputs, outputs.values.numpy())
        for checkpoint in (LAST, PREVIOUS):
            (folder / checkpoint).unlink(missing_ok=True)
        if not self.keep:
            (folder / BEST).unlink()
        return scores

    def _classify(self, trial: Trial, recipe: Recipe, folder: Path) -> dict[str, float]:
        seed = trial.seed if trial.initialization.init == "none" else 0
        learnt, tested, classes = _features(self.grid, replace(trial, fraction=1.0, seed=seed, variant=""))
        chosen = set(_scenes(open_training(recipe.data, recipe.runtime.seed)).names)
        rows = [index for index, name in enumerate(learnt.names) if name in chosen]
        features, labels = learnt.values.numpy()[rows], learnt.labels.numpy()[rows]
        classifier = classifiers(len(rows))[_CLASSIFIERS[trial.variant]].fit(features, labels)
        return _write(folder, classes, tested, class_scores(classifier, tested.values.numpy(), len(classes)))


def _scenes(source: Split) -> Scenes:
    if not isinstance(source, Files):
        raise OptionError("frozen features need single files: data.root=FOLDER in place of data.shards")
    return source.scenes


@lru_cache(maxsize=1)  # those of the seed before are not needed any more
def _features(grid: Grid, trial: Trial) -> tuple[Outputs, Outputs, tuple[str, ...]]:
    """Return the pooled features of all training chips and of the test chips, and the names of the classes.

    They see the part of the chips that the data set asks for, in the preprocessing of the weights where that is known,
    else in that of the recipe.
    """
    recipe = grid.recipe(trial)
    source = open_source(recipe.data, recipe.data.train)
    transform: Any = trial.initialization.transform()
    own = None if transform is None else recipe.preprocess.crop  # that of the recipe cuts by itself
    if transform is None:
        transform = make_transform(recipe.preprocess, *mean_std(source, recipe.preprocess))
    network = build_network(recipe.model, len(source.class_names), transform.size or recipe.preprocess.size, trial.seed)
    loaders = source.evaluation(recipe.evaluation.batch_size), _open_test(recipe, source.class_names)
    learnt, tested = pooled_features(network, loaders, transform, own)
    return learnt, tested, source.class_names


def _open_test(recipe: Recipe, class_names: tuple[str, ...]) -> Any:
    test = open_source(recipe.data, recipe.data.test)
    if test.class_names != class_names:
        raise InputError(f"the training split has the classes {class_names}, the test split {test.class_names}")
    return test.evaluation(recipe.evaluation.batch_size)


def class_scores(classifier: Any, features: np.ndarray, classes: int) -> np.ndarray:
    """Return a score of every class, float64 (N, C): shares of the vote or decision values, NaN if not learnt."""
    if hasattr(classifier, "predict_proba"):
        found = classifier.predict_proba(features)
    else:
        found = classifier.decision_function(features)
        found = np.stack([-found, found], axis=1) if found.ndim == 1 else found
    scores = np.full((len(features), classes), np.nan)
    scores[:, classifier.classes_] = found
    return scores


def _write(folder: Path, classes: tuple[str, ...], outputs: Outputs, scores: np.ndarray) -> dict[str, float]:
    """Write the predictions and return their scores."""
    predicted = np.nanargmax(scores, axis=1)
    rows = [
        {
            **{"name": name, "label": classes[label], "prediction": classes[guess]},
            **{f"score: {c}": "" if np.isnan(v) else f"{v:.6g}" for c, v in zip(classes, values, strict=True)},
        }
        for name, label, guess, values in zip(outputs.names, outputs.labels.tolist(), predicted, scores, strict=True)
    ]
    write_table(rows, folder / PREDICTIONS)
    return plain(make_metrics(len(classes), False)(torch.from_numpy(predicted), outputs.labels))
