"""The measurement: features of every network on every task, and three classifiers on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import sarhub_models as sarhub
from benchmarks.experiments.features import pooled_features
from sarhub_models import engine
from sarhub_models.datasets.catalog import find
from sarhub_models.engine.initialization import build_network
from sarhub_models.engine.provenance import source_digest
from sarhub_models.engine.recipe import merged
from sarhub_models.engine.scoring import Outputs
from sarhub_models.engine.sections import Model
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import DownloadError, OptionError
from sarhub_models.features.journal import maker_digest
from sarhub_models.features.probe import classifiers
from sarhub_models.io.tables import read_table, write_table
from sarhub_models.models.choice import choose
from sarhub_models.models.create import build_model
from sarhub_models.models.loading import load_tensors

_SEED = 0  # of untrained networks and of the intervals
_RESAMPLES = 2000
_BATCH = 64
Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A data set to recognize.

    Attributes:
        name: in the table.
        recipe: says how it is read; ``data.train`` is learned from, ``data.test`` is the test.
    """

    name: str
    recipe: engine.Recipe


def parse_task(text: str, splits: str = "train,test") -> Task:
    """Return the task of ``NAME=FOLDER[,LISTS]``, or ``folder:LABEL=FOLDER,LISTS``.

    Args:
        text: what the command line says.
        splits: where to learn and where to test.

    Raises:
        OptionError: the text or the splits have another form.
        UnknownNameError: there is no such data set.
    """
    name, equals, places = text.partition("=")
    parts = splits.split(",")
    if not equals or not places or len(parts) != 2:
        raise OptionError(f"expected NAME=FOLDER[,LISTS] and two splits, got {text!r} and {splits!r}")
    reader, _, label = name.partition(":")
    root, _, lists = places.partition(",")
    data: dict[str, Any] = {"name": reader, "root": root, "train": parts[0], "test": parts[1], "workers": 0}
    data |= {"lists": lists} if lists else {}
    recipe = merged(find(reader).recipe, {"model": {"network": "mobilenetv3"}, "data": data})
    recipe.pop("variants", None)
    return Task(label or reader, engine.from_dict(recipe))


def run(
    weights: Sequence[str],
    tasks: Sequence[Task],
    results: Path,
    *,
    shots: int = 5,
    draws: int = 10,
    twins: bool = True,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Measure weights on tasks, and return the rows of the table, those of before included.

    Args:
        weights: names, files, or folders of runs, of networks for one band of amplitude.
        tasks: what to recognize.
        results: CSV file, written after each row.
        shots: labels of each class that the third classifier learns from.
        draws: of these labels.
        twins: also measure the same networks untrained and with ImageNet weights, with the same preprocessing.
        say: told of each row, and of twins that cannot be had.

    Raises:
        OptionError: weights take several bands or no amplitude, or two have one name.
        DataError: the data are not there.
    """
    labels = [Path(name).name for name in dict.fromkeys(weights)]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise OptionError(f"two of the weights are called {twice}, and would share rows: rename one")
    results.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = read_table(results, text=("weights", "start", "task", "digest")) if results.is_file() else []
    for name in weights:
        transform = sarhub.create_transform(name)
        if len(transform.bands) != 1 or not transform.takes_amplitude:
            raise OptionError(f"{name} does not take one band of amplitude, which is what the data sets are read as")
        for start, model in _networks(name, transform.size or 0, twins, say):
            for task in tasks:
                row = measured(name, start, model, transform, task, rows, shots=shots, draws=draws)
                if row not in rows:
                    same = ("weights", "start", "task", "shots", "draws")
                    rows = [old for old in rows if any(old[key] != row[key] for key in same)] + [row]
                    write_table(rows, results)
                say(f"{row['weights']} ({start}) on {task.name}: kNN {row['knn']:.3f}, probe {row['probe']:.3f}")
    return rows


def _networks(name: str, size: int, twins: bool, say: Callable[[str], None]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the network with its weights and, if asked for, its twins; each with the name of its start."""
    choice = choose(name)
    network = choice.info.network
    yield "sar", build_model(choice, load_tensors(choice), num_classes=0)
    if not twins:
        return
    torch.manual_seed(_SEED)
    yield "none", build_model(choice, None, num_classes=0)
    try:
        yield "imagenet", build_network(Model(network=network, init="imagenet"), 0, size, _SEED)
    except (OptionError, DownloadError) as err:
        say(f"{network} has no twin with ImageNet weights: {err}")


def measured(
    name: str,
    start: str,
    model: nn.Module,
    transform: nn.Module,
    task: Task,
    rows: Sequence[Row],
    *,
    shots: int,
    draws: int,
) -> Row:
    """Return the row of a network on a task: that of before where weights and samples are the same, or a new one.

    Scores are class averages (mean recall of the classes) in [0, 1]. ``low`` and ``high`` bound 95 % intervals: of kNN
    and probe over resampled test chips of each class, of the few labels over the draws.
    """
    data = task.recipe.data
    train, test = (open_source(data, split) for split in (data.train, data.test))
    crop = task.recipe.preprocess.crop
    digest = maker_digest(model, transform, crop, source_digest(train), source_digest(test))[:16]
    key = {"weights": Path(name).name, "start": start, "task": task.name, "shots": shots, "draws": draws}
    for old in rows:
        if old["digest"] == digest and all(old[column] == value for column, value in key.items()):
            return old
    loaders = (source.evaluation(_BATCH) for source in (train, test))
    learned, tested = pooled_features(model, loaders, transform, crop)
    both = classifiers(len(learned.labels))
    x, y = learned.values.numpy(), learned.labels.numpy()
    scores: Row = {}
    for column, classifier in (("knn", both["knn"]), ("probe", both["linear"])):
        hits = classifier.fit(x, y).predict(tested.values.numpy()) == tested.labels.numpy()
        scores |= _with_interval(column, hits, tested.labels.numpy())
    few = [_few(learned, tested, shots, draw) for draw in range(draws)]
    margin = 1.96 * float(np.std(few, ddof=1)) / draws**0.5 if draws > 1 else 0.0
    mean = float(np.mean(few))
    scores |= {"few": round(mean, 4), "few_low": round(mean - margin, 4), "few_high": round(mean + margin, 4)}
    return {**key, "train": len(x), "test": len(tested.labels), **scores, "digest": digest}


def _with_interval(column: str, hits: np.ndarray, labels: np.ndarray) -> Row:
    """Return the class average of hits, and the bounds of its interval over resampled chips of each class."""
    rng = np.random.default_rng(_SEED)
    counts = np.bincount(labels)
    there = counts > 0
    recalls = np.bincount(labels, weights=hits)[there] / counts[there]
    drawn = rng.binomial(counts[there], recalls, size=(_RESAMPLES, there.sum())) / counts[there]
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    values = {"": recalls.mean(), "_low": low, "_high": high}
    return {f"{column}{suffix}": round(float(value), 4) for suffix, value in values.items()}


def _few(learned: Outputs, tested: Outputs, shots: int, draw: int) -> float:
    """Return the class average of a linear classifier that learns from some chips of each class."""
    rng, y = np.random.default_rng([_SEED, draw]), learned.labels.numpy()
    chosen = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:shots] for label in np.unique(y)])
    classifier = classifiers(len(chosen))["linear"].fit(learned.values.numpy()[chosen], y[chosen])
    hits, labels = classifier.predict(tested.values.numpy()) == tested.labels.numpy(), tested.labels.numpy()
    return float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))
