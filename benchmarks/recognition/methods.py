"""What is computed in a cell, and what it leaves in its folder.

For each method a folder with ``predictions.csv`` (name, label and prediction of every test chip, and a score of every
class) and, written last, ``scores.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.experiments.provenance import Inputs
from sarhub_models.engine.augment import make_transform
from sarhub_models.engine.batches import Files
from sarhub_models.engine.checkpoint import BEST, LAST
from sarhub_models.engine.initialization import build_network
from sarhub_models.engine.metrics import make_metrics, plain, probabilities
from sarhub_models.engine.provenance import differences
from sarhub_models.engine.readers import Scenes
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.report import write_csv
from sarhub_models.engine.run import SUMMARY, load_run, train
from sarhub_models.engine.scoring import Outputs, collect
from sarhub_models.engine.splits import Source, mean_std, open_source, open_training
from sarhub_models.errors import InputError, OptionError, StoppedError
from sarhub_models.features.probe import classifiers
from sarhub_models.io.files import write_text

from .grid import Cell, settings_of

__all__ = ["Finetune", "Finished", "Frozen", "finished"]

SCORES, PREDICTIONS = "scores.json", "predictions.csv"
_CLASSIFIERS = {"probe": "linear", "neighbours": "knn"}  # by method, as the library calls them


@dataclass(frozen=True)
class Finished:
    """What one method gave in a cell.

    Attributes:
        scores: on the test split, in [0, 1].
        classes: their names.
        predictions: the file of them.
    """

    scores: dict[str, float]
    classes: tuple[str, ...]
    predictions: Path


def finished(folder: Path, recipe: Recipe, inputs: Inputs) -> Finished | None:
    """Return what a folder holds, or ``None`` where that is not finished or damaged.

    Raises:
        OptionError: the folder holds what other settings, chips or weights gave.
    """
    try:
        stored = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        settings, scores = dict(stored["settings"]), {str(k): float(v) for k, v in stored["scores"].items()}
        found = Finished(scores, tuple(stored["classes"]), folder / PREDICTIONS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    _check_settings(folder, settings, recipe)
    inputs.check(folder, stored.get("inputs"))
    return found if found.predictions.is_file() else None


def _check_settings(folder: Path, settings: dict[str, Any], recipe: Recipe) -> None:
    if found := list(differences(settings, settings_of(recipe))):
        raise OptionError(
            f"{folder} holds results of other settings ({'; '.join(found[:3])}): take another folder with --out, or "
            "delete it"
        )


@dataclass(frozen=True)
class Finetune:
    """Fine-tune the network of a cell and classify the test chips.

    Attributes:
        cell: which one.
        recipe: what is computed.
        inputs: from what.
        folder: where the run and the results go.
        keep: whether the weights stay.
    """

    cell: Cell
    recipe: Recipe
    inputs: Inputs
    folder: Path
    keep: bool

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.cell.name}, finetune"

    @property
    def work(self) -> float:
        """Expected time, in any unit that all fine-tunings of a grid share."""
        optim = self.recipe.optim
        return optim.epochs * (optim.epoch_steps or 100 * self.cell.fraction)

    def run(self) -> None:
        """Train, or go on, and classify.

        Raises:
            StoppedError: the process was asked to stop.
            OptionError: the folder holds a run of other settings, chips or weights.
            SarHubError: as :func:`~sarhub_models.engine.run.train` says.
        """
        self.inputs.keep(self.folder)
        if (self.folder / SUMMARY).is_file():
            _check_settings(self.folder, settings_of(load_run(self.folder).recipe), self.recipe)
            if not (self.folder / BEST).is_file():
                (self.folder / SUMMARY).unlink()
        if not (self.folder / SUMMARY).is_file() and not train(self.recipe, self.folder):
            raise StoppedError("stopped; the same command goes on")
        run = load_run(self.folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        test = _open_test(self.recipe, run.class_names)
        network = run.model().to(device)
        outputs = collect(lambda x: probabilities(network(x), False), test, run.transform(), device)
        _write(self.folder, self.recipe, self.inputs, run.class_names, outputs, outputs.values.numpy())
        (self.folder / LAST).unlink(missing_ok=True)
        if not self.keep:
            (self.folder / BEST).unlink()


@dataclass(frozen=True)
class Frozen:
    """Classify the test chips by frozen features of one network from one start, in several cells.

    Attributes:
        cells: each with its recipe, what it is computed from and, by method, the folder of the results.
        whole: the recipe with all labels.
    """

    cells: tuple[tuple[Cell, Recipe, Inputs, dict[str, Path]], ...]
    whole: Recipe

    @property
    def name(self) -> str:
        """What it is called in messages."""
        cell = self.cells[0][0]
        return f"{cell.network} from {cell.start.label}, frozen features"

    @property
    def work(self) -> float:
        """Expected time, in the unit of :attr:`Finetune.work`."""
        return 20.0

    def run(self) -> None:
        """Compute the features once (with random weights once a seed) and fit the classifiers of every cell."""
        known: dict[int, tuple[Outputs, Outputs, tuple[str, ...]]] = {}
        for cell, recipe, inputs, folders in self.cells:
            key = cell.seed if cell.start.init == "none" else -1
            if key not in known:
                known = {key: _features(cell, self.whole)}  # those of the seed before are not needed any more
            learnt, tested, classes = known[key]
            chosen = set(_scenes(open_training(recipe.data, recipe.runtime.seed)).names)
            rows = [index for index, name in enumerate(learnt.names) if name in chosen]
            features, labels = learnt.values.numpy()[rows], learnt.labels.numpy()[rows]
            for method, folder in folders.items():
                classifier = classifiers(len(rows))[_CLASSIFIERS[method]].fit(features, labels)
                values = _class_scores(classifier, tested.values.numpy(), len(classes))
                _write(folder, recipe, inputs, classes, tested, values)


def _scenes(source: Source) -> Scenes:
    if not isinstance(source, Files):
        raise OptionError("frozen features need single files: data.root=FOLDER in place of data.shards")
    return source.scenes


def _features(cell: Cell, recipe: Recipe) -> tuple[Outputs, Outputs, tuple[str, ...]]:
    """Return the pooled features of all training chips and of the test chips, and the names of the classes.

    They see the preprocessing of the weights where that is known, else that of the recipe.
    """
    source = open_source(recipe.data, recipe.data.train)
    transform = cell.start.transform()
    if transform is None:
        transform = make_transform(recipe.preprocess, *mean_std(source, recipe.preprocess))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build_network(recipe.model, len(source.class_names), transform.size or recipe.preprocess.size, cell.seed)
    network = network.to(device).eval()
    test = _open_test(recipe, source.class_names)
    loaders = source.evaluation(recipe.evaluation.batch_size), test
    learnt, tested = (collect(lambda x: _pooled(network, x), loader, transform, device) for loader in loaders)
    return learnt, tested, source.class_names


def _pooled(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    model: Any = network
    pooled: torch.Tensor = model.forward_head(model.forward_features(x), pre_logits=True)
    return pooled


def _open_test(recipe: Recipe, class_names: tuple[str, ...]) -> Any:
    test = open_source(recipe.data, recipe.data.test)
    if test.class_names != class_names:
        raise InputError(f"the training split has the classes {class_names}, the test split {test.class_names}")
    return test.evaluation(recipe.evaluation.batch_size)


def _class_scores(classifier: Any, features: np.ndarray, classes: int) -> np.ndarray:
    """Return a score of every class, float64 (N, C): shares of the vote or decision values, NaN if not learnt."""
    if hasattr(classifier, "predict_proba"):
        found = classifier.predict_proba(features)
    else:
        found = classifier.decision_function(features)
        found = np.stack([-found, found], axis=1) if found.ndim == 1 else found
    scores = np.full((len(features), classes), np.nan)
    scores[:, classifier.classes_] = found
    return scores


def _write(
    folder: Path, recipe: Recipe, inputs: Inputs, classes: tuple[str, ...], outputs: Outputs, scores: np.ndarray
) -> None:
    """Write predictions and, last, scores."""
    predicted = np.nanargmax(scores, axis=1)
    rows = [
        {
            **{"name": name, "label": classes[label], "prediction": classes[guess]},
            **{f"score: {c}": "" if np.isnan(v) else f"{v:.6g}" for c, v in zip(classes, values, strict=True)},
        }
        for name, label, guess, values in zip(outputs.names, outputs.labels.tolist(), predicted, scores, strict=True)
    ]
    metrics = make_metrics(len(classes), False)
    summary = {
        "scores": plain(metrics(torch.from_numpy(predicted), outputs.labels)),
        "classes": list(classes),
        "settings": settings_of(recipe),
        "inputs": asdict(inputs),
    }
    write_csv(rows, folder / PREDICTIONS)
    write_text(folder / SCORES, json.dumps(summary, indent=2) + "\n")
