"""Figures of images beside what runs predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["panel_grid", "show_image"]


def panel_grid(rows: int, titles: Sequence[str], side: float) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels (rows, columns) without ticks.

    Args:
        rows: number of images.
        titles: of the columns.
        side: of a panel in inches.
    """
    figure = Figure(figsize=(side * len(titles), side * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, len(titles), squeeze=False)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    return figure, panels


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Show an image (H, W) in gray from its 1st to its 99.5th percentile."""
    axes.imshow(image, cmap="gray", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99.5))
