"""Archives of arrays: what is in them is read, and what they only say is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.errors import DataError
from sarhub_models.io.npz import read_arrays


def npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def test_arrays_are_read_by_name_or_all(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), names=np.array(["a", "bc"]))
    found = read_arrays(tmp_path / "a.npz")
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["names"].tolist() == ["a", "bc"]
    assert list(read_arrays(tmp_path / "a.npz", keys=("names",))) == ["names"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(6))
    with pytest.raises(DataError, match=r"a\.npz: .*y\.npy"):
        read_arrays(tmp_path / "a.npz", keys=("y",))
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        read_arrays(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut\.npz: "):
        read_arrays(tmp_path / "cut.npz")


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_array_larger_than_its_bytes_is_refused(tmp_path: Path, method: int) -> None:
    head = npy(np.zeros(1)).replace(b"'shape': (1,), }             ", b"'shape': (99999999999,), }   ")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", head)
    with pytest.raises(DataError, match=r"limit is|stored or deflated"):
        read_arrays(tmp_path / "a.npz")


def test_zeros_beyond_the_limit_of_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 100)))
    assert read_arrays(tmp_path / "a.npz")["x"].shape == (100, 100)
    monkeypatch.setenv("SARHUB_MAX_PIXELS", "9999")
    with pytest.raises(DataError, match=r"x\.npy holds 100 x 100 = 10000 values, the limit is 9999"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'shape': (1", b"{" * 90, b"\xff" * 30, b"[]", b"{'descr': 5}"])
def test_a_header_that_is_no_header_is_refused(tmp_path: Path, header: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(DataError, match=r"a\.npz: "):
        read_arrays(tmp_path / "a.npz")
