"""Features of scenes: one row a window, or a dense map."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from ..io.georeference import common_system, coordinates
from .quicklook import draw_components
from .session import Reading, Running, Session, Windows, open_session
from .sinks.cog import check_cog
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
    running: Running = Running(),
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
        running: how the job is run.

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
        running=running,
        single=dense,
    )
    system = common_system(session.places)
    session.run()
    count = session.seen()
    if not count:
        raise OptionError(f"{session.job.scenes[0].path}: all windows have too much nodata; max_nodata allows more")
    said = session.coordinates if dense else coordinates(session.places[0], system)
    if dense:
        tags = session.tags(weights)
        session.write(target, session.rows(), bands=session.output[0], dtype="float16", nodata=float("nan"), tags=tags)
    else:
        write_geoparquet(target, _tables(session, system), crs=system, note=said)
    picture = draw_components(session, target) if running.quicklook and len(session.places) == 1 else None
    session.groups.remove()
    total = sum(map(len, session.job.plans))
    return Embedded(
        target,
        len(session.places),
        count,
        total - count,
        session.output[0],
        said,
        picture,
    )


def _tables(session: Session, system: Any) -> Iterator[dict[str, Any]]:
    names = session.names
    for number, place in enumerate(session.places):
        plan = session.plan(number)
        for group in session.found(number):
            if not len(group.indices):
                continue
            boxes = np.array([plan.clipped(index) for index in group.indices.tolist()])
            degrees = place.crs != system
            yield {
                "scene": [names[number]] * len(boxes),
                **dict(zip(("row", "column", "height", "width"), boxes.T, strict=True)),
                "features": group.values[:, :, 0, 0].astype(np.float32),
                "geometry": [place.footprint(*box, wgs84=degrees) for box in boxes.tolist()],
            }
