"""Tables are read as they were written, and what is no table is refused by name."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.errors import DataError, MissingDependencyError, OptionError
from sarhub_models.io.tables import read_table, write_table

ROWS = [{"chip": "007", "b": 0.1, "share": math.nan}, {"chip": 'ü, "x"', "b": -1e-30, "share": 1.0}]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("as_columns", [False, True])
def test_tables_are_read_as_they_were_written(suffix: str, as_columns: bool, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    table = {name: [row[name] for row in ROWS] for name in ROWS[0]} if as_columns else ROWS
    file = write_table(table, tmp_path / "new" / f"t.{suffix}")
    assert list(file.parent.iterdir()) == [file]
    one, two = read_table(file, text=["chip"], columns=["chip", "b", "share"])
    assert math.isnan(one.pop("share"))
    assert one == {"chip": "007", "b": 0.1}
    assert two == ROWS[1]


def test_cells_stay_text_and_none_is_an_empty_cell(tmp_path: Path) -> None:
    file = write_table([{"name": "a", "size": None}, {"name": "b", "size": np.float32(0.5)}], tmp_path / "t.csv")
    assert file.read_bytes() == b"name,size\na,\nb,0.5\n"
    assert read_table(file) == [{"name": "a", "size": ""}, {"name": "b", "size": "0.5"}]
    assert [math.isnan(row["size"]) for row in read_table(file, text=["name"])] == [True, False]


def test_columns_may_be_empty(tmp_path: Path) -> None:
    assert read_table(write_table({"a": [], "b": []}, tmp_path / "t.csv"), columns=["a", "b"]) == []


def test_parquet_keeps_vectors(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = read_table(write_table({"name": ["a", "b"], "features": values}, tmp_path / "t.parquet"))
    assert rows == [{"name": "a", "features": [0, 1, 2]}, {"name": "b", "features": [3, 4, 5]}]


@pytest.mark.parametrize("text", ["image,label\r\na,b\r\n", "image,label\n\na,b"])
def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_the_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8-sig"))
    assert read_table(tmp_path / "t.csv") == [{"image": "a", "label": "b"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"a,b\n1\n", "line 2: expected 2 cells, got 1"),
        (b"a,b\n1,2,3\n", "line 2: expected 2 cells, got 3"),
        (b"a,b\n1,2\n1,x\n", "line 3: expected a number in 'b', got 'x'"),
        (b"a,c\n1,2\n", r"expected the columns \['a', 'b'\]"),
        (b'a,b\n"1,2\n', "cannot be read"),
        (b"a,b\n\xff,2\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_by_name(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"t\.csv.*{message}"):
        read_table(tmp_path / "t.csv", text=["a"], columns=["a", "b"])


def test_a_file_that_is_missing_or_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"absent\.csv"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "t.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"t\.parquet cannot be read"):
        read_table(tmp_path / "t.parquet")


def test_what_is_no_table_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    for table, message in (
        ([], "at least one row"),
        ([{"a": 1}, {"b": 1}], "row 1"),
        ({"a": [1], "b": []}, "one length"),
    ):
        with pytest.raises(OptionError, match=message):
            write_table(table, file)
    with pytest.raises(OptionError, match=r"\.csv or \.parquet"):
        write_table(ROWS, tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"sarhub-models\[parquet\].*\.csv"):
        write_table(ROWS, tmp_path / "t.parquet")


def test_cells_of_any_length_are_read(tmp_path: Path) -> None:
    """All boxes of an image are one cell; the limit of others in the process stays as it was."""
    write_table([{"name": "a", "boxes": "1 2 3 4;" * 40_000}], tmp_path / "t.csv")
    usual = csv.field_size_limit()
    assert len(read_table(tmp_path / "t.csv")[0]["boxes"]) == 320_000
    assert csv.field_size_limit() == usual
