"""Write and read tables as CSV or Parquet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingDependencyError, OptionError
from .files import replacing, write_text

__all__ = ["check_table", "read_table", "write_table"]

_SUFFIXES = (".csv", ".parquet")
_CELL = 1 << 26  # bytes of one, which may hold all boxes of an image


def check_table(file: str | os.PathLike[str], *, suffixes: Sequence[str] = _SUFFIXES) -> Path:
    """Return the path of a table that can be written, so that a long run need not end with an error.

    Args:
        file: the table; its suffix tells the format.
        suffixes: those that are allowed.

    Raises:
        OptionError: the file has another suffix.
        MissingDependencyError: it is a Parquet file and pyarrow is missing.
    """
    target = Path(file)
    if target.suffix not in suffixes:
        raise OptionError(f"{target}: expected a file name that ends in {' or '.join(suffixes)}")
    if target.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as err:
            raise MissingDependencyError(
                f"Parquet files need pyarrow: pip install 'sarhub-models[parquet]', or write {suffixes[0]}"
            ) from err
    return target


def write_table(table: Sequence[Mapping[str, Any]] | Mapping[str, Any], file: str | os.PathLike[str]) -> Path:
    """Write a table as ``.csv`` or ``.parquet``; the file appears whole and replaces one of the same name.

    Args:
        table: rows that have the same keys in the same order, or columns of one length by name; columns may be empty.
            ``None`` is an empty cell. A Parquet column may be an array (N, D), which becomes lists of D values.
        file: the table; its folder is created.

    Returns:
        The path of the file.

    Raises:
        OptionError: the suffix is another one, there are no rows, or rows or columns do not fit together.
        MissingDependencyError: it is a Parquet file and pyarrow is missing.
    """
    target = check_table(file)
    columns = table if isinstance(table, Mapping) else _columns(table, target)
    if len({len(column) for column in columns.values()}) != 1:
        raise OptionError(f"{target}: expected columns of one length, got {[len(c) for c in columns.values()]}")
    if target.suffix == ".csv":
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        write_text(target, stream.getvalue())
        return target
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(list(column)) for name, column in columns.items() if getattr(column, "ndim", 1) != 2}
    for name in columns.keys() - arrays.keys():
        values: Any = columns[name]
        arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    with replacing(target) as temporary:
        pq.write_table(pa.table({name: arrays[name] for name in columns}), temporary)
    return target


def read_table(
    file: str | os.PathLike[str], *, text: Collection[str] | None = None, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Read the rows of a CSV file with a header, or of a Parquet file.

    Args:
        file: the table; a byte-order mark, as Excel writes it, is skipped.
        text: columns of a CSV file that hold text: all others become ``float``, an empty cell NaN. By default every
            column is text. Parquet stores its types.
        columns: names that the table must have, in this order.

    Raises:
        DataError: the file cannot be read, lacks a header, has other columns, or a row that does not fit.
        OptionError: the suffix is neither ``.csv`` nor ``.parquet``.
        MissingDependencyError: it is a Parquet file and pyarrow is missing.
    """
    source = check_table(file)
    try:
        names, rows = _read_csv(source, text) if source.suffix == ".csv" else _read_parquet(source)
    except (OSError, ValueError, csv.Error) as err:
        if isinstance(err, DataError):
            raise
        raise DataError(f"{source} cannot be read as a table: {err}") from err
    if columns is not None and names != list(columns):
        raise DataError(f"{source}: expected the columns {list(columns)}, got {names}")
    return rows


def _columns(rows: Sequence[Mapping[str, Any]], target: Path) -> dict[str, list[Any]]:
    if not rows:
        raise OptionError(f"{target}: expected at least one row")
    names = list(rows[0])
    for number, row in enumerate(rows):
        if list(row) != names:
            raise OptionError(f"{target}: expected rows with the columns {names}, row {number} has {list(row)}")
    return {name: [row[name] for row in rows] for name in names}


def _read_csv(source: Path, text: Collection[str] | None) -> tuple[list[str], list[dict[str, Any]]]:
    usual = csv.field_size_limit(_CELL)
    try:
        return _csv_rows(source, text)
    finally:
        csv.field_size_limit(usual)


def _csv_rows(source: Path, text: Collection[str] | None) -> tuple[list[str], list[dict[str, Any]]]:
    with source.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, strict=True)
        names = next(reader, None)
        if names is None:
            raise DataError(f"{source} is empty: expected a line with the names of the columns")
        numbers = [] if text is None else [name for name in names if name not in text]
        rows = []
        for cells in filter(None, reader):
            place = f"{source}, line {reader.line_num}"
            if len(cells) != len(names):
                raise DataError(f"{place}: expected {len(names)} cells, got {len(cells)}")
            row: dict[str, Any] = dict(zip(names, cells, strict=True))
            rows.append(row | {name: _number(row[name], name, place) for name in numbers})
        return names, rows


def _number(cell: str, name: str, place: str) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        raise DataError(f"{place}: expected a number in {name!r}, got {cell!r}") from None


def _read_parquet(source: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    return list(table.column_names), list(table.to_pylist())
