"""Measure maps by region (target, shadow, background) and their agreement, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from ..errors import InputError, OptionError
from .knowledge import THRESHOLDS, knowledge_points
from .regions import REGION_NAMES, Regions

__all__ = [
    "Interval",
    "agreement",
    "bootstrap",
    "measure_cam",
    "measure_points",
    "region_measures",
]

Row = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A mean over chips and its bootstrap interval.

    Attributes:
        mean: over the chips where the value is defined; NaN if there is none.
        low: lower end.
        high: upper end.
        count: chips where the value is defined.
    """

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def region_measures(values: np.ndarray, patches: np.ndarray) -> dict[str, np.ndarray]:
    """Measure maps by region.

    Args:
        values: not negative, (N, R, C): 1 at knowledge points and 0 elsewhere, or the mean of a class-activation map
            over each patch.
        patches: regions of the patches, (N, R, C), of :class:`~sarhub_models.explain.Regions`.

    Returns:
        Arrays (N,) by name. ``count_<region>``: sum over the region's patches. ``density_<region>``: mean over them,
        NaN where the region is empty. ``patches_<region>``: their number. ``share_target``: the part of the sum over
        the chip that lies on the target; ``share``: on target and shadow; NaN where the chip's sum is 0.
        ``area_target`` and ``area``: the parts of the patches that do, which is what shares by chance would be.
    """
    if values.shape != patches.shape:
        raise InputError(f"expected maps and regions of one shape, got {values.shape} and {patches.shape}")
    found: dict[str, np.ndarray] = {}
    for number, name in enumerate(REGION_NAMES):
        inside = patches == number
        found[f"patches_{name}"] = inside.sum(axis=(1, 2))
        found[f"count_{name}"] = np.where(inside, values, 0).sum(axis=(1, 2), dtype=np.float64)
        found[f"density_{name}"] = _ratio(found[f"count_{name}"], found[f"patches_{name}"])
    for kind, share in (("count", "share"), ("patches", "area")):
        target, shadow = found[f"{kind}_target"], found[f"{kind}_shadow"]
        total = target + shadow + found[f"{kind}_background"]
        found[f"{share}_target"] = _ratio(target, total)
        found[share] = _ratio(target + shadow, total)
    return found


def measure_points(
    entropy: np.ndarray, regions: Regions, names: Sequence[str], *, thresholds: Sequence[float] = THRESHOLDS
) -> list[Row]:
    """Measure knowledge points.

    Args:
        entropy: H of each patch, (N, R, C).
        regions: of the same chips.
        names: of the chips.
        thresholds: values of b.

    Returns:
        A row for each chip and b: ``chip``, ``map`` (``"kp"``), ``b``, and what :func:`region_measures` gives. Of a
        chip without background, counts, densities and shares are NaN: its knowledge points are undefined.
    """
    undefined = ~regions.background.any(axis=(1, 2))
    rows: list[Row] = []
    for b in thresholds:
        points = knowledge_points(entropy, regions.background, b)
        found = region_measures(points, regions.patches)
        for key, values in found.items():
            if not key.startswith(("patches", "area")):
                values[undefined] = np.nan
        rows += _rows(found, names, map="kp", b=float(b))
    return rows


def measure_cam(cams: np.ndarray, regions: Regions, names: Sequence[str], method: str) -> list[Row]:
    """Measure class-activation maps as knowledge points are measured.

    Args:
        cams: in [0, 1], (N, H, W).
        regions: of the same chips; the maps are averaged over each patch.
        names: of the chips.
        method: what made the maps, for the column ``map``.

    Returns:
        A row for each chip; ``b`` is NaN.
    """
    return _rows(region_measures(patch_means(cams, regions.patch), regions.patches), names, method, np.nan)


def patch_means(maps: np.ndarray, patch: int) -> np.ndarray:
    """Return the mean of maps (N, H, W) over each patch, cut ones included, as (N, R, C)."""
    edges = [np.arange(0, length, patch) for length in maps.shape[1:]]
    sums = np.add.reduceat(np.add.reduceat(maps.astype(np.float64), edges[0], axis=1), edges[1], axis=2)
    sizes = [np.diff(np.append(edge, length)) for edge, length in zip(edges, maps.shape[1:], strict=True)]
    return sums / np.outer(*sizes)


def agreement(entropy: tuple[np.ndarray, np.ndarray], points: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Measure how far the maps of two networks agree, chip by chip.

    Args:
        entropy: of the two networks, (N, R, C) each.
        points: their knowledge points at one b, bool (N, R, C) each.

    Returns:
        Arrays (N,): ``correlation`` of the entropies (Pearson's; NaN where a map is constant) and ``overlap``, the
        knowledge points that both have among those that any has (Jaccard's index; NaN where none has any).
    """
    one, two = (maps.reshape(len(maps), -1).astype(np.float64) for maps in entropy)
    one, two = (maps - maps.mean(axis=1, keepdims=True) for maps in (one, two))
    both, either = ((op(*points)).sum(axis=(1, 2)) for op in (np.logical_and, np.logical_or))
    norm = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return {"correlation": _ratio((one * two).sum(axis=1), norm), "overlap": _ratio(both, either)}


def bootstrap(
    values: np.ndarray | Sequence[float], *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean over chips with its bootstrap interval (percentiles of the means of resampled chips).

    Args:
        values: one for each chip; NaN is left out. To compare two networks on the same chips, give the differences.
        level: probability of the interval.
        draws: number of resamples.
        seed: of the resampling.
    """
    if not 0 < level < 1 or draws < 1:
        raise OptionError(f"expected level between 0 and 1 and draws of at least 1, got {level} and {draws}")
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    mean = float(numbers.mean()) if len(numbers) else np.nan
    if len(numbers) < 2:
        return Interval(mean, mean, mean, len(numbers))
    generator = np.random.default_rng(seed)
    options: dict[str, Any] = {"n_resamples": draws, "confidence_level": level, "random_state": generator}
    low, high = stats.bootstrap((numbers,), np.mean, method="percentile", **options).confidence_interval
    return Interval(mean, float(low), float(high), len(numbers))


def _rows(found: Mapping[str, np.ndarray], names: Sequence[str], map: str, b: float) -> list[Row]:
    return [
        {"chip": name, "map": map, "b": b, **{key: values[n].item() for key, values in found.items()}}
        for n, name in enumerate(names)
    ]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the quotient, NaN where the divisor is 0."""
    below = below.astype(np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
