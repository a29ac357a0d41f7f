"""Boxes in scenes: what a detector finds in windows that overlap, each thing once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.ops import batched_nms

from ..errors import OptionError
from ..io.georeference import common_system, coordinates, parse_system
from .models import BOX
from .quicklook import draw_boxes
from .session import Reading, Running, Session, Windows, open_session
from .sinks.geoparquet import check_places, write_geojson, write_geoparquet

__all__ = ["Detected", "detect_boxes"]

_OVERLAP = 0.5  # IoU from which two boxes of a class are one
_PLACE = ("row", "column", "height", "width")


@dataclass(frozen=True)
class Detected:
    """A report of what was written.

    Attributes:
        file: the boxes.
        scenes: number of scenes.
        boxes: how many of each class, by name.
        windows: windows that were looked at.
        skipped: windows that were left out for want of data.
        coordinates: what coordinates are.
        quicklook: the picture, if one was drawn.
    """

    file: Path
    scenes: int
    boxes: dict[str, int]
    windows: int
    skipped: int
    coordinates: str
    quicklook: Path | None = None


def detect_boxes(
    scenes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    min_score: float = 0.3,
    windows: Windows = Windows(),
    reading: Reading = Reading(),
    running: Running = Running(),
) -> Detected:
    """Find the boxes in scenes, window by window, resumable and into one file.

    A box counts where its center lies in the cell of its window or at most half of the halo beside it, so what is no
    longer than the halo is never cut. One is left out of which less than half has data. Of boxes of a class with an
    IoU above 0.5, from whichever windows, the best one stays (torchvision's non-maximum suppression).

    ``.parquet`` is GeoParquet: a row a box, the best ones of a scene first, with ``scene`` (its path in the folder that
    all share), ``class``, ``score``, ``row``, ``column``, ``height``, ``width`` (in pixels, with fractions, cut to the
    scene) and its outline, in the coordinates of the scenes, or in degrees where these differ. ``.geojson`` has the
    same in degrees, or in pixels, as it says, of scenes without a georeference.

    Args:
        scenes: a scene, a folder or list file of scenes, or several of these.
        weights: the folder of a run, or a file of weights that describes itself, for boxes.
        out: the file.
        min_score: least score of a box, 0 to 1; detectors leave out those below 0.05.
        windows: how scenes are cut; by default windows of the network's size that overlap by a quarter.
        reading: how they are read; by default as the images that the weights were fine-tuned on.
        running: how the job is run.

    Raises:
        ImageError: a scene cannot be read or contradicts its radiometry; what was done is kept.
        OptionError: an option is impossible, an unfinished run had other ones, or the weights give no boxes.
        MissingDependencyError: a package of the extra ``scenes`` is missing.
        OSError: the disk refuses; what was done is kept.
    """
    if not 0 <= min_score <= 1:
        raise OptionError(f"expected a score from 0 to 1, got {min_score}")
    target = check_places(out, suffixes=(".parquet", ".geojson"))
    session = open_session(
        scenes,
        weights=weights,
        kind="boxes",
        out=target,
        windows=windows,
        reading=reading,
        running=running,
        overlap=0.25,
    )
    system, degrees = common_system(session.places), target.suffix == ".geojson"
    first = session.places[0]
    if degrees and first.kind != "pixels" and first.crs is None:
        raise OptionError("GeoJSON is in degrees, and the scenes do not say their coordinate system: write .parquet")
    if degrees and first.kind != "pixels":
        for place in session.places:
            place.degrees(0, 0)  # refused before the run
    session.run()
    count = session.seen()
    tables = [_table(session, number, system, min_score, degrees) for number in range(len(session.places))]
    note = coordinates(first, parse_system("EPSG:4326") if degrees else system)
    if degrees:
        write_geojson(target, list(_rows(tables)), note=note, georeferenced=first.kind != "pixels")
    else:
        write_geoparquet(target, tables, crs=system, note=note)
    boxes = {name: sum(int((table["class"] == name).sum()) for table in tables) for name in session.model.names}
    picture = draw_boxes(session, target, tables[0], boxes) if running.quicklook and len(tables) == 1 else None
    session.groups.remove()
    left = sum(map(len, session.job.plans)) - count
    return Detected(target, len(tables), boxes, count, left, note, picture)


def _table(session: Session, scene: int, system: Any, min_score: float, degrees: bool) -> dict[str, Any]:
    """Return the boxes of a scene as columns, best first."""
    found = torch.from_numpy(np.concatenate([np.zeros((0, BOX)), *_candidates(session, scene, min_score)]))
    best = found[batched_nms(found[:, :4], found[:, 4], found[:, 5].long(), _OVERLAP)].numpy()
    x1, y1, x2, y2 = best[:, :4].T.round(2)
    place = session.places[scene]
    boxes = (y1, x1, y2 - y1, x2 - x1)
    wgs84 = degrees or place.crs != system
    return {
        "scene": np.array([session.names[scene]] * len(best), str),
        "class": np.array(session.model.names, str)[best[:, 5].astype(int)],
        "score": best[:, 4].round(5).astype(np.float32),
        **dict(zip(_PLACE, boxes, strict=True)),
        "geometry": [place.footprint(*box, wgs84=wgs84) for box in zip(*boxes, strict=True)],
    }


def _candidates(session: Session, scene: int, min_score: float) -> Iterator[np.ndarray]:
    """Yield what each window says, (N, BOX) float64, in pixels of the scene."""
    plan = session.plan(scene)
    edge = np.array([plan.width, plan.height] * 2)
    for group in session.found(scene):
        for index, values in zip(group.indices.tolist(), group.values, strict=True):
            rows = values.reshape(-1, BOX).astype(np.float64)
            rows = rows[rows[:, 4] >= max(min_score, np.finfo(np.float32).tiny)]
            window, cell, reach = plan[index], plan.cell(index), plan.halo / 2
            rows[:, :4] = rows[:, :4] * plan.size + [window.column, window.row] * 2
            centers = (rows[:, :2] + rows[:, 2:4]) / 2
            first = np.array([cell.column, cell.row]) - reach
            last = np.array([cell.column + cell.width, cell.row + cell.height]) + reach
            mine = ((centers >= first) & (centers <= last)).all(axis=1)
            rows[:, :4] = rows[:, :4].clip(0, edge)
            yield rows[mine & (rows[:, 2:4] > rows[:, :2]).all(axis=1)]


def _rows(tables: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for table in tables:
        columns = [values.tolist() if isinstance(values, np.ndarray) else values for values in table.values()]
        for row in zip(*columns, strict=True):
            yield dict(zip(table, row, strict=True))
