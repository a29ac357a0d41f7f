"""Pictures of explanations: chips in decibels, entropy, knowledge points in color, grids and distributions.

Every function returns a matplotlib figure that belongs to no window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, OptionError, UnknownNameError, closest

try:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as err:
    raise MissingDependencyError("pictures need matplotlib: pip install 'sarhub-models[explain]' brings it") from err

from .knowledge import THRESHOLDS, knowledge_points
from .measures import Interval
from .regions import BACKGROUND, SHADOW, TARGET

__all__ = [
    "KINDS",
    "PALETTES",
    "View",
    "chip_figure",
    "decibels",
    "distribution_figure",
    "grid_figure",
    "point_kinds",
]

KINDS = ("background", "target", "shadow", "background KP", "target KP", "shadow KP")
"""The legend: what each patch is."""

PALETTES = {
    "default": ("#f2f2f2", "#f7b6b2", "#b3cde3", "#e6c229", "#d7191c", "#2b5fb4"),
    # Okabe and Ito's colors: told apart also by color-blind readers
    "colorblind": ("#f2f2f2", "#f3d3a4", "#bfe0f4", "#F0E442", "#D55E00", "#0072B2"),
}
"""Colors of :data:`KINDS`, by name."""

_PANELS = 3  # beside each other in a figure of distributions
_CELL = 2.1  # inches


@dataclass(frozen=True)
class View:
    """One chip and what was found in it.

    Attributes:
        chip: amplitude, (H, W); shown in decibels.
        patches: regions of its patches, (R, C).
        patch: side of a patch in pixels.
        entropy: H of each patch, (R, C), or ``None``.
        cam: class-activation map in [0, 1], (H, W), or ``None``.
        title: of its figure.
    """

    chip: np.ndarray
    patches: np.ndarray
    patch: int
    entropy: np.ndarray | None = None
    cam: np.ndarray | None = None
    title: str = ""

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Return a map of patches (R, C) as one of pixels (H, W)."""
        wide = values.repeat(self.patch, 0).repeat(self.patch, 1)
        return wide[: self.chip.shape[0], : self.chip.shape[1]]


def decibels(amplitude: np.ndarray, *, low: float = 1.0, high: float = 99.0) -> np.ndarray:
    """Return an amplitude in decibels, stretched to [0, 1] between two of its percentiles."""
    positive = amplitude[amplitude > 0]
    floor = positive.min() if positive.size else 1.0
    values = 20 * np.log10(np.maximum(amplitude, floor))
    bottom, top = np.percentile(values, [low, high])
    return np.clip((values - bottom) / max(top - bottom, 1e-9), 0, 1)


def point_kinds(entropy: np.ndarray, patches: np.ndarray, threshold: float) -> np.ndarray:
    """Return the number in :data:`KINDS` of each patch, (R, C)."""
    points = knowledge_points(entropy[None], (patches == BACKGROUND)[None], threshold)[0]
    return np.select([patches == TARGET, patches == SHADOW], [1, 2], 0) + 3 * points


