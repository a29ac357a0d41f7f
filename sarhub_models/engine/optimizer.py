"""The optimizer of a recipe and the schedule of its learning rate."""

from __future__ import annotations

import torch
from torch import nn

from .sections import Optim


def make_optimizer(
    model: nn.Module, optim: Optim, steps: int, *, head: tuple[str, ...] = ()
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimizer of a recipe and its schedule, which moves with every step of the optimizer.

    Args:
        model: its parameters are optimized.
        optim: the recipe's section.
        steps: mini-batches of an epoch.
        head: what the names of the head's parameters begin with; needed where the other parts have a learning rate of
            their own.
    """
    max_lr, moves = optim.max_lr * optim.lr_factor, steps // optim.accumulate
    groups = parameter_groups(model, optim, head=head)
    optimizer: torch.optim.Optimizer
    if optim.name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=max_lr, eps=optim.eps, fused=True)
    else:
        nesterov = optim.momentum > 0
        optimizer = torch.optim.SGD(groups, lr=max_lr, momentum=optim.momentum, nesterov=nesterov, fused=True)
    if optim.schedule == "onecycle":
        cycle = optim.name == "adamw"  # PyTorch's default, SAR-HUB's training has it; SGD keeps the momentum asked for
        total = optim.epochs * moves
        peaks = [group["lr"] for group in optimizer.param_groups]
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total, cycle_momentum=cycle)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, optim.step_epochs * moves, optim.step_factor)


def parameter_groups(model: nn.Module, optim: Optim, *, head: tuple[str, ...] = ()) -> list[dict[str, object]]:
    """Return the parameters that are trained: matrices, and vectors (biases, norms), decayed only if asked for.

    Where the backbone has a learning rate of its own, the head's two groups come first, then the backbone's.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decays = (
        (lambda p: p.ndim > 1, optim.weight_decay),
        (lambda p: p.ndim <= 1, optim.weight_decay * optim.decay_vectors),
    )
    if optim.backbone_factor == 1:
        return [{"params": [p for _, p in named if chosen(p)], "weight_decay": decay} for chosen, decay in decays]
    groups: list[dict[str, object]] = []
    for is_head, factor in ((True, 1.0), (False, optim.backbone_factor)):
        part = [p for name, p in named if name.startswith(head) == is_head]
        lr = optim.max_lr * optim.lr_factor * factor
        groups += [
            {"params": [p for p in part if chosen(p)], "weight_decay": decay, "lr": lr} for chosen, decay in decays
        ]
    return [group for group in groups if group["params"]]


def freeze_backbone(model: nn.Module, head: tuple[str, ...]) -> None:
    """Leave all but the head as it is: no gradients, norms with the statistics they have, nothing dropped."""
    model.eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(head))


def keep_norms(model: nn.Module) -> None:
    """Let batch norms use the statistics that they have, in training, too; their scales and shifts are trained."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
