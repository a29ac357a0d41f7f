"""Windows of one size that cover a raster: where they begin, and what is cut out of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["cut", "grid", "paste"]


def grid(height: int, width: int, *, window: int, stride: int) -> list[tuple[int, int]]:
    """Return the top and left ends of windows that cover a raster; the last ones end where it ends.

    A raster that is smaller than a window is covered by one that reaches beyond it.

    >>> grid(100, 250, window=100, stride=80)
    [(0, 0), (0, 80), (0, 150)]
    """
    return [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]


def _starts(length: int, window: int, stride: int) -> list[int]:
    count = max(0, math.ceil((length - window) / stride))
    return [min(index * stride, length - window) for index in range(count)] + [max(0, length - window)]


def cut(array: np.ndarray, top: int, left: int, *, window: int, beyond: Any = None) -> np.ndarray:
    """Return a window of an array.

    Args:
        array: (..., H, W).
        top: its first row.
        left: its first column.
        window: its side.
        beyond: value beyond the ends of the array; by default it is mirrored there.

    Returns:
        (..., window, window).
    """
    part = array[..., top : top + window, left : left + window]
    missing = [(0, 0)] * (part.ndim - 2) + [(0, window - part.shape[-2]), (0, window - part.shape[-1])]
    if not any(after for _, after in missing):
        return np.ascontiguousarray(part)
    return np.pad(part, missing, mode="symmetric") if beyond is None else np.pad(part, missing, constant_values=beyond)


def paste(into: np.ndarray, values: np.ndarray, left: int) -> None:
    """Add the values (..., S, S) of a window to a sum (..., S, W), weighed by the nearness to the window's middle.

    Args:
        into: sum of the weighed values, float; changed.
        values: of the window; those beyond the last column are left out.
        left: its first column.
    """
    side = values.shape[-1]
    ramp = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float32) / side
    width = min(side, into.shape[-1] - left)
    into[..., left : left + width] += values[..., :width] * np.outer(ramp, ramp[:width])
