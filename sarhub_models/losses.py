"""Class-balanced losses: every class weighs by its effective number of samples.

The weight of a class with ``n`` samples is ``(1 - beta) / (1 - beta**n)`` (Cui et al., Class-Balanced Loss Based on
Effective Number of Samples, CVPR 2019). :class:`ClassBalancedLoss` counts over the training set,
:class:`MiniBatchClassBalancedLoss` over the current mini-batch (Yang et al., SAR-HUB, Remote Sensing 15(23), 2023).

With a focal exponent ``gamma`` two forms exist. ``"per_sample"`` is the textbook one (Lin et al., Focal Loss, ICCV
2017): each sample's loss is multiplied by ``(1 - p)**gamma`` of that sample. ``"released"`` is what SAR-HUB's
published code computes: the weighted mean ``L`` comes first, ``p = exp(-L)``, and the loss is the mean over all
classes of ``w * (1 - p)**gamma * L``.

Distributed training: in training mode, under an initialized process group, the mini-batch is the global one. One small
all-reduce sums the class counts (the ``"released"`` form adds one of a scalar). Gradients are scaled so that their
average over the ranks, which is what DistributedDataParallel takes, is the gradient of the loss of the global batch;
the average of the returned values is its value. Every rank must take part; in evaluation mode (``loss.eval()``)
nothing is exchanged.

Checks: shapes and dtypes are always checked. Values (finite logits, labels in range) are checked on CPU tensors only,
because on an accelerator the check would make the host wait. There, and under ``torch.compile``, labels are checked
by an assertion on the device (``RuntimeError``), and logits that are not finite make the loss NaN.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import InputError, UnknownNameError, closest

__all__ = [
    "LOSSES",
    "ClassBalancedLoss",
    "CrossEntropyLoss",
    "Loss",
    "MiniBatchClassBalancedLoss",
    "class_balanced_weights",
    "make_loss",
    "nt_xent",
    "register",
]

Form = Literal["per_sample", "released"]


class Loss(nn.Module, abc.ABC):
    """A loss of logits (B, C) and targets, (B,) or for several labels (B, C); a subclass is registered by its name."""

    @classmethod
    @abc.abstractmethod
    def for_training(cls, counts: Tensor, *, multilabel: bool, **options: Any) -> Loss:
        """Return the loss for a training split.

        Args:
            counts: samples of each class, int64 (C,).
            multilabel: whether a sample carries several labels.
            **options: ``beta``, ``gamma`` and ``form``; a loss takes those that it knows, and leaves the others.
        """


LOSSES: dict[str, type[Loss]] = {}
"""Every loss by the name that a recipe gives it (``loss.name``)."""
_Registered = TypeVar("_Registered", bound=type[Loss])


def register(name: str) -> Callable[[_Registered], _Registered]:
    """Enter a class in :data:`LOSSES`; a decorator."""

    def enter(loss: _Registered) -> _Registered:
        LOSSES[name] = loss
        return loss

    return enter


def make_loss(name: str, counts: Tensor, *, multilabel: bool = False, **options: Any) -> Loss:
    """Return the loss of that name for a training split.

    Args:
        name: of :data:`LOSSES`.
        counts: samples of each class, int64 (C,).
        multilabel: whether a sample carries several labels.
        **options: ``beta``, ``gamma`` and ``form``, as :class:`ClassBalancedLoss` has them.

    Raises:
        UnknownNameError: there is no such loss.
        InputError: an option is out of range.
    """
    if name not in LOSSES:
        raise UnknownNameError(f"no loss is called {name!r}{closest(name, LOSSES)}; known: {', '.join(LOSSES)}")
    return LOSSES[name].for_training(counts, multilabel=multilabel, **options)


def class_balanced_weights(counts: Tensor | Sequence[int], beta: float) -> Tensor:
    """Return the weight ``(1 - beta) / (1 - beta**n)`` of each class (Cui et al. 2019, eq. 2).

    Args:
        counts: samples per class, (C,), not negative; a class with none counts as having one.
        beta: in [0, 1); 0 weighs all classes alike, values towards 1 approach the inverse frequency.

    Returns:
        Weights (C,) in (0, 1], float64 for float64 counts and float32 otherwise.

    Raises:
        InputError: ``beta`` is out of range, or ``counts`` is not one-dimensional, not finite or negative.

    >>> class_balanced_weights([1, 1000], beta=0.995)
    tensor([1.0000, 0.0050])
    """
    if not 0.0 <= beta < 1.0:
        raise InputError(f"beta must lie in [0, 1), got {beta}")
    n = torch.as_tensor(counts)
    if n.ndim != 1:
        raise InputError(f"counts must be one number per class, got shape {tuple(n.shape)}")
    if not (n.isfinite() & (n >= 0)).all():
        raise InputError(f"counts must be finite and not negative, got {n.tolist()}")
    return _weights(n, beta)


def _weights(n: Tensor, beta: float) -> Tensor:
    """Return the weights for counts that need no check, for which a GPU would have to be waited for."""
    n = n.to(torch.float64 if n.dtype == torch.float64 else torch.float32).clamp_min(1)
    log_beta = math.log(beta) if beta > 0 else -math.inf
    weights = (1.0 - beta) / -torch.expm1(n * log_beta)  # 1 - beta**n without cancellation for beta near 1
    return weights.clamp_max(1.0)  # rounding may lift the weight of a single sample above 1


@register("ce")
class CrossEntropyLoss(Loss):
    """Cross-entropy, or for ``multilabel`` binary cross-entropy, with all samples and classes of one weight."""

    def __init__(self, multilabel: bool = False) -> None:
        super().__init__()
        self.multilabel = multilabel

    @classmethod
    def for_training(cls, counts: Tensor, *, multilabel: bool, **options: Any) -> CrossEntropyLoss:
        """Return the loss; neither the counts nor the options matter."""
        return cls(multilabel)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a mini-batch."""
        if self.multilabel:
            return F.binary_cross_entropy_with_logits(logits, targets)
        return F.cross_entropy(logits, targets)


