"""A recipe's preprocessing as a chain, the random numbers of its samples, and CutMix.

The numbers are uniform in [0, 1): see :mod:`sarhub_models.engine.seeds`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..transforms import DRAA, Geometry, Pipeline, Speckle, Window
from .sections import Augment, Preprocess
from .seeds import generator

Numbers = float | list[float]
"""A mean or a standard deviation: one number, or one a band."""

INPUT: dict[str, Any] = {"bands": ["single"], "radiometry": "amplitude", "range": [0, 1], "channels": 3}
"""The images that every recipe trains on, as the manifest describes them."""
# Numbers for each sample: operator's parameter, two flips, transposition or angle; a chain without an operator draws
# one that it does not use, so that the others do not depend on the operator.
DRAWS = DRAA.draws + Geometry.draws


def draw(
    seed: int,
    step: int,
    batch_size: int,
    rank: int,
    world: int,
    *,
    rows: int = DRAWS,
    purpose: tuple[str | int, ...] = (),
) -> Tensor:
    """Return the random numbers of one process's samples in one step, float32 (rows, batch_size).

    Args:
        seed: of the run.
        step: number of the mini-batch.
        batch_size: samples of this process.
        rank: of this process.
        world: number of processes.
        rows: numbers for each sample.
        purpose: tells draws of one step apart.
    """
    numbers = torch.rand(rows, batch_size * world, generator=generator(seed, "augment", step, *purpose))
    return numbers[:, rank * batch_size : (rank + 1) * batch_size]


def _listed(numbers: Numbers) -> list[float]:
    return list(numbers) if isinstance(numbers, list) else [numbers]


def rows_of(transform: Pipeline) -> int:
    """Return how many random numbers a chain takes for a sample, at least :data:`DRAWS`."""
    return max(DRAWS, sum(getattr(step, "draws", 0) for step in transform.steps.values()))


def describe(preprocess: Preprocess, mean: Numbers, std: Numbers, *, full_scale: float | None = None) -> dict[str, Any]:
    """Return the preprocessing of a recipe as the manifest describes it.

    Without DRAA the operator's parameter is one number, in training, too.
    """
    p, limits = preprocess, preprocess.range
    if p.given is not None:
        said = {} if full_scale is None else {"full_scale": full_scale}
        return {**p.given, "mean": _listed(mean), "std": _listed(std), **said}
    return {
        "mean": [mean],
        "std": [std],
        "size": p.size,
        "crop": p.crop,
        "operator": p.operator,
        "low": limits.low if p.draa else limits.eval_value,
        "high": limits.high if p.draa else limits.eval_value,
        "eval_value": limits.eval_value,
        "full_scale": full_scale,
    }


def _range(preprocess: Preprocess, operator: str) -> tuple[float, float]:
    limits = preprocess.operators[operator]
    return (limits.low, limits.high) if preprocess.draa else (limits.eval_value, limits.eval_value)


def make_transform(
    preprocess: Preprocess,
    mean: Numbers,
    std: Numbers,
    *,
    augment: Augment | None = None,
    given: Mapping[str, Any] | None = None,
) -> Pipeline:
    """Return the chain of a recipe: an image of its data becomes the input of its network.

    Args:
        preprocess: crop, operator, its range, and the size.
        mean: subtracted after the operator, one number or one a band.
        std: divided by, likewise.
        augment: section of the recipe, for a chain that augments; ``None`` for the chain of evaluation, which users of
            the weights get.
        given: ``data.input`` of the recipe; ``None`` is amplitude in [0, 1].
    """
    options: dict[str, Any] = {"geometry": "none"}
    if augment is not None:
        options = {
            "geometry": augment.geometry,
            "window": augment.window and Window(augment.window, scale=augment.window_scale),
            "speckle": augment.looks and Speckle(augment.looks),
            "operators": {name: _range(preprocess, name) for name in augment.operators},
        }
    return Pipeline.from_dict(
        {"input": INPUT if given is None else given, "preprocessing": describe(preprocess, mean, std)},
        training=augment is not None,
        validate=False,
        **options,
    )


def cutmix(x: Tensor, labels: Tensor, probability: float, rng: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Paste a box of permuted samples into the batch (Yun et al., CutMix, ICCV 2019).

    Args:
        x: images (B, C, H, W).
        labels: (B,) or (B, C).
        probability: of doing it at all.
        rng: source of the random numbers, on the CPU.

    Returns:
        The images, the labels of the pasted boxes, and the share of pixels that stayed (1 if nothing was pasted).
    """
    if torch.rand((), generator=rng).item() >= probability:
        return x, labels, 1.0
    order = torch.randperm(len(x), generator=rng).to(x.device)
    height, width = x.shape[-2:]
    side = math.sqrt(1 - torch.rand((), generator=rng).item())  # the area that stays is uniform, which is Beta(1, 1)
    rows, columns = int(height * side), int(width * side)
    top = int(torch.randint(height - rows + 1, (), generator=rng).item())
    left = int(torch.randint(width - columns + 1, (), generator=rng).item())
    mixed = x.clone()
    box = (..., slice(top, top + rows), slice(left, left + columns))
    mixed[box] = x[order][box]
    return mixed, labels[order], 1 - rows * columns / (height * width)
