"""The scores of a split, through torchmetrics: each process adds its share, ``compute`` sees all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MultilabelAveragePrecision,
    MultilabelF1Score,
    MultilabelPrecision,
    MultilabelRecall,
)
from torchmetrics.utilities.data import dim_zero_cat

DEFAULT_MONITOR = {False: "overall_accuracy", True: "mean_average_precision"}


class _ClassAverage(MulticlassAccuracy):
    """Mean recall of the classes that occur; torchmetrics' own mean counts one that is only predicted as 0."""

    def compute(self) -> Tensor:
        """Return the mean."""
        return _mean(super().compute(), _occur(self))


class _LabelF1(MultilabelF1Score):
    """Mean F1 of the labels that occur; torchmetrics' own mean counts others as 0."""

    def compute(self) -> Tensor:
        """Return the mean."""
        return _mean(super().compute(), _occur(self))


class _LabelPrecision(MultilabelAveragePrecision):
    """Mean average precision of the labels that occur; torchmetrics' own mean counts others as 0."""

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the mean."""
        return _mean(super().compute(), (dim_zero_cat(self.target) == 1).any(dim=0))


def _occur(metric: Any) -> Any:
    """Return which classes a metric that counts decisions has seen."""
    return metric.tp + metric.fn > 0


def _mean(scores: Any, occurs: Any) -> Tensor:
    """Return the mean over the classes that occur, 0 where none does."""
    found: Tensor = scores[occurs].mean() if occurs.any() else scores.new_zeros(())
    return found


class SampleF1(Metric):
    """Mean over the samples of each one's F1, 0 where neither a label is set nor one predicted."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add samples: probabilities (B, C), and labels (B, C) of zeros and ones."""
        predicted, actual = probabilities > 0.5, labels > 0
        found = (predicted & actual).sum(dim=1)
        f1 = 2 * found / (predicted.sum(dim=1) + actual.sum(dim=1)).clamp_min(1)
        self.total += f1.double().sum()
        self.count += len(labels)

    def compute(self) -> Tensor:
        """Return the mean."""
        return self.total / self.count


def make_metrics(num_classes: int, multilabel: bool) -> MetricCollection:
    """Return the scores that are reported, each in [0, 1], of probabilities (B, C) and labels.

    One label: overall accuracy, class average (macro recall), macro F1. Several, decided at a probability of ½: F1
    over all decisions (micro), over the classes (macro) and over the samples, precision and recall over all
    decisions, and the mean over the classes of the average precision, which needs no threshold. Means over classes
    are over those that occur among the samples, but for the macro F1 of one label, where one that is predicted counts.
    """
    if not multilabel:
        return MetricCollection(
            {
                "overall_accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "class_average": _ClassAverage(num_classes, average="none"),
                "macro_f1": MulticlassF1Score(num_classes, average="macro"),
            }
        )
    return MetricCollection(
        {
            "f1_micro": MultilabelF1Score(num_classes, average="micro"),
            "f1_macro": _LabelF1(num_classes, average="none"),
            "f1_samples": SampleF1(),
            "precision": MultilabelPrecision(num_classes, average="micro"),
            "recall": MultilabelRecall(num_classes, average="micro"),
            "mean_average_precision": _LabelPrecision(num_classes, average="none"),
        }
    )


def make_detail(num_classes: int, multilabel: bool) -> Metric:
    """Return what the figure of a split shows: counts (C, C), rows true and columns predicted, or F1 (C,)."""
    if multilabel:
        return MultilabelF1Score(num_classes, average="none")
    return MulticlassConfusionMatrix(num_classes)


def probabilities(logits: Tensor, multilabel: bool) -> Tensor:
    """Return what the metrics take; torchmetrics would guess from the values whether they are logits."""
    return logits.float().sigmoid() if multilabel else logits.float().softmax(dim=1)


def plain(values: dict[str, Tensor]) -> dict[str, float]:
    """Return computed scores as numbers."""
    return {name: value.item() for name, value in values.items()}


def check_monitor(monitor: str | None, default: str, known: Sequence[str]) -> str:
    """Return the score by which the best epoch is chosen: the one that is asked for, or the default of the task."""
    from ..errors import UnknownNameError, closest

    name = monitor or default
    if name not in known:
        raise UnknownNameError(
            f"evaluation.monitor={name}: no such score{closest(name, known)}; known: {', '.join(known)}"
        )
    return name
