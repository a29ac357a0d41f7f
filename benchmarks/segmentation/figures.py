"""Images beside their masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.mm.figures import panel_grid, show_image

__all__ = ["mask_figure"]


def mask_figure(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Figure:
    """Draw a row for each image: the image (H, W), then masks (H, W) of class indices in the colors of a palette.

    Args:
        rows: image and masks of each row, as many as ``titles``.
        titles: of the columns.
        class_names: for the legend.
        palette: red, green and blue of each class, 0 to 255.
    """
    colors = np.array(palette, dtype=np.uint8)
    figure, panels = panel_grid([image for image, *_ in rows], titles, 2.2)
    for line, (image, *masks) in zip(panels, rows, strict=True):
        show_image(line[0], image)
        for axes, mask in zip(line[1:], masks, strict=True):
            axes.imshow(colors[mask])
    legend = [Patch(color=color / 255, label=name) for name, color in zip(class_names, colors, strict=True)]
    figure.legend(handles=legend, loc="outside lower center", ncols=min(4, len(legend)), fontsize=8)
    return figure
