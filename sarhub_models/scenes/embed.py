"""Features of scenes: one row a window, or a dense map."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from .georeference import Georeference
from .plan import Plan
from .quicklook import draw_components
from .session import Reading, Session, Windows, open_session
from .sinks.cog import check_cog, write_cog
from .sinks.geoparquet import check_places, write_geoparquet

__all__ = ["Embedded", "embed_scenes"]


@dataclass(frozen=True)
class Embedded:
    """A report of what was written.

    Attributes:
        file: the output.
        scenes: number of scenes.
        windows: windows with features.
        skipped: windows that were left out for want of data.
        features: numbers in a vector.
        coordinates: what coordinates are.
        quicklook: the picture, if one was drawn.
    """

    file: Path
    scenes: int
    windows: int
    skipped: int
    features: int
    coordinates: str
    quicklook: Path | None = None


def embed_scenes(
    scenes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
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
) -> Embedded:
    """Compute the features of scenes, window by window, resumable and into one file.

    ``.parquet`` is GeoParquet: a row for each window with ``scene`` (its path in the folder that all share), ``row``,
    ``column``, ``height``, ``width`` (in pixels, cut to the scene), ``features`` (float32) and its outline, in the
    coordinates of the scenes, or in degrees where these differ. ``.tif`` is a Cloud-Optimized GeoTIFF of the network's
    last map in float16, of one scene, with overlaps blended. Windows with too much nodata are left out; a later run
    with the same arguments resumes.

    Args:
        scenes: a scene, a folder or list file of scenes, or several of these.
        weights: a name, a file of weights, or the folder of a run.
        out: the file.
        windows: how scenes are cut; by default windows of the network's size side by side, of ``.tif`` overlapping.
        reading: how they are read.
        device: where the network runs.
        engine: ``"local"`` or ``"ray"``.
        address: of a Ray cluster.
        quicklook: also draw a picture beside ``out``, of one scene.
        progress: draw a bar on stderr where that is a terminal.

    Raises:
        ImageError: a scene cannot be read or contradicts its radiometry; what was done is kept.
        OptionError: an option is impossible, or an unfinished run had other ones.
        MissingDependencyError: a package of the extra ``scenes`` is missing.
        OSError: the disk refuses; what was done is kept.
    """
    dense = Path(out).suffix.lower() in (".tif", ".tiff")
    target = check_cog(out) if dense else check_places(out, suffixes=(".parquet", ".tif"))
    session = open_session(
        scenes,
        weights=weights,
        kind="dense" if dense else "features",
        out=target,
        windows=windows,
        reading=reading,
        device=device,
    )
    if dense and len(session.places) > 1:
        raise OptionError(f"{target} holds one scene, {len(session.places)} were given: embed each to its own file")
    session.run(engine=engine, progress=progress, address=address)
    count, system = session.seen(), _system(session.places)
    if not count:
        raise OptionError(f"{session.job.scenes[0].path}: all windows have too much nodata; max_nodata allows more")
    if dense:
        _write_map(session, target, weights)
    else:
        write_geoparquet(target, _tables(session, system), crs=system, note=coordinates(session.places[0], system))
    picture = draw_components(session, target) if quicklook and len(session.places) == 1 else None
    session.groups.remove()
    total = sum(map(len, session.job.plans))
    return Embedded(
        target,
        len(session.places),
        count,
        total - count,
        session.output[0],
        coordinates(session.places[0], system),
        picture,
    )


def coordinates(place: Georeference, system: Any) -> str:
    """Return what coordinates are, for people."""
    if place.kind == "pixels":
        return "pixels (column, row): the scene has no georeference"
    said = "no coordinate reference system is said" if system is None else _label(system)
    return f"{said}, by {'ground control points' if place.kind == 'gcps' else 'the transform'} of the scene"


def _label(system: Any) -> str:
    code = system.to_epsg()
    return f"EPSG:{code}" if code is not None else str(system.to_wkt())


def _system(places: Sequence[Georeference]) -> Any:
    """Return the system that outlines are written in: that of all scenes, or degrees where they differ.

    Raises:
        OptionError: some scenes have a georeference, and others have none.
    """
    if len({place.kind == "pixels" for place in places}) > 1 or len({place.crs is None for place in places}) > 1:
        raise OptionError("some scenes have a georeference and others have none: embed them to files of their own")
    first = places[0].crs
    if all(place.crs == first for place in places):
        return first
    from rasterio.crs import CRS

    return CRS.from_epsg(4326)


def _tables(session: Session, system: Any) -> Iterator[dict[str, Any]]:
    names = _names([spec.path for spec in session.job.scenes])
    for number, place in enumerate(session.places):
        plan = session.plan(number)
        for group in session.found(number):
            if not len(group.indices):
                continue
            boxes = np.array([clipped(plan, index) for index in group.indices.tolist()])
            degrees = place.crs != system
            yield {
                "scene": [names[number]] * len(boxes),
                **dict(zip(("row", "column", "height", "width"), boxes.T, strict=True)),
                "features": group.values[:, :, 0, 0].astype(np.float32),
                "geometry": [place.footprint(*box, wgs84=degrees) for box in boxes.tolist()],
            }


def _names(paths: Sequence[Path]) -> list[str]:
    """Return paths as they are in the folder that all share; whole ones where they lie on several drives."""
    if len({path.anchor for path in paths}) > 1:
        return [path.as_posix() for path in paths]
    root = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(root).as_posix() for path in paths]


def clipped(plan: Plan, index: int) -> tuple[int, int, int, int]:
    """Return row, column, height and width of a window, cut to the scene."""
    window = plan[index]
    row, column = max(window.row, 0), max(window.column, 0)
    bottom, right = min(window.row + window.height, plan.height), min(window.column + window.width, plan.width)
    return row, column, bottom - row, right - column


def _write_map(session: Session, target: Path, weights: Any) -> None:
    grid, channels = session.grid(), session.output[0]
    write_cog(
        target,
        session.rows(),
        shape=(channels, grid.height, grid.width),
        dtype="float16",
        georeference=grid.georeference(session.places[0]),
        nodata=float("nan"),
        tags={"WEIGHTS": str(weights), "SCENE": session.job.scenes[0].path.name},
    )
