"""What the features are good for, shown: radar chips are told apart from a handful of labels.

The network's features are compared with those of the same network without training; a linear classifier learns from a
few labelled chips of each class and is tested on others. Needs the extra ``demo`` (scikit-learn, matplotlib).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..datasets.recognition.dsn.reader import load_dsn
from ..datasets.simulated import simulate_chips
from ..errors import DataError, MissingDependencyError, OptionError
from ..models.create import create_model, create_transform
from ..weights import Store
from ..zoo.entries import ModelInfo, Preprocessing
from ..zoo.manifest import model_info

__all__ = [
    "LABELS_PER_CLASS",
    "MODEL",
    "Demo",
    "Task",
    "fetch_data",
    "few_label_accuracy",
    "load_tasks",
    "run_demo",
    "summary",
]

MODEL = "mobilenetv3_dsn"
LABELS_PER_CLASS = (1, 5, 20)
_DRAWS = 10
_BATCH = 64
_FULL_SCALE = 65535.0  # of 16-bit digital numbers, where the weights state no other
_SIMULATED_FULL_SCALE = 100.0  # digital numbers that a simulated amplitude of 1 stands for, as bright land has
# Sentinel-1 scenes: tested on chips that pre-training never saw; the few labels come from chips that its last fit did
# see. Ships: no part of the pre-training at all.
_PARTS = {
    "s1": ("Sentinel-1 land cover", "val", "test"),
    "opensarship": ("OpenSARShip ship types", "train", "test"),
}


@dataclass(frozen=True)
class Task:
    """Chips to be told apart.

    Attributes:
        title: what they are.
        origin: where they come from.
        class_names: names of the classes.
        pool: chips whose labels may be drawn, float32 (N, H, W), amplitude in digital numbers.
        pool_labels: int64 (N,).
        test: chips to be classified.
        test_labels: int64 (M,).
    """

    title: str
    origin: str
    class_names: tuple[str, ...]
    pool: np.ndarray
    pool_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Demo:
    """What was measured.

    Attributes:
        model: name of the weights.
        tasks: titles and origins of the chips.
        accuracy: by title of the task, then by network (``"pre-trained"``, ``"untrained"``): balanced accuracies,
            (numbers of labels, draws).
        labels_per_class: by title of the task, the numbers of labels.
        files: pictures that were written.
    """

    model: str
    tasks: dict[str, str]
    accuracy: dict[str, dict[str, np.ndarray]]
    labels_per_class: dict[str, tuple[int, ...]]
    files: tuple[Path, ...]


def run_demo(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    model: str = MODEL,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Demo:
    """Compare a pre-trained network with an untrained one and draw the result.

    Args:
        out: folder for the pictures; it is created.
        data: folder with packed DSN-SLC patches (:func:`.dsn.reader.load_dsn`); ``None`` simulates
            chips.
        model: the weights, a name of :func:`~sarhub_models.list_models`.
        checkpoint: weights in place of the registered ones.
        seed: of the simulated chips, of the untrained network and of the draws.

    Returns:
        The accuracies. The pictures are ``demo.png`` (accuracies, and the features' first two principal components)
        and ``chips.png`` (some chips of each class; real ones are not for the project's repository).

    Raises:
        MissingDependencyError: the extra ``demo`` is not installed.
        DataError: there are no packed patches in ``data``.
        OptionError: the model takes several bands; the chips have one.
        SarHubError: the weights cannot be had, see :func:`~sarhub_models.create_model`.
    """
    missing = [package for package in ("sklearn", "matplotlib") if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(f"the demo needs {' and '.join(missing)}: pip install 'sarhub-models[demo]'")
    from . import demo_figure

    info = model_info(model)
    if not isinstance(info.preprocessing, Preprocessing):
        bands = ", ".join(info.input.bands)
        raise OptionError(f"the demo's chips hold one band, {model} takes {bands}: see 'sarhub compare'")
    tasks = load_tasks(data, seed)
    trained = create_model(model, pretrained=True, checkpoint_path=checkpoint, num_classes=0)
    torch.manual_seed(seed)
    nets = {"pre-trained": trained, "untrained": create_model(model, num_classes=0)}
    transform = create_transform(model)
    accuracy: dict[str, dict[str, np.ndarray]] = {}
    features: dict[str, dict[str, np.ndarray]] = {}
    counts: dict[str, tuple[int, ...]] = {}
    for task in tasks:
        counts[task.title] = _possible_counts(task.pool_labels)
        accuracy[task.title], features[task.title] = {}, {}
        for name, net in nets.items():
            pool = _features(net, transform, _amplitude(task.pool, info))
            test = _features(net, transform, _amplitude(task.test, info))
            features[task.title][name] = test
            accuracy[task.title][name] = few_label_accuracy(
                pool, task.pool_labels, test, task.test_labels, counts[task.title], draws=_DRAWS, seed=seed
            )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = demo_figure.draw(folder, model, tasks, features, accuracy, counts)
    return Demo(model, {task.title: task.origin for task in tasks}, accuracy, counts, files)


def fetch_data() -> Path:
    """Return the folder of the real chips in the cache, after fetching them there if they are not.

    Raises:
        DownloadError: they are not there and could not be fetched.
    """
    folder = Store().root / "data" / "dsn"
    if not all((folder / f"{part}.npz").is_file() for part in _PARTS):
        from ..datasets.recognition.dsn.download import download_dsn
        from ..io.progress import download_bar

        with download_bar("DSN-SLC", True) as bar:
            download_dsn(folder, tuple(_PARTS), bar)
    return folder


def load_tasks(data: str | os.PathLike[str] | None, seed: int = 0) -> list[Task]:
    """Return what there is to classify: the parts of DSN-SLC in a folder, or simulated chips.

    Args:
        data: folder with ``s1.npz`` or ``opensarship.npz``; ``None`` simulates.
        seed: of the simulation.

    Raises:
        DataError: the folder holds neither file, or a damaged one.
    """
    if data is None:
        return [_simulated(seed)]
    parts = [part for part in _PARTS if Path(data, f"{part}.npz").is_file()]
    if not parts:
        raise DataError(
            f"expected packed DSN-SLC patches, {' or '.join(f'{part}.npz' for part in _PARTS)}, in {data}, found none; "
            "without --data 'sarhub demo' fetches them"
        )
    return [_dsn(data, part) for part in parts]


def few_label_accuracy(
    pool: np.ndarray,
    pool_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    counts: tuple[int, ...],
    *,
    draws: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Return how well a linear classifier does that saw a few labels of each class.

    The classifier is a ridge regression to the classes, on features that were standardised with the mean and standard
    deviation of the whole pool, for which no labels are needed.

    Args:
        pool: features whose labels may be drawn, (N, D).
        pool_labels: their classes, (N,).
        test: features to classify, (M, D).
        test_labels: their classes, (M,).
        counts: numbers of labels per class; none above the size of the smallest class.
        draws: random draws for each number.
        seed: of the draws; the same draws for every network.

    Returns:
        Balanced accuracy (mean of the classes' recalls) in [0, 1], float64 (len(counts), draws).
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(pool)
    pool, test = scaler.transform(pool), scaler.transform(test)
    result = np.empty((len(counts), draws))
    for row, count in enumerate(counts):
        for draw in range(draws):
            chosen = _draw(pool_labels, count, np.random.default_rng([seed, count, draw]))
            # Features outnumber labels: the penalty is as large as the squared length of a standardised feature vector.
            classifier = RidgeClassifier(alpha=pool.shape[1])
            classifier.fit(pool[chosen], pool_labels[chosen])
            result[row, draw] = balanced_accuracy_score(test_labels, classifier.predict(test))
    return result


def _draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([rng.choice(group, count, replace=False) for group in groups])


def _possible_counts(labels: np.ndarray) -> tuple[int, ...]:
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    return tuple(count for count in LABELS_PER_CLASS if count <= smallest)


def _simulated(seed: int) -> Task:
    pool, pool_labels, names = simulate_chips(40, seed=2 * seed)
    test, test_labels, _ = simulate_chips(60, seed=2 * seed + 1)
    origin = "simulated chips (sarhub_models.datasets.simulated; no measurements)"
    return Task(
        "Simulated scenes",
        origin,
        names,
        pool * _SIMULATED_FULL_SCALE,
        pool_labels,
        test * _SIMULATED_FULL_SCALE,
        test_labels,
    )


def _dsn(folder: str | os.PathLike[str], part: str) -> Task:
    title, pool_split, test_split = _PARTS[part]
    pool, test = load_dsn(folder, (part,), pool_split), load_dsn(folder, (part,), test_split)
    names = tuple(name.partition("/")[2] for name in pool.class_names)
    origin = f"DSN-SLC, {part}.npz: labels from its {pool_split} split, tested on its {test_split} split"
    return Task(title, origin, names, pool.images, pool.labels, test.images, test.labels)


def _amplitude(chips: np.ndarray, info: ModelInfo) -> torch.Tensor:
    """Return chips in digital numbers as the amplitude in [0, 1] that the weights know, (N, 1, H, W)."""
    full_scale = getattr(info.preprocessing, "full_scale", None) or _FULL_SCALE
    return torch.from_numpy(np.clip(chips / full_scale, 0, 1)).float()[:, None]


@torch.inference_mode()
def _features(net: nn.Module, transform: nn.Module, chips: torch.Tensor) -> np.ndarray:
    """Return the pooled features of amplitude chips (N, 1, H, W) as float32 (N, D)."""
    model: Any = net.eval()
    batches = [
        model.forward_head(model.forward_features(transform(batch)), pre_logits=True) for batch in chips.split(_BATCH)
    ]
    return torch.cat(batches).numpy()


def summary(demo: Demo) -> list[Mapping[str, Any]]:
    """Return the accuracies as rows: task, network, labels per class, mean and standard deviation over the draws."""
    return [
        {
            "task": title,
            "network": network,
            "labels_per_class": count,
            "accuracy": float(values[row].mean()),
            "sd": float(values[row].std()),
        }
        for title, networks in demo.accuracy.items()
        for network, values in networks.items()
        for row, count in enumerate(demo.labels_per_class[title])
    ]
