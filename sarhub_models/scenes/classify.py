"""Maps of classes: what a fine-tuned network says of each place of a scene."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import OptionError
from .quicklook import colors, draw_classes
from .session import Reading, Running, Session, Windows, open_session
from .sinks.cog import check_cog

__all__ = ["NO_CLASS", "Mapped", "Thinned", "map_classes", "write_map"]

NO_CLASS = 255
"""Value of a map's cells without data, or without any label."""

_HALF = 0.5  # probability from which a label is given, where a window can have several
_SHOWN = 2048  # values on a side that are kept for a picture


@dataclass(frozen=True)
class Mapped:
    """A report of what was written.

    Attributes:
        file: the map.
        probabilities: file of the probability of every class, if there is one.
        shares: share of each class of the cells with data, by name.
        windows: windows with a result.
        skipped: windows that were left out for want of data.
        coordinates: what coordinates are.
        quicklook: the picture, if one was drawn.
    """

    file: Path
    probabilities: Path | None
    shares: dict[str, float]
    windows: int
    skipped: int
    coordinates: str
    quicklook: Path | None = None


def map_classes(
    scene: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    windows: Windows = Windows(),
    reading: Reading = Reading(),
    running: Running = Running(),
) -> Mapped:
    """Predict the class of every cell of a scene, resumable, into Cloud-Optimized GeoTIFFs.

    A network that gives one answer a window gives one value a cell: the map has larger pixels than the scene. One that
    gives an answer a pixel (segmentation) gives a map of the scene's own pixels, with overlaps blended.

    Args:
        scene: the scene.
        weights: the folder of a run, a file of weights that describes itself, or a name; with classes.
        out: the map, ``.tif``: uint8 with a palette, :data:`NO_CLASS` without data; its tag ``CLASSES`` names the
            values from 0. Beside it ``….probabilities.tif`` has a band for each class, NaN without data: float32, or
            float16 where the network answers for each pixel.
        windows: how the scene is cut; by default windows of the network's size that overlap by half.
        reading: how it is read; by default as the images that the weights were fine-tuned on.
        running: how the job is run.

    Raises:
        ImageError: the scene cannot be read or contradicts its radiometry; what was done is kept.
        OptionError: an option is impossible, an unfinished run had other ones, or the weights have no classes or too
            many for a palette.
        OSError: the disk refuses; what was done is kept.
    """
    target = check_cog(out)
    session = open_session(
        scene,
        weights=weights,
        kind="classes",
        out=target,
        windows=windows,
        reading=reading,
        running=running,
        overlap=0.5,
        single=True,
    )
    names = session.model.names
    if len(names) >= NO_CLASS:
        raise OptionError(f"{weights} has {len(names)} classes, a map with a palette at most {NO_CLASS - 1}")
    beside = target.with_name(f"{target.stem}.probabilities.tif")
    session.keep_scenes(beside)
    session.run()
    session.write(
        beside,
        session.rows(),
        bands=len(names),
        dtype="float16" if session.job.half else "float32",
        nodata=float("nan"),
        names=names,
        tags=session.tags(weights),
    )
    least = _HALF if session.model.multilabel else 0.0
    rows = (_decided(strip, least) for strip in session.rows())
    found = write_map(session, target, rows, names, tags=session.tags(weights))
    return replace(found, probabilities=beside)


def write_map(
    session: Session,
    target: Path,
    rows: Iterator[np.ndarray],
    names: Sequence[str],
    *,
    tags: Mapping[str, str],
) -> Mapped:
    """Write the map that a session ends with, and its picture; remove the groups, and report.

    Args:
        session: of the scene, run.
        target: the map.
        rows: strips of classes (h, width) from the top, int, -1 without one.
        names: of the classes.
        tags: what else the file says.
    """
    grid, count = session.grid(), session.seen()
    counts, thin = np.zeros(len(names), np.int64), Thinned(max(grid.height, grid.width))

    def strips() -> Iterator[np.ndarray]:
        for row in rows:
            counts[:] += np.bincount(row[row >= 0], minlength=len(names))
            thin.add(row)
            yield np.where(row < 0, NO_CLASS, row)[None].astype(np.uint8)

    session.write(
        target,
        strips(),
        bands=1,
        dtype="uint8",
        nodata=NO_CLASS,
        names=("class",),
        palette=colors(len(names)),
        tags={**tags, "CLASSES": ";".join(names)},
    )
    shares = dict(zip(names, (counts / max(counts.sum(), 1)).tolist(), strict=True))
    picture = draw_classes(session, target, thin.rows(), shares) if session.running.quicklook else None
    session.groups.remove()
    left = len(session.plan()) - count
    return Mapped(target, None, shares, count, left, session.coordinates, picture)


class Thinned:
    """A map of which every n-th value of every n-th row is kept for a picture.

    Args:
        side: longer side of the map.
    """

    def __init__(self, side: int) -> None:
        self.step = max(-(-side // _SHOWN), 1)
        self._kept: list[np.ndarray] = []
        self._number = 0

    def add(self, strip: np.ndarray) -> None:
        """Take the next rows (h, width), int."""
        # Copies: a view would keep its whole strip in memory
        chosen = strip[-self._number % self.step :: self.step, :: self.step]
        self._kept += [line.astype(np.int16) for line in chosen]
        self._number += len(strip)

    def rows(self) -> np.ndarray:
        """Return what was kept, int16 (h, w)."""
        return np.stack(self._kept)


def _decided(probabilities: np.ndarray, least: float) -> np.ndarray:
    """Return the most probable class of (C, h, w), -1 where there is no data or none reaches ``least``."""
    known = np.isfinite(probabilities).all(axis=0)
    best = np.where(known, probabilities, 0).argmax(axis=0)
    enough = np.where(known, probabilities, 0).max(axis=0) >= least
    return np.where(known & enough, best, -1)
