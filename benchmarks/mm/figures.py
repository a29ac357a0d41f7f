"""Figures of images beside what runs predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["panel_grid", "show_image"]


def panel_grid(images: Sequence[np.ndarray], titles: Sequence[str], side: float) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels (rows, columns) without ticks, as high as their images.

    Args:
        images: (H, W), one for each row.
        titles: of the columns.
        side: width of a panel in inches.
    """
    heights = [side * image.shape[0] / image.shape[1] for image in images]
    figure = Figure(figsize=(side * len(titles), sum(heights) + 0.1 * len(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(images), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    return figure, panels


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Show an image (H, W) in gray from its 1st to its 99.5th percentile."""
    axes.imshow(image, cmap="gray", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99.5))
