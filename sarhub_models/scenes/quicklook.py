"""Pictures of results over their scene, with a legend: small PNG files to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..io.files import replacing
from ..transforms.radiometry import RADIOMETRIES
from .products import Scene
from .session import Session

__all__ = ["colors", "draw_boxes", "draw_classes", "draw_components", "draw_similarity", "quicklook_path"]

_SIDE = 1024  # pixels of a picture, at most
_SAMPLED = 4096  # vectors that the components come from
_SHOWN = 20  # classes in a legend
_INCH = 100


def quicklook_path(out: Path) -> Path:
    """Return the picture that goes with an output."""
    return out.with_name(f"{out.stem}.quicklook.png")


def colors(count: int) -> list[tuple[int, ...]]:
    """Return so many colors, as red, green and blue from 0 to 255; they repeat after twenty."""
    from matplotlib import colormaps

    table: Any = colormaps["tab10" if count <= 10 else "tab20"]
    table = table.colors
    return [tuple(round(255 * part) for part in table[index % len(table)]) for index in range(count)]


def draw_classes(session: Session, out: Path, classes: np.ndarray, shares: Mapping[str, float]) -> Path:
    """Draw a map of classes (h, w), -1 without data, with the share of each, by name, in the legend."""
    from matplotlib.patches import Patch

    table = np.array(colors(len(shares)), np.float32) / 255
    shown = np.concatenate([table[classes], (classes >= 0)[..., None] * 0.5], axis=-1)
    order = sorted(enumerate(shares.items()), key=lambda item: -item[1][1])[:_SHOWN]
    handles = [Patch(color=table[index], label=f"{name} ({share:.0%})") for index, (name, share) in order if share]
    return _draw(session, out, shown, handles=handles)


def draw_boxes(session: Session, out: Path, table: Mapping[str, Any], counts: Mapping[str, int]) -> Path:
    """Draw boxes over their scene, with the number of each class in the legend.

    Args:
        session: of one scene.
        out: the file of the boxes.
        table: columns ``class``, ``row``, ``column``, ``height`` and ``width``.
        counts: of each class, by name.
    """
    from matplotlib.patches import Patch

    table_of = {name: np.array(color) / 255 for name, color in zip(counts, colors(len(counts)), strict=True)}
    boxes = np.stack([table[name] for name in ("row", "column", "height", "width")], axis=1)
    order = sorted(counts.items(), key=lambda item: -item[1])[:_SHOWN]
    handles = [Patch(color=table_of[name], label=f"{name} ({count})") for name, count in order if count]
    return _draw(session, out, None, handles=handles, boxes=boxes, edges=[table_of[name] for name in table["class"]])


def draw_similarity(session: Session, out: Path, similarity: np.ndarray, boxes: Sequence[Sequence[float]]) -> Path:
    """Draw a map of cosines (h, w), NaN without data, and outlines (row, column, height, width) of the best windows."""
    return _draw(session, out, similarity, boxes=boxes, scale="cosine similarity")


def draw_components(session: Session, out: Path) -> Path:
    """Draw the first three principal components of features as red, green and blue."""
    sample = _sampled(session).astype(np.float64)
    if not len(sample):
        return _draw(session, out, None, note="no value of the map has enough data")
    mean = sample.mean(axis=0)
    axes = np.linalg.svd(sample - mean, full_matrices=False)[2][:3]
    found = np.stack([((row - mean) @ axes.T).astype(np.float32) for row in _shown(session)])  # (h, w, 3)
    known = np.isfinite(found).all(axis=-1)
    low, high = np.percentile(found[known], [2, 98], axis=0)
    picture = np.zeros((*known.shape, 4), np.float32)
    picture[known, : found.shape[2]] = np.clip((found[known] - low) / np.maximum(high - low, 1e-12), 0, 1)
    picture[known, 3] = 0.6
    return _draw(session, out, picture, note="red, green, blue: first three principal components of the features")


def _shown(session: Session) -> Iterator[np.ndarray]:
    """Yield the rows of a map that a picture shows, (w, D) each; NaN without data."""
    grid, number = session.grid(), 0
    step = max(-(-max(grid.height, grid.width) // _SIDE), 1)
    for strip in session.rows():
        for row in range(-number % step, strip.shape[1], step):
            yield strip[:, row, ::step].T
        number += strip.shape[1]


def _sampled(session: Session) -> np.ndarray:
    """Return vectors from all over a map, (N, D) float32: every n-th one, where n doubles when they become too many."""
    kept: list[np.ndarray] = []
    step, number = 1, 0
    for row in _shown(session):
        for vector in row[np.isfinite(row).all(axis=1)]:
            if number % step == 0:
                kept.append(vector.copy())
                if len(kept) > _SAMPLED:
                    kept, step = kept[::2], 2 * step
            number += 1
    return np.array(kept)


def _draw(
    session: Session,
    out: Path,
    overlay: np.ndarray | None,
    *,
    handles: Sequence[Any] = (),
    boxes: Sequence[Sequence[float]] | np.ndarray = (),
    edges: Any = "cyan",
    scale: str | None = None,
    note: str = "",
) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    plan, grid = session.plan(), session.grid()
    with session.job.scenes[0].open() as scene:
        background = _background(scene)
        title = f"{scene.name} ({scene.product})"
    ratio = plan.height / plan.width
    figure = Figure(figsize=(9 if ratio <= 1 else 9 / ratio + 3, 9 * ratio + 1 if ratio <= 1 else 10), dpi=_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(background, cmap="gray", extent=(0, plan.width, plan.height, 0), vmin=0, vmax=1)
    reach = (0, grid.width * grid.step, grid.height * grid.step, 0)
    options: dict[str, Any] = {"cmap": "inferno", "alpha": 0.6} if scale is not None else {}
    if overlay is not None:
        image = axes.imshow(overlay, extent=reach, interpolation="nearest", **options)
    if len(boxes):
        row, column, height, width = np.asarray(boxes, float).T
        corners = ((column, row), (column + width, row), (column + width, row + height), (column, row + height))
        outlines = list(np.array(corners).transpose(2, 0, 1))  # (4, 2) each
        axes.add_collection(PolyCollection(outlines, facecolors="none", edgecolors=edges, linewidths=1.5))
    axes.set(
        xlim=(0, plan.width), ylim=(plan.height, 0), title=title, xlabel=f"column{note and f'; {note}'}", ylabel="row"
    )
    if scale is not None:
        figure.colorbar(image, ax=axes, label=scale, shrink=0.8)
    if handles:
        axes.legend(handles=list(handles), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    target = quicklook_path(out)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight")
    return target


def _background(scene: Scene) -> np.ndarray:
    """Return the first band of a scene as gray from 0 to 1, dark to bright in decibels; NaN without data."""
    pixels, valid, _ = scene.overview(_SIDE)
    values = np.abs(pixels[0]).astype(np.float32) if pixels.dtype.kind == "c" else pixels[0].astype(np.float32)
    row = RADIOMETRIES.get(scene.radiometry or "")
    if (row is None or not row.scale.signed) and (values[valid] >= 0).all():
        values = np.log10(np.maximum(values, 1e-9))
    if not valid.any():
        return np.full(values.shape, np.nan, np.float32)
    low, high = np.percentile(values[valid], [2, 98])
    gray = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return np.where(valid, gray, np.nan)
