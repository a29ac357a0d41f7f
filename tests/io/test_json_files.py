"""JSON that somebody edited, cut or copied: read, or one error that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarhub_models.errors import DataError
from sarhub_models.io.json_files import read_json, read_object


@pytest.mark.parametrize("content", [b'{"a": 1}', b'\xef\xbb\xbf{"a": 1}', b'{\r\n"a": 1}\r\n'])
def test_an_object_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert read_object(tmp_path / "a.json", keys=("a",)) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b"\xff\xfe{\x00", "is not JSON"),
        (b"\x00" * 4096, "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (b"null", "expected a JSON object, found NoneType"),
        (b'{"b": 1}', "it lacks a"),
    ],
)
def test_what_is_no_such_object_is_one_error_with_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json is damaged: .*{message}.*; write it again"):
        read_object(tmp_path / "a.json", keys=("a",), fix="write it again")


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path)
