"""Predictions and the numbers computed from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from .data import Split


@torch.inference_mode()
def predict(model: nn.Module, amplitude: Tensor, transform: nn.Module, batch_size: int = 256) -> Tensor:
    """Return logits (N, C), float32, of patches (N, 1, H, W) with amplitude in [0, 1]."""
    model.eval()
    batches = [model(transform(batch)).float() for batch in amplitude.split(batch_size)]
    return torch.cat(batches)


def score(logits: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Return overall accuracy, class average (macro recall) and macro F1, each in [0, 1]."""
    metrics = MetricCollection(
        {
            "overall_accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "class_average": MulticlassAccuracy(num_classes, average="macro"),
            "macro_f1": MulticlassF1Score(num_classes, average="macro"),
        }
    )
    return {name: value.item() for name, value in metrics(logits, labels).items()}


def confusion(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return counts (C, C); rows are the true classes, columns the predicted ones."""
    return MulticlassConfusionMatrix(num_classes)(logits, labels)


def evaluate(model: nn.Module, split: Split, transform: nn.Module) -> dict[str, float]:
    """Return :func:`score` of a model on a split."""
    return score(predict(model, split.amplitude, transform), split.labels, len(split.class_names))
