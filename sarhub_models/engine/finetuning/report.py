"""The report of a fine-tuning, made from its weights file as users of it will: scores, figures, calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from ...datasets.recognition.chips import ChipsDataset
from ...features.predict import Predictions, Predictor
from ...io.tables import write_table
from ...weights import write_weights
from ...zoo.description import BEST, require_description, to_metadata
from ..metrics import make_detail, make_metrics, plain, probabilities
from ..report import plot_calibration, plot_detail

_BINS = 15  # of the confidence, as in Guo et al.
_RANGE = (-3.0, 3.0)  # of the logarithm of the temperature


@dataclass(frozen=True)
class Finetuned:
    """The result of a fine-tuning.

    Attributes:
        folder: of the run.
        weights: the file that describes itself.
        val: scores of the validation split.
        test: scores of the test split; empty without one.
        temperature: of :class:`~sarhub_models.Predictor`.
        calibration_error: expected calibration error on the test split (without one, the validation split), before and
            after the temperature.
        skipped: by name, why a chip was left out.
    """

    folder: Path
    weights: Path
    val: dict[str, float]
    test: dict[str, float]
    temperature: float
    calibration_error: tuple[float, float]
    skipped: dict[str, str]


def describe_weights(folder: Path, val: ChipsDataset, images: dict[str, Any], *, workers: int = 0) -> float:
    """Return the temperature of the validation split; it and what the images hold go into the weights file."""
    file = folder / BEST
    info = require_description(file)
    training = {**(info.training or {}), "images": images, "temperature": 1.0}
    _rewrite(file, dataclasses.replace(info, training=training))
    logits = torch.from_numpy(Predictor(folder).logits(val.files, workers=workers))
    temperature = fit_temperature(logits, torch.from_numpy(val.labels))
    _rewrite(file, dataclasses.replace(info, training={**training, "temperature": temperature}))
    return temperature


def _rewrite(file: Path, info: Any) -> None:
    write_weights(load_file(file), file, info=to_metadata(info))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return what logits must be divided by so that the likelihood of the labels is largest.

    One more sample, which is as likely of every class, counts along: without any error among the others no temperature
    were small enough, and probabilities would become 0 and 1.

    Args:
        logits: float (N, C).
        labels: int64 (N,), or zeros and ones (N, C).

    Source: Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks, ICML 2017.
    """

    share = 1 / (len(labels) + 1)  # of that sample

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / float(np.exp(log_temperature))
        if labels.ndim == 2:
            targets = (1 - share) * labels.double() + share / 2
            return torch.nn.functional.binary_cross_entropy_with_logits(scaled, targets).item()
        return torch.nn.functional.cross_entropy(scaled, labels, label_smoothing=share).item()

    return round(float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded").x)), 6)


def calibration_error(chances: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error: how far confidences are from the shares of what is right, in [0, 1]."""
    if labels.ndim == 2:
        return binary_calibration_error(chances.flatten(), labels.flatten().long(), n_bins=_BINS).item()
    return multiclass_calibration_error(chances, labels, num_classes=chances.shape[1], n_bins=_BINS).item()


def write_report(
    folder: Path, split: ChipsDataset, name: str, *, workers: int = 0
) -> tuple[dict[str, float], tuple[float, float]]:
    """Predict a split from the weights file and write what came out.

    Leaves ``<name>_predictions.csv``, ``<name>_scores.csv``, ``<name>_classes.csv`` (precision, recall, F1 and number
    of chips of each class), ``<name>.png`` (confusion matrix, or the F1 of each class) and ``<name>_calibration.png``.

    Returns:
        The scores of :func:`~sarhub_models.engine.metrics.make_metrics`, and the expected calibration error before and
        after the temperature.
    """
    predictor = Predictor(folder)
    logits = torch.from_numpy(predictor.logits(split.files, workers=workers))
    found = predictor.decide(logits.numpy(), split.names)
    write_table(found.table(), folder / f"{name}_predictions.csv")
    chances, labels = torch.from_numpy(found.probabilities), torch.from_numpy(split.labels).long()
    scores = plain(make_metrics(len(split.class_names), split.multilabel)(chances, labels))
    detail = make_detail(len(split.class_names), split.multilabel)(chances, labels)
    plot_detail(detail, split.class_names, folder / f"{name}.png")
    write_table(_class_scores(found, split.labels, split.class_names), folder / f"{name}_classes.csv")
    raw = probabilities(logits, split.multilabel)
    errors = calibration_error(raw, labels), calibration_error(chances, labels)
    rows = {**scores, "calibration_error_before": errors[0], "calibration_error": errors[1]}
    write_table([{"score": key, "value": f"{value:.6f}"} for key, value in rows.items()], folder / f"{name}_scores.csv")
    plot_calibration({"before": raw, "after": chances}, labels, folder / f"{name}_calibration.png")
    return scores, errors


def _class_scores(found: Predictions, labels: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    if labels.ndim == 2:
        predicted: np.ndarray = found.probabilities >= 0.5
    else:
        predicted = found.probabilities.argmax(axis=1)
    columns = precision_recall_fscore_support(
        labels, predicted, labels=list(range(len(class_names))), zero_division=0, average=None
    )
    return [
        {"class": name, "precision": f"{p:.4f}", "recall": f"{r:.4f}", "f1": f"{f:.4f}", "chips": int(n)}
        for name, p, r, f, n in zip(class_names, *columns, strict=True)
    ]
