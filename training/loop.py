"""The training loop: AdamW, one-cycle learning rate, mini-batch class-balanced loss, averaged weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from sarhub_models.errors import InputError
from sarhub_models.losses import MiniBatchClassBalancedLoss
from sarhub_models.networks import build

from .augment import cutmix
from .data import Split, TrainingTransform, evaluation_transform, measure_mean_std
from .evaluate import evaluate
from .recipe import Recipe

Row = dict[str, float]


@dataclass(frozen=True)
class Fitted:
    """What a run leaves.

    Attributes:
        state: tensors of the best epoch, averaged weights, by the network's own keys.
        mean: of the pixels after the operator.
        std: of the pixels after the operator.
        history: one row of numbers per epoch.
        best: the row of the best epoch, by overall accuracy on the validation split.
    """

    state: dict[str, Tensor]
    mean: float
    std: float
    history: list[Row]
    best: Row


def fit(recipe: Recipe, train: Split, val: Split, report: Callable[[Row], None]) -> Fitted:
    """Train a network from random initial weights; the same recipe and data give the same numbers.

    Args:
        recipe: the run.
        train: training split.
        val: validation split, evaluated after every epoch with the averaged weights.
        report: called with the row of every epoch.

    Raises:
        InputError: the training split has fewer samples than one mini-batch.
    """
    steps = len(train.labels) // recipe.batch_size
    if steps == 0:
        raise InputError(f"{len(train.labels)} patches to train on are fewer than a batch of {recipe.batch_size}")
    seed_everything(recipe.seed)
    mean, std = measure_mean_std(train.amplitude, recipe)
    augment, transform = TrainingTransform(recipe, mean, std), evaluation_transform(recipe, mean, std)
    model = build(recipe.network, num_classes=len(train.class_names), drop_rate=recipe.dropout)
    reinitialise(model)
    model.to(memory_format=torch.channels_last)
    averaged = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe.weight_decay), lr=recipe.max_lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.max_lr, total_steps=recipe.epochs * steps)
    loss = MiniBatchClassBalancedLoss(len(train.class_names), recipe.beta)

    history: list[Row] = []
    best: Row = {}
    state: dict[str, Tensor] = {}
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        total = 0.0
        for batch in torch.randperm(len(train.labels))[: steps * recipe.batch_size].split(recipe.batch_size):
            value = _step(model, augment(train.amplitude[batch]), train.labels[batch], loss, recipe.cutmix)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            averaged.update(model, step=schedule.last_epoch)
            total += value.item()
        row = {"epoch": epoch, "loss": total / steps, **evaluate(averaged.module, val, transform)}
        history.append(row)
        report(row)
        if not best or row["overall_accuracy"] > best["overall_accuracy"]:
            best = row
            state = {key: tensor.detach().clone().contiguous() for key, tensor in averaged.module.state_dict().items()}
    return Fitted(state, mean, std, history, best)


def _step(model: nn.Module, images: Tensor, labels: Tensor, loss: nn.Module, probability: float) -> Tensor:
    """Compute gradients for one mini-batch and return its loss."""
    images, pasted, kept = cutmix(images, labels, probability)
    logits = model(images.contiguous(memory_format=torch.channels_last))
    value = loss(logits, labels)
    if kept < 1:
        value = kept * value + (1 - kept) * loss(logits, pasted)
    value.backward()
    return value.detach()


def reinitialise(model: nn.Module) -> None:
    """Give convolutions and linear layers PyTorch's own initial weights.

    timm's for the MobileNet family draw a classifier for a thousand classes: with a dozen, the first logits are so
    large that training on a few thousand patches is erratic.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the parameters in two groups: vectors (biases, norms) are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def seed_everything(seed: int) -> None:
    """Seed every generator that training draws from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries below may draw from the global generator)
    torch.manual_seed(seed)