class _BalancedLoss(Loss):
    """The common part of both losses: all but the counts behind the class weights."""

    def __init__(self, num_classes: int, beta: float, gamma: float | None, multilabel: bool, form: Form) -> None:
        super().__init__()
        if num_classes < 1:
            raise InputError(f"expected at least one class, got {num_classes}")
        if not 0.0 <= beta < 1.0:
            raise InputError(f"beta must lie in [0, 1), got {beta}")
        if gamma is not None and gamma < 0:
            raise InputError(f"gamma must be None (no focal factor) or not negative, got {gamma}")
        if form not in ("per_sample", "released"):
            raise InputError(f"form must be 'per_sample' or 'released', got {form!r}")
        self.num_classes = num_classes
        self.beta = beta
        self.gamma = gamma
        self.multilabel = multilabel
        self.form = form

    @abc.abstractmethod
    def class_weights(self, batch_counts: Tensor) -> Tensor:
        """Return the weights (C,) for a global mini-batch with these counts (C,)."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a mini-batch.

        Args:
            logits: (B, C), any floating dtype; half precision is computed in float32, also under autocast.
            targets: class indices (B,) int64, or for ``multilabel`` (B, C) zeros and ones of any dtype.

        Returns:
            A scalar of the dtype of ``logits``, or float32 for half precision.

        Raises:
            InputError: wrong shape or dtype, empty batch, and on the CPU labels out of range or logits not finite.
        """
        self._check(logits, targets)
        with torch.autocast(logits.device.type, enabled=False):
            if logits.dtype in (torch.float16, torch.bfloat16):
                logits = logits.float()
            classes = torch.arange(self.num_classes, device=targets.device)
            positive = targets != 0 if self.multilabel else targets[:, None] == classes
            size = positive.new_full((1,), len(logits), dtype=logits.dtype)
            totals, world = self._global_sum(torch.cat([positive.sum(0).to(logits.dtype), size]))
            counts = totals[:-1]
            weights = self.class_weights(counts).to(logits.dtype)
            if self.multilabel:
                losses = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")
                sample_weights, normalizer = weights, totals[-1] * weights.sum()
            else:
                losses = F.cross_entropy(logits, targets, reduction="none")
                sample_weights, normalizer = weights[targets], (weights * counts).sum()
            if self.gamma is not None and self.form == "per_sample":
                losses = self._focal_factor(losses) * losses
            mean = world * (sample_weights * losses).sum() / normalizer
            if self.gamma is not None and self.form == "released":
                mean = self._global_value(mean, world)
                mean = weights.mean() * self._focal_factor(mean) * mean
            return mean

    def _focal_factor(self, losses: Tensor) -> Tensor:
        """``(1 - p)**gamma`` with ``p = exp(-loss)``; the clamp keeps the slope finite at p = 1 for gamma < 1."""
        assert self.gamma is not None
        return (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny) ** self.gamma

    def _global_sum(self, values: Tensor) -> tuple[Tensor, int]:
        """Return the sum over the ranks and their number; in evaluation, and in one process, the values and 1."""
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return values, 1
        dist.all_reduce(values)
        return values, dist.get_world_size()

    def _global_value(self, mean: Tensor, world: int) -> Tensor:
        """Return the global mean as value; its gradient stays this rank's, scaled by the number of ranks."""
        if world == 1:
            return mean
        total, _ = self._global_sum(mean.detach().clone())
        return mean + (total / world - mean.detach())

    def _check(self, logits: Tensor, targets: Tensor) -> None:
        if logits.ndim != 2 or logits.shape[1] != self.num_classes or not logits.is_floating_point():
            raise InputError(
                f"expected floating-point logits of shape (B, {self.num_classes}), "
                f"got {logits.dtype} of shape {tuple(logits.shape)}"
            )
        if len(logits) == 0:
            raise InputError("the mini-batch is empty; drop it before computing the loss")
        expected = tuple(logits.shape) if self.multilabel else (len(logits),)
        if tuple(targets.shape) != expected or (not self.multilabel and targets.dtype != torch.int64):
            kind = "zeros and ones" if self.multilabel else "class indices (torch.int64)"
            raise InputError(
                f"expected targets of shape {expected} holding {kind}, "
                f"got {targets.dtype} of shape {tuple(targets.shape)}"
            )
        valid = (targets == 0) | (targets == 1) if self.multilabel else (targets >= 0) & (targets < self.num_classes)
        allowed = "0 or 1" if self.multilabel else f"0 to {self.num_classes - 1}"
        if logits.device.type != "cpu" or torch.compiler.is_compiling():
            torch._assert_async(valid.all(), f"a target is out of range: expected {allowed}")
            return
        if not valid.all():
            raise InputError(f"target {targets[~valid][0].item()} is out of range: expected {allowed}")
        if not logits.isfinite().all():
            raise InputError(
                "the logits hold NaN or infinite values: the training diverged, or its input was not finite"
            )


