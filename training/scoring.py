"""Scores of a network on the samples of a loader, together with what other processes score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .augment import by_size
from .metrics import make_detail, make_metrics, plain, probabilities


@torch.inference_mode()
def score(
    model: nn.Module,
    loader: Iterable[Any],
    transform: nn.Module,
    num_classes: int,
    multilabel: bool,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, float], Tensor]:
    """Score a network on the samples of a loader, together with what other processes score.

    Args:
        model: network on the device; it is left in evaluation mode.
        loader: batches of :mod:`training.batches`, this process's share.
        transform: amplitude (B, 1, H, W) → input.
        num_classes: outputs of the network.
        multilabel: whether a sample carries several labels.
        device: where to compute.

    Returns:
        The scores of :func:`~training.metrics.make_metrics`, and the counts of
        :func:`~training.metrics.make_detail` for the figure, on the CPU.
    """
    model.eval()
    metrics, detail = make_metrics(num_classes, multilabel).to(device), make_detail(num_classes, multilabel).to(device)
    for batch in loader:
        if not batch.names:  # all of it was damaged
            continue
        batch = batch.to(torch.device(device))
        images = by_size(batch.images, torch.zeros(len(batch.names)), lambda x, _: transform(x))
        predicted, labels = probabilities(model(images), multilabel), batch.labels.long()
        metrics.update(predicted, labels)
        detail.update(predicted, labels)
    return plain(metrics.compute()), detail.compute().cpu()
