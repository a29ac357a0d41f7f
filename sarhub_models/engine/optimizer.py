"""The optimizer of a recipe and the schedule of its learning rate."""

from __future__ import annotations

import torch
from torch import nn

from .initialization import parameter_groups
from .recipe import Optim


def make_optimizer(
    model: nn.Module, optim: Optim, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimizer of a recipe and its schedule, which moves with every step of the optimizer.

    Args:
        model: its parameters are optimized.
        optim: the recipe's section.
        steps: mini-batches of an epoch.
    """
    max_lr, moves = optim.max_lr * optim.lr_factor, steps // optim.accumulate
    groups = parameter_groups(model, optim.weight_decay, optim.decay_vectors)
    optimizer: torch.optim.Optimizer
    if optim.name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=max_lr, eps=optim.eps, fused=True)
    else:
        nesterov = optim.momentum > 0
        optimizer = torch.optim.SGD(groups, lr=max_lr, momentum=optim.momentum, nesterov=nesterov, fused=True)
    if optim.schedule == "onecycle":
        cycle = optim.name == "adamw"  # PyTorch's default, SAR-HUB's training has it; SGD keeps the momentum asked for
        total = optim.epochs * moves
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total, cycle_momentum=cycle)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, optim.step_epochs * moves, optim.step_factor)