@register("cbl")
class ClassBalancedLoss(_BalancedLoss):
    """Class-balanced cross-entropy or focal loss with weights from the whole training set (CBL).

    Args:
        counts: training samples per class, (C,); for ``multilabel`` the positives of each class.
        beta: in [0, 1), see :func:`class_balanced_weights`.
        gamma: exponent of the focal factor, not negative; ``None`` gives cross-entropy.
        multilabel: whether each class is decided on its own (binary cross-entropy) instead of one among all.
        form: with ``gamma``, the focal form, see the module's description.

    Raises:
        InputError: an argument is out of range.

    Without ``gamma`` the loss is ``sum(w_y * ce) / sum(w_y)``; ``per_sample`` has the same denominator, so that
    ``gamma=0`` equals ``gamma=None``. For ``multilabel`` the mean runs over all samples and classes with weight w_c.

    >>> ClassBalancedLoss([100, 10])(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
    tensor(0.6931)
    """

    weight: Tensor

    def __init__(
        self,
        counts: Tensor | Sequence[int],
        *,
        beta: float = 0.995,
        gamma: float | None = None,
        multilabel: bool = False,
        form: Form = "per_sample",
    ) -> None:
        counts = torch.as_tensor(counts)
        weight = class_balanced_weights(counts, beta)
        super().__init__(len(counts), beta, gamma, multilabel, form)
        self.register_buffer("weight", weight)

    @classmethod
    def for_training(cls, counts: Tensor, *, multilabel: bool, **options: Any) -> ClassBalancedLoss:
        """Return the loss with the counts of the split."""
        return cls(counts, multilabel=multilabel, **options)

    def class_weights(self, batch_counts: Tensor) -> Tensor:
        """Return the weights (C,) of the training set; the mini-batch does not matter."""
        return self.weight


