"""Places of a scene that look like given ones: a map of cosines, and the best windows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, SarHubError
from ..io.georeference import coordinates, parse_system
from .groups import Group
from .mosaic import cells
from .plan import Plan
from .quicklook import draw_similarity
from .reading import read_ready
from .session import Reading, Running, Session, Windows, open_session
from .sinks.geoparquet import check_places, write_geojson

__all__ = ["Similar", "find_similar"]

_SHARED = 0.3  # of the area of two windows that stand for one place (intersection over union)


@dataclass(frozen=True)
class Similar:
    """A report of what was written.

    Attributes:
        file: outlines of the best windows.
        map: cosine of every cell.
        places: properties of the best windows, best first, with ``longitude`` and ``latitude`` of their middle where
            these are known.
        coordinates: what coordinates are.
        quicklook: the picture, if one was drawn.
    """

    file: Path
    map: Path
    places: list[dict[str, Any]]
    coordinates: str
    quicklook: Path | None = None


def find_similar(
    scene: str | os.PathLike[str],
    *,
    like: Sequence[tuple[float, float]],
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    top: int = 20,
    windows: Windows = Windows(),
    reading: Reading = Reading(),
    running: Running = Running(),
) -> Similar:
    """Find the places of a scene whose features are most like those of the windows around given points.

    Features are compared by the cosine of their angle, seen from the mean of all windows of the scene: what all have in
    common says nothing. Several points count by the mean of their directions. Of windows whose intersection is more
    than 0.3 of their union the best one is kept.

    Args:
        scene: the scene.
        like: longitude and latitude of each point (WGS 84); of a scene without a georeference column and row.
        weights: a name, a file of weights, or the folder of a run.
        out: ``.geojson``, the best windows; beside it ``….similarity.tif``, a Cloud-Optimized GeoTIFF of the cosines.
        top: number of windows to write, at most.
        windows: how the scene is cut; by default windows of the network's size that overlap by half.
        reading: how it is read.
        running: how the job is run.

    Raises:
        ImageError: the scene cannot be read or contradicts its radiometry; what was done is kept.
        OptionError: a point lies outside or has no data, or an option is impossible.
        OSError: the disk refuses; what was done is kept.
    """
    target = check_places(out, suffixes=(".geojson", ".json"))
    if not like or top < 1:
        raise OptionError(f"expected at least one point and one place to find, got {len(like)} and top={top}")
    session = open_session(
        scene,
        weights=weights,
        kind="features",
        out=target,
        windows=windows,
        reading=reading,
        running=running,
        overlap=0.5,
        single=True,
    )
    beside = target.with_name(f"{target.stem}.similarity.tif")
    session.keep_scenes(beside)
    try:
        examples = _examples(session, like)
    except SarHubError:
        session.groups.remove_unused()  # other points are another run
        raise
    session.run()
    middle = _mean(session)
    wanted = _directions(_directions(examples - middle).mean(axis=0, keepdims=True))[0]
    session.write(
        beside,
        cells(session.plan(), _cosines(session, wanted, middle), 1),
        bands=1,
        dtype="float32",
        nodata=float("nan"),
        names=("cosine similarity",),
        tags={**session.tags(weights), "LIKE": "; ".join(f"{x:g},{y:g}" for x, y in like)},
    )
    rows, place = _best(session, wanted, middle, top), session.places[0]
    note = coordinates(place, parse_system("EPSG:4326"))
    write_geojson(target, rows, note=note, georeferenced=place.crs is not None)
    picture = None
    if running.quicklook:
        shown = np.concatenate(list(cells(session.plan(), _cosines(session, wanted, middle), 1)), axis=1)[0]
        boxes = [[row[name] for name in ("row", "column", "height", "width")] for row in rows]
        picture = draw_similarity(session, target, shown, boxes)
    session.groups.remove()
    found = [{name: value for name, value in row.items() if name != "geometry"} for row in rows]
    return Similar(target, beside, found, note, picture)


def _examples(session: Session, like: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return the features of the windows around points, (N, D)."""
    plan, place, vectors = session.plan(), session.places[0], []
    with session.job.scenes[0].open() as scene:
        for x, y in like:
            rows, columns = place.locate(x, y)
            row, column = float(rows[0]), float(columns[0])
            if not (0 <= row < plan.height and 0 <= column < plan.width):
                raise OptionError(
                    f"{x:g},{y:g} lies outside of {scene.path}, at row {row:.1f} and column {column:.1f} of "
                    f"{plan.height} x {plan.width}; expected {_order(place.kind)}"
                )
            given = session.model.transform.steps["radiometry"].given
            ready = read_ready(scene, plan.around(row, column), plan.input_size, given)
            if ready is None:
                raise OptionError(f"{scene.path} has no data around {x:g},{y:g}")
            vectors.append(session.model([ready[0]])[0, :, 0, 0])
    return np.stack(vectors)


def _mean(session: Session) -> np.ndarray:
    """Return the mean of the features of all windows, or 0 where there is only one."""
    total, count = np.zeros(session.output[0]), 0
    for group in session.found():
        if len(group.indices):
            total += group.values[:, :, 0, 0].sum(axis=0, dtype=np.float64)
            count += len(group.indices)
    return (total / count if count > 1 else total * 0).astype(np.float32)


def _order(kind: str) -> str:
    return "column,row" if kind == "pixels" else "longitude,latitude in degrees"


def _directions(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def _cosines(session: Session, wanted: np.ndarray, middle: np.ndarray) -> Iterator[Group]:
    """Yield the groups with the cosine in place of the features."""
    for group in session.found():
        values = np.zeros((0, 1, 1, 1), np.float32)
        if len(group.indices):
            values = (_directions(group.values[:, :, 0, 0] - middle) @ wanted)[:, None, None, None]
        yield Group(group.indices, values, group.valid)


def _best(session: Session, wanted: np.ndarray, middle: np.ndarray, top: int) -> list[dict[str, Any]]:
    """Return the best windows that do not show one place, with their outlines."""
    plan, place = session.plan(), session.places[0]
    groups = list(_cosines(session, wanted, middle))
    indices = np.concatenate([group.indices for group in groups])
    scores = np.concatenate([group.values[:, 0, 0, 0] for group in groups])
    rows: list[dict[str, Any]] = []
    taken: list[int] = []
    for index in indices[np.argsort(-scores, kind="stable")].tolist():
        if len(rows) == top:
            break
        if any(_overlap(plan, index, other) > _SHARED for other in taken):
            continue
        taken.append(index)
        box = dict(zip(("row", "column", "height", "width"), plan.clipped(index), strict=True))
        score = float(scores[indices == index][0])
        rows.append({"rank": len(rows) + 1, "similarity": round(score, 6), **box, **_middle(session, index)})
        rows[-1]["geometry"] = place.footprint(*plan.clipped(index), wgs84=True)
    return rows


def _overlap(plan: Plan, first: int, second: int) -> float:
    one, other = plan[first], plan[second]
    height = max(plan.size - abs(one.row - other.row), 0)
    shared = height * max(plan.size - abs(one.column - other.column), 0)
    return shared / (2 * plan.size**2 - shared)


def _middle(session: Session, index: int) -> dict[str, float]:
    """Return longitude and latitude of the middle of a window, where they are known."""
    place = session.places[0]
    if place.crs is None:
        return {}
    row, column, height, width = session.plan().clipped(index)
    longitude, latitude = (float(value[0]) for value in place.degrees(row + height / 2, column + width / 2))
    return {"longitude": round((longitude + 180) % 360 - 180, 7), "latitude": round(latitude, 7)}
