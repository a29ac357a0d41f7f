"""Measure features: accuracy of kNN and of a linear probe, and the similarity of two networks (CKA)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.labeled import TEST, TRAIN
from ..errors import OptionError

__all__ = ["FOLDS", "FewShot", "Scores", "cka", "classifiers", "few_shot", "probe"]

NEIGHBORS = 5
FOLDS = 5
_RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """Accuracies on chips that were not trained on, in [0, 1].

    Attributes:
        knn: accuracy of the vote of the five nearest neighbors (cosine).
        knn_balanced: the same, as the mean of the classes' recalls.
        linear: accuracy of a linear classifier on standardized features.
        linear_balanced: the same, as the mean of the classes' recalls.
    """

    knn: float
    knn_balanced: float
    linear: float
    linear_balanced: float


def probe(features: np.ndarray, labels: np.ndarray, split: np.ndarray | None = None, *, seed: int = 0) -> Scores:
    """Measure the accuracy of kNN and of a linear classifier on features.

    Neighbors are found by the cosine of the angle between centered features. The linear classifier is a ridge
    regression to the classes whose penalty is chosen on the chips it learns from. Both see the test chips only to
    classify them.

    Args:
        features: (N, D).
        labels: (N,).
        split: ``"train"`` or ``"test"`` (others are left out), (N,); ``None`` cross-validates, so that every chip is
            tested once.
        seed: of the folds.

    Raises:
        OptionError: there are not two classes, a class has a single chip, or a split is empty.
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    expected, near, linear = [], [], []
    for train, test in _folds(labels, split, seed):
        both = classifiers(len(train))
        near.append(both["knn"].fit(features[train], labels[train]).predict(features[test]))
        linear.append(both["linear"].fit(features[train], labels[train]).predict(features[test]))
        expected.append(labels[test])
    truth, voted, drawn = (np.concatenate(parts) for parts in (expected, near, linear))
    return Scores(
        knn=float(accuracy_score(truth, voted)),
        knn_balanced=float(balanced_accuracy_score(truth, voted)),
        linear=float(accuracy_score(truth, drawn)),
        linear_balanced=float(balanced_accuracy_score(truth, drawn)),
    )


@dataclass(frozen=True)
class FewShot:
    """Mean recall of the classes of a linear classifier that learns from a few chips of each, over several draws.

    Attributes:
        shots: chips of each class.
        accuracy: mean over the draws, in [0, 1].
        low: lower end of its 95 % interval, from resampled draws.
        high: upper end.
    """

    shots: int
    accuracy: float
    low: float
    high: float


def few_shot(
    features: np.ndarray,
    labels: np.ndarray,
    split: np.ndarray | None = None,
    *,
    shots: int,
    draws: int = 10,
    seed: int = 0,
) -> FewShot:
    """Measure the linear classifier of :func:`probe` on so many chips of each class, drawn several times.

    Args:
        features: (N, D).
        labels: (N,).
        split: as of :func:`probe`; ``None`` tests each draw on all chips that it does not learn from.
        shots: chips of each class to learn from.
        draws: how often they are drawn; draws of the same seed are the same for every network.
        seed: of the draws and of the resampling.

    Raises:
        OptionError: there are not two classes, or a class has no more than ``shots`` chips.
    """
    from sklearn.metrics import balanced_accuracy_score

    pool = np.arange(len(labels)) if split is None else np.flatnonzero(split == TRAIN)
    classes, counts = np.unique(labels[pool], return_counts=True)
    if len(classes) < 2 or counts.min() < shots + (split is None):
        raise OptionError(
            f"expected two classes with more than {shots} chips each to draw {shots} from, got {len(classes)} with "
            f"{counts.min() if len(counts) else 0} or more"
        )
    accuracies = np.empty(draws)
    for draw in range(draws):
        rng = np.random.default_rng([seed, shots, draw])
        members = (np.flatnonzero(labels[pool] == name) for name in classes)
        chosen = pool[np.concatenate([rng.permutation(rows)[:shots] for rows in members])]
        rest = np.setdiff1d(pool, chosen) if split is None else np.flatnonzero(split == TEST)
        classifier = classifiers(len(chosen))["linear"].fit(features[chosen], labels[chosen])
        accuracies[draw] = balanced_accuracy_score(labels[rest], classifier.predict(features[rest]))
    again = np.random.default_rng(seed).choice(accuracies, (_RESAMPLES, draws)).mean(axis=1)
    low, high = np.percentile(again, [2.5, 97.5])
    return FewShot(shots, float(accuracies.mean()), float(low), float(high))


def classifiers(samples: int) -> dict[str, Any]:
    """Return the two classifiers of :func:`probe`, not fitted.

    Args:
        samples: number that they are fitted to.

    Returns:
        scikit-learn's, by name: ``"knn"`` with ``predict_proba`` (shares of the vote) and ``"linear"`` with
        ``decision_function``.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    near = KNeighborsClassifier(min(NEIGHBORS, samples), metric="cosine")
    return {
        "knn": make_pipeline(StandardScaler(with_std=False), near),
        "linear": make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(0, 5, 11))),
    }


def _folds(labels: np.ndarray, split: np.ndarray | None, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    if split is not None:
        train, test = np.flatnonzero(split == TRAIN), np.flatnonzero(split == TEST)
        if len(np.unique(labels[train])) < 2 or not len(test):
            raise OptionError(f"expected two classes to learn from and chips to test, got {len(train)} and {len(test)}")
        yield train, test
        return
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise OptionError("expected at least two classes with two chips each, for one to learn from and one to test")
    folds = StratifiedKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=seed)
    yield from folds.split(labels[:, None], labels)


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """Return the similarity of two networks on the same images: linear centered kernel alignment, in [0, 1].

    ``||B'A||² / (||A'A|| ||B'B||)`` with centered columns and Frobenius norms: 1 for features that differ by a rotation
    and a scale, near 0 for unrelated ones (but well above it where images are not many more than features).

    Args:
        a: features of one network, (N, D).
        b: features of the other, (N, E).

    Source: Kornblith et al., Similarity of neural network representations revisited, ICML 2019.
    """
    a, b = (values.astype(np.float64) - values.mean(axis=0, dtype=np.float64) for values in (a, b))
    scale = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(b.T @ a) ** 2 / scale) if scale > 0 else 0.0
