"""Find σ: chip by chip with an optimizer, or with a U-Net that was trained on many chips."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from .layers import Feature
from .objective import distortion, disturb, entropy, grid_shape, loss, standard_noise
from .unet import SigmaUNet

__all__ = ["Amortized", "Direct", "Problem", "feature_variance", "generator"]

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Problem:
    """The loss and everything that it depends on but σ.

    Attributes:
        feature: f.
        patch: side of a patch in pixels.
        alpha: weight of the entropy.
        draws: S.
        exact: draw S times (:func:`~sarhub_models.explain.objective.standard_noise`).
        batch: the B of the loss.
        seed: of all that is drawn at random.
        channel: the only one that noise disturbs; ``None``: all of them.
    """

    feature: Feature
    patch: int
    alpha: float
    draws: int
    exact: bool
    batch: int
    seed: int
    channel: int | None = None

    def __post_init__(self) -> None:
        if min(self.patch, self.draws, self.batch) < 1 or self.seed < 0:
            raise OptionError(
                "expected patch, draws and batch of at least 1 and seed of at least 0, "
                f"got {self.patch}, {self.draws}, {self.batch} and {self.seed}"
            )
        if not self.alpha > 0:
            raise OptionError(f"expected alpha above 0, got {self.alpha}: without entropy, no noise is best")

    def noise(self, chips: Tensor, *generators: torch.Generator) -> Tensor:
        """Return noise for chips."""
        noise = standard_noise(chips.shape, self.draws, generators, exact=self.exact)
        if self.channel is None:
            return noise
        if not 0 <= self.channel < chips.shape[1]:
            raise OptionError(f"expected a channel from 0 to {chips.shape[1] - 1}, got {self.channel}")
        return noise * (torch.arange(chips.shape[1], device=noise.device) == self.channel)[:, None, None]

    def distortion(self, chips: Tensor, still: Tensor, sigma: Tensor, noise: Tensor, variance: Tensor) -> Tensor:
        """Return ‖f(x') − f(x)‖² / Var(f(x)) of each chip."""
        return distortion(self.feature(disturb(chips, sigma, self.patch, noise)), still, variance)


def generator(device: torch.device, *key: int) -> torch.Generator:
    """Return random numbers of their own for each key."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(seed)


@torch.no_grad()
def feature_variance(feature: Feature, chips: Tensor, chunk: int, device: torch.device) -> Tensor:
    """Return Var(f(x)): of all numbers of the features of all chips, unbiased, a float64 scalar."""
    count, mean, squares = 0, 0.0, 0.0
    for part in chips.split(chunk):
        values = feature(part.to(device)).double()
        size, center = values.numel(), values.mean().item()
        squares += (values - center).square().sum().item() + (center - mean) ** 2 * count * size / (count + size)
        mean += (center - mean) * size / (count + size)
        count += size
    return torch.tensor(squares / max(count - 1, 1), dtype=torch.float64, device=device)


@dataclass(frozen=True)
class Direct:
    """σ of each chip by itself: Adam on log σ, all chips of a chunk at once; no training, no network beside f.

    It starts from the power of 2 that is best for all patches of a chip. The noise is drawn anew in each step, so the
    second half of the iterates is averaged.

    Attributes:
        steps: of Adam, each one pass through f and back.
        learning_rate: of log σ at the start; it falls to 0 as a half cosine.
        max_sigma: no σ becomes larger. Where f reads nothing, or where it saturates, the loss has no other end.
        chunk: chips at once.
    """

    steps: int = 150
    learning_rate: float = 0.1
    max_sigma: float = 10.0
    chunk: int = 16

    def __post_init__(self) -> None:
        if min(self.steps, self.chunk) < 1 or not (self.learning_rate > 0 and self.max_sigma > 0):
            raise OptionError(f"expected steps, learning rate, max_sigma and chunk above 0, got {self}")

    def work(self, chips: Tensor) -> int:
        """Return the number of chip-steps, for a progress bar."""
        return len(chips) * self.steps

    def sigma(self, problem: Problem, chips: Tensor, variance: Tensor, advance: Progress) -> Tensor:
        """Return σ of every patch, (N, R, C).

        Args:
            problem: the loss. A chip's noise depends on the seed and its number alone.
            chips: (N, C, H, W).
            variance: Var(f(x)), on the device of the network.
            advance: called with the chip-steps that were done.
        """
        parts = []
        for first in range(0, len(chips), self.chunk):
            part = chips[first : first + self.chunk].to(variance.device)
            noises = [generator(variance.device, problem.seed, first + n) for n in range(len(part))]
            parts.append(self._optimize(problem, part, variance, noises, advance))
        return torch.cat(parts)

    def _optimize(
        self, problem: Problem, chips: Tensor, variance: Tensor, noises: list[torch.Generator], advance: Progress
    ) -> Tensor:
        with torch.no_grad():
            still = problem.feature(chips)
        log_sigma = self._start(problem, chips, still, variance, noises).requires_grad_()
        adam = torch.optim.Adam([log_sigma], self.learning_rate, betas=(0.9, 0.95))
        total, kept = torch.zeros_like(log_sigma), self.steps - self.steps // 2
        for step in range(self.steps):
            adam.param_groups[0]["lr"] = self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            sigma = log_sigma.exp()
            moved = problem.distortion(chips, still, sigma, problem.noise(chips, *noises), variance)
            (log_sigma.grad,) = torch.autograd.grad(
                loss(moved, sigma, alpha=problem.alpha, batch=problem.batch), log_sigma
            )
            adam.step()
            with torch.no_grad():
                log_sigma.clamp_(max=math.log(self.max_sigma))
                if step >= self.steps - kept:
                    total += log_sigma
            advance(len(chips))
        return (total / kept).exp().detach()

    @torch.no_grad()
    def _start(
        self, problem: Problem, chips: Tensor, still: Tensor, variance: Tensor, noises: list[torch.Generator]
    ) -> Tensor:
        """Return log σ (B, R, C), constant in each chip: the best of a coarse grid."""
        rows, columns = grid_shape(chips.shape[-2:], problem.patch)
        candidates = [self.max_sigma / 2**k for k in range(1, 16)]
        losses = []
        for value in candidates:
            sigma = torch.full((len(chips), rows, columns), value, device=chips.device)
            moved = problem.distortion(chips, still, sigma, problem.noise(chips, *noises), variance)
            losses.append(moved / problem.batch - problem.alpha * entropy(sigma).sum(dim=(1, 2)))
        best = torch.stack(losses).nan_to_num(nan=math.inf).argmin(dim=0)
        values = torch.tensor(candidates, device=chips.device)[best].log()
        return values[:, None, None].repeat(1, rows, columns)


@dataclass(frozen=True)
class Amortized:
    """σ by a U-Net that is trained on a set of chips and then needs one pass for each new chip.

    Attributes:
        epochs: passes over the chips.
        learning_rate: of AdamW at the peak of a one-cycle schedule, which starts at 1/25 of it.
        weight_decay: of AdamW.
        width: channels of the U-Net's first level; each of the four below has twice as many.
        chunk: chips at once when it explains. When it is trained, the problem's ``batch`` are.
    """

    epochs: int = 500
    learning_rate: float = 2.5e-4
    weight_decay: float = 0.05
    width: int = 64
    chunk: int = 16

    def __post_init__(self) -> None:
        if min(self.epochs, self.width, self.chunk) < 1 or not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise OptionError(f"expected epochs, width, chunk and learning rate above 0, got {self}")

    def build(self, channels: int, patch: int, seed: int) -> SigmaUNet:
        """Return an untrained U-Net; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SigmaUNet(channels, patch=patch, width=self.width)

    def steps(self, problem: Problem, count: int) -> int:
        """Return the number of training steps for so many chips."""
        return self.epochs * -(-count // problem.batch)

    def train(
        self,
        problem: Problem,
        unet: SigmaUNet,
        chips: Tensor,
        advance: Progress,
        *,
        stop: Callable[[int, float], bool] = lambda step, value: False,
    ) -> list[float]:
        """Train a U-Net in place and leave it in evaluation mode.

        Args:
            problem: the loss; Var(f(x)) is that of each mini-batch.
            unet: of :meth:`build`, on the device of the network.
            chips: (N, C, H, W).
            advance: called with the steps that were done.
            stop: told step and loss; whether to end the training there.

        Returns:
            The loss of each step.
        """
        device = next(unet.parameters()).device
        total = self.steps(problem, len(chips))
        adam = torch.optim.AdamW(unet.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, self.learning_rate, total_steps=total)
        noise = generator(device, problem.seed, 0)
        order = generator(torch.device("cpu"), problem.seed, 1)
        losses: list[float] = []
        unet.train()
        for _ in range(self.epochs):
            for indices in torch.randperm(len(chips), generator=order).split(problem.batch):
                batch = chips[indices].to(device)
                with torch.no_grad():
                    still = problem.feature(batch)
                    variance = still.double().var()
                sigma = unet(batch)
                value = loss(
                    problem.distortion(batch, still, sigma, problem.noise(batch, noise), variance),
                    sigma,
                    alpha=problem.alpha,
                )
                adam.zero_grad()
                value.backward()
                adam.step()
                schedule.step()
                losses.append(value.item())
                advance(1)
                if stop(len(losses), losses[-1]):
                    unet.eval()
                    return losses
        unet.eval()
        return losses

    @torch.no_grad()
    def sigma(self, unet: SigmaUNet, chips: Tensor) -> Tensor:
        """Return σ of every patch, (N, R, C)."""
        device = next(unet.parameters()).device
        return torch.cat([unet(part.to(device)) for part in chips.split(self.chunk)])
