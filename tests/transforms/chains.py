"""Chains of one band, for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from sarhub_models.transforms import Pipeline

VIEWS = [np.flipud, np.fliplr, np.rot90, np.transpose, lambda x: x[:, ::-2], lambda x: x[1:, 1:-1]]
"""Ways to look at an image (H, W) that leave its memory as it is."""


def speckle(*shape: int) -> np.ndarray:
    """Return amplitude as radar images have it, float32 in [0, 1]."""
    return np.random.default_rng(7).rayleigh(0.1, shape).clip(0, 1).astype(np.float32)


def chain(
    operator: str,
    low: float,
    high: float,
    eval_value: float,
    mean: float,
    std: float,
    size: int | None = None,
    *,
    channels: int = 3,
    crop: int | None = None,
    **options: Any,
) -> Pipeline:
    """Return the chain of weights for amplitude of one band; ``options`` are those of ``from_dict``."""
    parameter = {"operator": operator, "low": low, "high": high, "eval_value": eval_value}
    fields = {
        "input": {"bands": ["VV"], "radiometry": "amplitude", "range": [0, 1], "channels": channels},
        "preprocessing": {"mean": [mean], "std": [std], "size": size, "crop": crop, **parameter},
    }
    return Pipeline.from_dict(fields, **options)