@register("mini_cbl")
class MiniBatchClassBalancedLoss(_BalancedLoss):
    """Class-balanced cross-entropy or focal loss with weights from the current mini-batch (mini-CBL).

    Args:
        num_classes: number of classes C.
        beta: in [0, 1), see :func:`class_balanced_weights`.
        gamma: exponent of the focal factor, not negative; ``None`` gives cross-entropy.
        multilabel: whether each class is decided on its own (binary cross-entropy) instead of one among all.
        form: with ``gamma``, the focal form, see the module's description.

    Raises:
        InputError: an argument is out of range.

    >>> MiniBatchClassBalancedLoss(2)(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
    tensor(0.6931)
    """

    def __init__(
        self,
        num_classes: int,
        *,
        beta: float = 0.995,
        gamma: float | None = None,
        multilabel: bool = False,
        form: Form = "per_sample",
    ) -> None:
        super().__init__(num_classes, beta, gamma, multilabel, form)

    @classmethod
    def for_training(cls, counts: Tensor, *, multilabel: bool, **options: Any) -> MiniBatchClassBalancedLoss:
        """Return the loss for that many classes."""
        return cls(len(counts), multilabel=multilabel, **options)

    def class_weights(self, batch_counts: Tensor) -> Tensor:
        """Return the weights (C,) for the counts of this (global) mini-batch."""
        return _weights(batch_counts, self.beta)


def nt_xent(first: Tensor, second: Tensor, *, temperature: float = 0.2) -> Tensor:
    """Return the contrastive loss of two views: each sample's views shall be more alike than those of all others.

    The normalized temperature-scaled cross-entropy of SimCLR (Chen, Kornblith, Norouzi, Hinton, ICML 2020). Under an
    initialized process group the others are those of all processes; all must take part, with as many samples each.

    Args:
        first: projections of one view, floating point (B, D).
        second: those of the other view, (B, D).
        temperature: the cosines are divided by it, above 0.

    Returns:
        The mean over the samples of this process, a float32 scalar.

    Raises:
        InputError: the shapes differ, or the temperature is not above 0.

    >>> nt_xent(torch.eye(2), torch.eye(2), temperature=0.5)
    tensor(0.2395)
    """
    if first.shape != second.shape or first.ndim != 2 or not temperature > 0:
        raise InputError(
            f"expected two views (B, D) and a temperature above 0, got {tuple(first.shape)}, {tuple(second.shape)} and "
            f"{temperature}"
        )
    with torch.autocast(first.device.type, enabled=False):
        views = F.normalize(torch.stack([first.float(), second.float()]), dim=-1)
        everyone, rank = views.flatten(0, 1), 0
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            from torch.distributed.nn.functional import all_gather  # with gradients

            everyone, rank = torch.cat(all_gather(everyone)), dist.get_rank()
        count = len(first)
        own = 2 * count * rank + torch.arange(2 * count, device=first.device)
        logits = views.flatten(0, 1) @ everyone.T / temperature
        logits = logits.scatter(1, own[:, None], -math.inf)  # a view is no other of its own
        return F.cross_entropy(logits, own.roll(count))