def chip_figure(view: View, *, thresholds: Sequence[float] = THRESHOLDS, palette: str = "default") -> Figure:
    """Draw one chip: its amplitude in dB, and its entropy with knowledge points at each b, or its activation map.

    Args:
        view: with ``entropy``, ``cam`` or both.
        thresholds: values of b.
        palette: of :data:`PALETTES`.
    """
    colors = _colors(palette)
    columns = 1 + (len(thresholds) if view.entropy is not None else 0) + (1 if view.cam is not None else 0)
    figure = Figure(figsize=(_CELL * columns, 2 * _CELL + 0.9), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    _show(axes[0, 0], decibels(view.chip), "amplitude, dB", cmap="gray")
    if view.entropy is not None:
        image = _show(axes[1, 0], view.pixels(view.entropy), "entropy H, nats", cmap="viridis")
        figure.colorbar(image, ax=axes[1, 0], shrink=0.8)
        for column, b in enumerate(thresholds, start=1):
            kinds = view.pixels(point_kinds(view.entropy, view.patches, b))
            _show(axes[0, column], kinds, f"KP, b = {b:g}", cmap=ListedColormap(colors), vmin=0, vmax=5)
            _overlay(axes[1, column], view, kinds, colors)
    else:
        _show(axes[1, 0], view.pixels(np.asarray(view.patches, dtype=float)), "regions", **_region_style(colors))
    if view.cam is not None:
        _show(axes[0, -1], view.cam, "class activation", cmap="magma", vmin=0, vmax=1)
        _show(axes[1, -1], decibels(view.chip), "overlay", cmap="gray")
        axes[1, -1].imshow(view.cam, cmap="magma", vmin=0, vmax=1, alpha=0.45)
    _legend(figure, colors, points=view.entropy is not None)
    if view.title:
        figure.suptitle(view.title, fontsize=9)
    return figure


def grid_figure(
    views: Mapping[str, Sequence[View]], *, threshold: float = 0.3, palette: str = "default", title: str = ""
) -> Figure:
    """Draw the same chips (rows) as several networks see them (columns).

    Args:
        views: by network, the same chips in the same order.
        threshold: b of the knowledge points; views without entropy show their activation map.
        palette: of :data:`PALETTES`.
        title: over the figure.
    """
    colors = _colors(palette)
    counts = {len(column) for column in views.values()}
    if len(counts) != 1 or counts == {0}:
        raise OptionError(f"expected the same chips, at least one, of every network, got {sorted(counts)}")
    rows = counts.pop()
    figure = Figure(figsize=(_CELL * (len(views) + 1), _CELL * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, len(views) + 1, squeeze=False)
    for column, (name, chips) in enumerate(views.items(), start=1):
        for row, view in enumerate(chips):
            if column == 1:
                _show(axes[row, 0], decibels(view.chip), "amplitude, dB" if row == 0 else "", cmap="gray")
                axes[row, 0].set_ylabel(view.title.rpartition("/")[2][-24:], fontsize=7)
            if view.entropy is not None:
                _overlay(
                    axes[row, column], view, view.pixels(point_kinds(view.entropy, view.patches, threshold)), colors
                )
            elif view.cam is not None:
                _show(axes[row, column], decibels(view.chip), "", cmap="gray")
                axes[row, column].imshow(view.cam, cmap="magma", vmin=0, vmax=1, alpha=0.45)
        axes[0, column].set_title(name, fontsize=8)
    if any(view.entropy is not None for chips in views.values() for view in chips):
        _legend(figure, colors, points=True)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def distribution_figure(
    values: Mapping[str, Mapping[str, np.ndarray]],
    intervals: Mapping[str, Mapping[str, Interval]],
    label: str,
    *,
    chance: float | None = None,
    palette: str = "default",
) -> Figure:
    """Draw a measure of all chips: a point each, and the mean with its interval.

    Args:
        values: by panel (such as ``"b = 0.25"``) and network, one number for each chip; NaN is left out.
        intervals: by panel and network.
        label: of the measure.
        chance: where a line is drawn, such as the share of the chip that the regions take.
        palette: of :data:`PALETTES`.
    """
    colors = _colors(palette)
    columns = min(len(values), _PANELS)
    rows, width = -(-len(values) // columns), max(3.0, 0.9 * len(next(iter(values.values()))) + 1)
    figure = Figure(figsize=(width * columns, 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for unused in grid.flat[len(values) :]:
        unused.remove()
    jitter = np.random.default_rng(0)
    for axis, (panel, networks) in zip(grid.flat, values.items(), strict=False):
        for x, (name, numbers) in enumerate(networks.items()):
            finite = numbers[np.isfinite(numbers)]
            axis.plot(
                x + jitter.uniform(-0.15, 0.15, len(finite)), finite, ".", color="#6b6b6b", alpha=0.3, markersize=3
            )
            found = intervals[panel][name]
            error = [[found.mean - found.low], [found.high - found.mean]]
            axis.errorbar(x, found.mean, error, fmt="o", color=colors[4], capsize=4)
        if chance is not None:
            axis.axhline(chance, color="black", linewidth=0.8, linestyle=":", label="share of the area")
        axis.set_xticks(range(len(networks)), list(networks), rotation=30, ha="right", fontsize=7)
        axis.set_xlim(-0.5, len(networks) - 0.5)
        axis.set_title(panel, fontsize=9)
        axis.grid(axis="y", alpha=0.3)
    for axis in grid[:, 0]:
        axis.set_ylabel(label)
    if chance is not None:
        grid[0, 0].legend(fontsize=7)
    return figure


def _colors(palette: str) -> tuple[str, ...]:
    if palette not in PALETTES:
        raise UnknownNameError(
            f"no palette is called {palette!r}{closest(palette, PALETTES)}; known: {', '.join(PALETTES)}"
        )
    return PALETTES[palette]


def _show(axis: Any, image: np.ndarray, title: str, **style: Any) -> Any:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=8)
    return axis.imshow(image, interpolation="nearest", **style)


def _overlay(axis: Any, view: View, kinds: np.ndarray, colors: tuple[str, ...]) -> None:
    """Color the chip where something is: knowledge points strongly, regions faintly."""
    _show(axis, decibels(view.chip), "", cmap="gray")
    alpha = np.select([kinds >= 3, kinds > 0], [0.6, 0.25], 0.0)
    axis.imshow(kinds, cmap=ListedColormap(colors), vmin=0, vmax=5, alpha=alpha, interpolation="nearest")


def _region_style(colors: tuple[str, ...]) -> dict[str, Any]:
    return {"cmap": ListedColormap(colors[:3]), "vmin": 0, "vmax": 2}


def _legend(figure: Figure, colors: tuple[str, ...], points: bool) -> None:
    kinds = list(zip(KINDS, colors, strict=True))[: 6 if points else 3]
    handles = [Patch(facecolor=color, edgecolor="black", linewidth=0.4, label=kind) for kind, color in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
