"""Write rows with outlines as GeoParquet 1.1, group by group, and a few of them as GeoJSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OptionError
from ...io.files import replacing, write_text
from ...io.georeference import geometry, system_name
from ...io.tables import check_table

__all__ = ["check_places", "write_geojson", "write_geoparquet"]


def check_places(out: str | os.PathLike[str], *, suffixes: Sequence[str] = (".parquet",)) -> Path:
    """Return the path of a file of outlines that can be written.

    Raises:
        OptionError: it has another suffix, or there is no folder for it.
        MissingDependencyError: pyarrow is missing.
    """
    target = check_table(out, suffixes=suffixes)
    if not target.parent.is_dir():
        raise OptionError(f"{target}: there is no folder {target.parent}; create it first")
    return target


def write_geoparquet(target: Path, tables: Iterable[Mapping[str, Any]], *, crs: Any, note: str) -> int:
    """Write rows as they come, each table a row group; the file appears whole or not at all.

    Args:
        target: the file.
        tables: columns by name, the same ones in each: lists, arrays (N,), or (N, D), which become lists of D numbers;
            ``geometry`` holds shapely's.
        crs: coordinate reference system of the outlines; ``None`` says that there is none.
        note: what coordinates are, for people, in the file's metadata.

    Returns:
        The number of rows.

    Raises:
        OSError: the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyproj
    import shapely

    system = None if crs is None else json.loads(pyproj.CRS.from_user_input(system_name(crs)).to_json())
    types = ["Polygon", "MultiPolygon"]
    column = {"encoding": "WKB", "geometry_types": types, "crs": system}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    rows, writer = 0, None
    with replacing(target) as temporary:
        try:
            for table in tables:
                arrays = {name: _array(values) for name, values in table.items() if name != "geometry"}
                arrays["geometry"] = pa.array(shapely.to_wkb(np.asarray(table["geometry"], object)), pa.binary())
                block = pa.table(arrays)
                metadata = {"geo": json.dumps(geo), "coordinates": note}
                if writer is None:
                    writer = pq.ParquetWriter(temporary, block.schema.with_metadata(metadata), compression="zstd")
                writer.write_table(block.replace_schema_metadata(metadata))
                rows += len(block)
            if writer is None:
                raise OptionError(f"{target}: expected at least one row, got none")
        finally:
            if writer is not None:
                writer.close()
    return rows


def write_geojson(target: Path, rows: Sequence[Mapping[str, Any]], *, note: str, georeferenced: bool) -> None:
    """Write outlines with their properties as GeoJSON (RFC 7946), atomically.

    Args:
        target: the file.
        rows: properties by name, with the outline as ``geometry``, in degrees.
        note: what coordinates are.
        georeferenced: they are degrees; otherwise the file says ``"coordinates": "pixels"``.
    """
    features = [
        {
            "type": "Feature",
            "geometry": geometry(row["geometry"]),
            "properties": {name: value for name, value in row.items() if name != "geometry"},
        }
        for row in rows
    ]
    said = {} if georeferenced else {"coordinates": "pixels"}
    write_text(target, json.dumps({"type": "FeatureCollection", **said, "note": note, "features": features}, indent=1))


def _array(values: Any) -> Any:
    import pyarrow as pa

    if getattr(values, "ndim", 1) == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
    return pa.array(values if isinstance(values, np.ndarray) else list(values))
