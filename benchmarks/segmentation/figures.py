"""Images beside their masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

__all__ = ["mask_figure"]


def mask_figure(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Figure:
    """Draw a row for each image: the image (H, W), then masks (H, W) of class indices in the colours of a palette.

    Args:
        rows: image and masks of each row, as many as ``titles``.
        titles: of the columns.
        class_names: for the legend.
        palette: red, green and blue of each class, 0 to 255.
    """
    colours = np.array(palette, dtype=np.uint8)
    size = (2.2 * len(titles), 2.2 * len(rows) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, (image, *masks) in zip(panels, rows, strict=True):
        line[0].imshow(image, cmap="gray", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99.5))
        for axes, mask in zip(line[1:], masks, strict=True):
            axes.imshow(colours[mask])
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    legend = [Patch(color=colour / 255, label=name) for name, colour in zip(class_names, colours, strict=True)]
    figure.legend(handles=legend, loc="outside lower center", ncols=min(4, len(legend)), fontsize=8)
    return figure
