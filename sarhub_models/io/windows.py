"""Windows of one size that cover a raster: where they begin, what is cut out of it, and what has data there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["KNOWN", "cut", "grid", "paste", "shares"]

KNOWN = 0.5
"""Share of pixels with data from which on something that was found counts."""


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


def shares(mask: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the share of pixels in boxes where a mask holds.

    Args:
        mask: bool (H, W).
        boxes: x1, y1, x2, y2 in pixels from the outer corner of the first one, (N, 4) or with more columns; a pixel
            that is cut counts whole, those beyond the mask do not count.

    Returns:
        float64 (N,), from 0 to 1; 0 where a box lies beyond the mask.

    >>> shares(np.array([[True, False], [True, False]]), np.array([[0, 0, 2, 2], [0.2, 0, 0.8, 1]]))
    array([0.5, 1. ])
    """
    sums = np.pad(mask, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    height, width = mask.shape
    left, right = (edge.clip(0, width).astype(np.int64) for edge in (np.floor(boxes[:, 0]), np.ceil(boxes[:, 2])))
    top, bottom = (edge.clip(0, height).astype(np.int64) for edge in (np.floor(boxes[:, 1]), np.ceil(boxes[:, 3])))
    found = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    area = (bottom - top) * (right - left)
    return np.where(area > 0, found / np.maximum(area, 1), 0.0)
