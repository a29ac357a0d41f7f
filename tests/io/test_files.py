"""Hashes, headers and names."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarhub_models.errors import CheckpointError, DataError, ManifestError
from sarhub_models.io import progress
from sarhub_models.io.files import (
    check_name,
    clear_abandoned,
    content_digest,
    digests,
    open_file,
    read_header,
    replacing,
    write_text,
)


@given(st.binary(max_size=5000))
def test_digests(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "f"
    path.write_bytes(content)
    found = digests(path)
    assert found.by("sha256") == hashlib.sha256(content).hexdigest()
    assert found.by("git-blob") == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    with pytest.raises(ManifestError, match="md5"):
        found.by("md5")


def test_git_agrees_on_blob_ids(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello\n")
    assert digests(tmp_path / "f").git_blob == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


@given(st.text(max_size=12))
def test_a_name_that_passes_stays_in_its_folder(name: str) -> None:
    try:
        check_name(name)
    except ManifestError:
        return
    assert (Path("/root/folder") / name).resolve().parent == Path("/root/folder")
    assert not name.startswith(".")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    assert check_name("a" * 200)
    with pytest.raises(ManifestError, match="not a plain file name"):
        check_name("a" * 201)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_safetensors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "f"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_header(path)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda x: st.lists(x) | st.dictionaries(st.text(max_size=13), x),
    )
)
def test_arbitrary_headers_are_refused_or_parsed(tmp_path_factory: pytest.TempPathFactory, header: object) -> None:
    path = tmp_path_factory.mktemp("files") / "f"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    try:
        parsed, start = read_header(path)
    except CheckpointError:
        return
    assert parsed == header
    assert start == 8 + len(text)


def test_the_content_digest_depends_on_names_and_bytes(tmp_path: Path) -> None:
    def write(name: str, data: bytes) -> str:
        header = json.dumps({name: {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
        (tmp_path / "f").write_bytes(len(header).to_bytes(8, "little") + header + data)
        return content_digest(tmp_path / "f")

    assert len({write("a", b"12"), write("b", b"12"), write("a", b"13"), write("a", b"123")}) == 4
    assert write("a", b"12") == write("a", b"12")


def test_write_text_replaces_whole_files(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "f"
    write_text(target, "one")
    write_text(target, "two")
    assert target.read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["f"]


def test_progress_is_silent_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.download_bar("label", True) as bar:
        assert bar is None
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.download_bar("label", False) as bar:
        assert bar is None
    assert capsys.readouterr() == ("", "")
    with progress.download_bar("label", True) as bar:
        assert bar is not None
        bar(1, None)
        bar(2, 4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "label" in captured.err


def test_asking_the_cache_needs_no_torch() -> None:
    code = "import sys, sarhub_models.weights as w; w.Store().entries(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    for error in (OSError(28, "No space left on device"), RuntimeError("I/O error: No space left (os error 28)")):
        with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "a.json"):
            raise error
        assert caught.value.filename == str(tmp_path / "a.json") and caught.value.errno == 28
    with pytest.raises(DataError, match="as it was") as other, replacing(tmp_path / "a.json"):
        raise DataError("as it was")
    assert other.value.filename is None
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for folder in (tmp_path / ".a.json.x1.tmp", tmp_path / ".b.json.x2.tmp", tmp_path / "mine.tmp", elsewhere):
        folder.mkdir()
        (folder / "a.json").write_text("half")
    (tmp_path / ".a.png.tmp").write_text("half")
    (tmp_path / ".a.linked.tmp").symlink_to(elsewhere)
    clear_abandoned(tmp_path, prefix="a.")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".b.json.x2.tmp", "elsewhere", "mine.tmp"]
    clear_abandoned(tmp_path)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a.json", "a.json", "elsewhere", "mine.tmp"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / "x" / ".a.json.random.tmp"))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(PermissionError) as caught:
        write_text(tmp_path / "x" / "a.json", "")
    assert caught.value.filename == str(tmp_path / "x")


def test_a_length_that_is_claimed_reserves_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    tracemalloc.start()
    with open_file(tmp_path / "a") as file:
        assert file.read(1 << 40) == b"abc" and file.read(1 << 40) == b"" and file.read() == b""
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
