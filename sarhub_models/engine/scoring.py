"""Outputs of a network for the samples of a loader, or scores of them together with other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import DataError
from .metrics import make_detail, make_metrics, plain, probabilities


class Outputs(NamedTuple):
    """Outputs of a network for samples.

    Attributes:
        names: of the samples.
        labels: int64 (N,), or float32 (N, C) of zeros and ones.
        values: float32 (N, D).
    """

    names: list[str]
    labels: Tensor
    values: Tensor


@torch.inference_mode()
def collect(
    function: Callable[[Tensor], Tensor],
    loader: Iterable[Any],
    transform: nn.Module,
    *,
    device: torch.device | str = "cpu",
) -> Outputs:
    """Apply a function to all samples of a loader; damaged ones that were left out are not among them.

    Args:
        function: network inputs (B, 3, S, S) on the device → (B, D).
        loader: batches of :mod:`sarhub_models.engine.batches`.
        transform: amplitude (B, 1, H, W), or a list of (1, H, W) of several sizes, → input.
        device: where to compute.

    Returns:
        The results on the CPU.

    Raises:
        DataError: none of the samples can be read.
    """
    names: list[str] = []
    labels, values = [], []
    for batch in loader:
        if not batch.names:
            continue
        batch = batch.to(torch.device(device))
        inputs = transform(batch.images)
        names += batch.names
        labels.append(batch.labels.cpu())
        values.append(function(inputs).float().cpu())
    if not names:
        raise DataError("none of the samples can be read")
    return Outputs(names, torch.cat(labels), torch.cat(values))


@torch.inference_mode()
def score(
    model: nn.Module,
    loader: Iterable[Any],
    transform: nn.Module,
    num_classes: int,
    multilabel: bool,
    *,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, float], Tensor]:
    """Score a network on the samples of a loader, together with what other processes score.

    Args:
        model: network on the device; it is left in evaluation mode.
        loader: batches of :mod:`sarhub_models.engine.batches`, this process's share.
        transform: amplitude (B, 1, H, W), or a list of (1, H, W) of several sizes, → input.
        num_classes: outputs of the network.
        multilabel: whether a sample carries several labels.
        device: where to compute.

    Returns:
        The scores of :func:`~sarhub_models.engine.metrics.make_metrics`, and the counts of
        :func:`~sarhub_models.engine.metrics.make_detail` for the figure, on the CPU.
    """
    model.eval()
    metrics, detail = make_metrics(num_classes, multilabel).to(device), make_detail(num_classes, multilabel).to(device)
    for batch in loader:
        if not batch.names:  # all of it was damaged
            continue
        batch = batch.to(torch.device(device))
        images = transform(batch.images)
        predicted, labels = probabilities(model(images), multilabel), batch.labels.long()
        metrics.update(predicted, labels)
        detail.update(predicted, labels)
    return plain(metrics.compute()), detail.compute().cpu()
