"""Maps of classes: what a fine-tuned network says of each place of a scene."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import OptionError
from .embed import coordinates
from .quicklook import colors, draw_classes
from .session import Reading, Session, Windows, open_session
from .sinks.cog import check_cog, write_cog

__all__ = ["NO_CLASS", "Mapped", "map_classes", "write_classes"]

NO_CLASS = 255
"""Value of a map's cells without data, or without any label."""

_HALF = 0.5  # probability from which a label is given, where a window can have several


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
    device: str = "cpu",
    engine: str = "local",
    address: str | None = None,
    quicklook: bool = True,
    progress: bool = True,
) -> Mapped:
    """Predict the class of every cell of a scene, resumable, into Cloud-Optimized GeoTIFFs.

    A network that gives one answer a window gives one value a cell: the map has larger pixels than the scene. One that
    gives an answer a pixel (segmentation) gives a map of the scene's own pixels, with overlaps blended.

    Args:
        scene: the scene.
        weights: the folder of a run, a file of weights that describes itself, or a name; with classes.
        out: the map, ``.tif``: uint8 with a palette, :data:`NO_CLASS` without data; its tag ``CLASSES`` names the
            values from 0. Beside it ``….probabilities.tif`` has a float32 band for each class, NaN without data.
        windows: how the scene is cut; by default windows of the network's size that overlap by half.
        reading: how it is read; by default as the images that the weights were fine-tuned on.
        device: where the network runs.
        engine: ``"local"`` or ``"ray"``.
        address: of a Ray cluster.
        quicklook: also draw a picture beside ``out``.
        progress: draw a bar on stderr where that is a terminal.

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
        device=device,
        overlap=0.5,
    )
    names = session.model.names
    check_one(session, target)
    if len(names) >= NO_CLASS:
        raise OptionError(f"{weights} has {len(names)} classes, a map with a palette at most {NO_CLASS - 1}")
    session.run(engine=engine, progress=progress, address=address)
    count = session.seen()
    grid = session.grid()
    beside = target.with_name(f"{target.stem}.probabilities.tif")
    write_cog(
        beside,
        session.rows(),
        shape=(len(names), grid.height, grid.width),
        dtype="float32",
        georeference=grid.georeference(session.places[0]),
        nodata=float("nan"),
        names=names,
        tags=_tags(session, weights),
    )
    least = _HALF if session.model.multilabel else 0.0
    classes = write_classes(
        session, target, (_decided(strip, least) for strip in session.rows()), names, tags=_tags(session, weights)
    )
    picture = draw_classes(session, target, classes, names) if quicklook else None
    session.groups.remove()
    known = max((classes >= 0).sum(), 1)
    shares = {name: float((classes == index).sum() / known) for index, name in enumerate(names)}
    left = len(session.plan()) - count
    place = session.places[0]
    return Mapped(target, beside, shares, count, left, coordinates(place, place.crs), picture)


def check_one(session: Session, target: Path) -> None:
    """Refuse several scenes for one map.

    Raises:
        OptionError: there are several.
    """
    if len(session.places) > 1:
        raise OptionError(f"{target} is a map of one scene, {len(session.places)} were given")


def write_classes(
    session: Session,
    target: Path,
    rows: Iterator[np.ndarray],
    names: tuple[str, ...],
    *,
    tags: dict[str, str] | None = None,
) -> np.ndarray:
    """Write a map with a palette, and return it thinned out to what a picture shows.

    Args:
        session: of the scene.
        target: the map.
        rows: strips of classes (h, width) from the top, int, -1 without one.
        names: of the classes.
        tags: what else the file says.

    Returns:
        int16 (h, w), -1 without a class.
    """
    grid = session.grid()
    step = max(-(-max(grid.height, grid.width) // 2048), 1)
    kept: list[np.ndarray] = []
    number = 0

    def strips() -> Iterator[np.ndarray]:
        nonlocal number
        for row in rows:
            # Copies: a view would keep its whole strip in memory
            kept.extend(line[::step].astype(np.int16) for place, line in enumerate(row, number) if place % step == 0)
            number += len(row)
            yield np.where(row < 0, NO_CLASS, row)[None].astype(np.uint8)

    write_cog(
        target,
        strips(),
        shape=(1, grid.height, grid.width),
        dtype="uint8",
        georeference=grid.georeference(session.places[0]),
        nodata=NO_CLASS,
        names=("class",),
        palette=colors(len(names)),
        tags={**(tags or {}), "CLASSES": ";".join(names)},
    )
    return np.stack(kept)


def _decided(probabilities: np.ndarray, least: float) -> np.ndarray:
    """Return the most probable class of (C, h, w), -1 where there is no data or none reaches ``least``."""
    known = np.isfinite(probabilities).all(axis=0)
    best = np.where(known, probabilities, 0).argmax(axis=0)
    enough = np.where(known, probabilities, 0).max(axis=0) >= least
    return np.where(known & enough, best, -1)


def _tags(session: Session, weights: str | os.PathLike[str]) -> dict[str, str]:
    return {"WEIGHTS": os.fspath(weights), "SCENE": session.job.scenes[0].path.name}
