"""The head of a network as a linear classifier of the features that the network gives before it is trained.

A random head sends large gradients into the network while it learns, and good features are lost; one that is fitted
first leaves them where they are good already (Kumar et al., Fine-tuning can distort pretrained features and
underperform out-of-distribution, ICLR 2022).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batches import Rank
from .scoring import collect
from .sources import Split

_PENALTIES = tuple(10.0**exponent for exponent in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3))
_FLOOR = 0.1  # of the mean deviation: a feature that hardly varies would get a weight that any change of it upsets
_MOST = 20_000  # samples that the head is fitted to
_BATCH = 64
_ITERATIONS = 100


def fit_head(
    network: nn.Module, train: Split, val: Split | None, transform: nn.Module, *, device: torch.device | str = "cpu"
) -> float:
    """Put a linear classifier of the network's features in its head, and return its mean loss on what it learned from.

    It is a logistic regression on standardized features; the penalty of its weights is the one with the smallest loss
    on the validation split, or a tenth without one.

    Args:
        network: on the device, with timm's ``forward_features``, ``forward_head`` and ``get_classifier``.
        train: training split, of which some ten thousand samples, spread over it, are used.
        val: validation split.
        transform: chain of evaluation.
        device: where to compute.
    """
    x, labels = _features(network, train, transform, device)
    mean, std = x.mean(dim=0), x.std(dim=0)
    std = std.clamp_min(_FLOOR * std.mean().item() + 1e-6)
    x = (x - mean) / std
    held = None if val is None else _features(network, val, transform, device)
    weight, bias = torch.zeros(len(train.class_names), x.shape[1]), torch.zeros(len(train.class_names))
    best: tuple[float, Tensor, Tensor] | None = None
    for penalty in _PENALTIES if held is not None else (0.1,):
        weight, bias = _fit(x, labels, penalty, weight, bias)
        value = 0.0 if held is None else _loss((held[0] - mean) / std @ weight.T + bias, held[1]).item()
        if best is None or value < best[0]:
            best = value, weight, bias
    assert best is not None
    _, weight, bias = best
    head: Any = network.get_classifier()  # type: ignore[operator]
    with torch.no_grad():
        head.weight.copy_(weight / std)
        head.bias.copy_(bias - weight @ (mean / std))
    return _loss(x @ weight.T + bias, labels).item()


def _features(network: Any, split: Split, transform: nn.Module, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return the features of samples, (N, D), and their labels."""
    training = network.training
    network.eval()
    loader = split.evaluation(_BATCH, process=Rank(0, -(-len(split) // _MOST)))
    found = collect(
        lambda x: network.forward_head(network.forward_features(x), pre_logits=True), loader, transform, device=device
    )
    network.train(training)
    return found.values.clone(), found.labels.clone()  # what inference mode made has no gradients


def _fit(x: Tensor, labels: Tensor, penalty: float, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights and biases with the smallest penalized loss, from a start."""
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        value = _loss(x @ weight.T + bias, labels) + penalty * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(step)
    return weight.detach(), bias.detach()


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(dim=1).mean()
    return F.cross_entropy(logits, labels)
