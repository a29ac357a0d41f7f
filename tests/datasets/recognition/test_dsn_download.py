from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sarhub_models.datasets import download_dsn, load_dsn
from sarhub_models.datasets.recognition.dsn.reader import SPLITS
from sarhub_models.errors import DownloadError, IntegrityError, OfflineError, UnknownNameError
from sarhub_models.weights import http
from tests.datasets.repository import TOP, archive, listing, repository
from tests.weights.loopback import Fault, FileServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(http, "RETRY_WAITS", (0.0,))
    with FileServer() as running:
        files = repository()
        running.files = {"/tree": listing(files), "/archive": archive(files)}
        yield running


def fetch(server: FileServer, root: Path, *parts: str) -> list[Path]:
    urls = {"listing_url": f"{server.url}/tree", "archive_url": f"{server.url}/archive"}
    return download_dsn(root, parts=parts or ("s1", "tsx"), **urls)  # type: ignore[arg-type]


def requests(server: FileServer, path: str) -> list[int]:
    return [request.status for request in server.log if request.path == path]


def test_patches_arrive_packed(server: FileServer, tmp_path: Path) -> None:
    assert fetch(server, tmp_path) == [tmp_path / "s1.npz", tmp_path / "tsx.npz"]
    assert sum(len(load_dsn(tmp_path, split=split).labels) for split in SPLITS) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "s1.npz", "tsx.npz"]
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("data/**/*") if path.is_file()}
    expected = {path for path in repository() if path.endswith(".npy") and "OpenSARShip" not in path}
    assert kept == expected


def test_what_is_there_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    fetch(server, tmp_path)
    assert requests(server, "/archive") == [200]


def test_a_changed_file_is_replaced(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    patch = next((tmp_path / "data/slc_data/water").glob("*.npy"))
    good = patch.read_bytes()
    patch.write_bytes(good[:-1] + b"\x01")
    fetch(server, tmp_path)
    assert patch.read_bytes() == good


def test_a_cut_download_is_continued(server: FileServer, tmp_path: Path) -> None:
    server.faults["/archive"] = [Fault(after=100_000), Fault(after=0)]
    with pytest.raises(DownloadError, match="resumes"):
        fetch(server, tmp_path)
    assert not list(tmp_path.glob("*.npz"))
    fetch(server, tmp_path)
    assert [request.status for request in server.log if request.path == "/archive"][-1] == 206
    assert len(load_dsn(tmp_path).labels) > 0


@pytest.mark.slow
def test_a_file_that_differs_from_the_listing_is_refused(server: FileServer, tmp_path: Path) -> None:
    files = repository()
    path = "data/slc_data/water/water_4312_HH_0_900.npy"
    server.files["/archive"] = archive({**files, path: files[path][:-1] + b"\x01"})
    with pytest.raises(IntegrityError, match="expected git blob"):
        fetch(server, tmp_path)
    assert not (tmp_path / path).exists()
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob("*.tar.gz"))
    server.files["/archive"] = archive(files)
    fetch(server, tmp_path)
    assert (tmp_path / path).read_bytes() == files[path]


@pytest.mark.parametrize("content", [b"no archive", b"", archive(repository())[:50_000]])
def test_a_damaged_archive_is_deleted(server: FileServer, tmp_path: Path, content: bytes) -> None:
    server.files["/archive"] = content
    with pytest.raises(IntegrityError, match="damaged"):
        fetch(server, tmp_path)
    assert not list(tmp_path.glob("*.tar.gz")) and not list(tmp_path.glob("*.npz"))


def test_an_archive_without_a_listed_file_is_refused(server: FileServer, tmp_path: Path) -> None:
    files = repository()
    del files["data/slc_data/water/water_4312_HH_0_900.npy"]
    server.files["/archive"] = archive(files)
    with pytest.raises(IntegrityError, match="lacks 1 listed file"):
        fetch(server, tmp_path)


def test_members_that_are_not_listed_regular_files_are_never_written(server: FileServer, tmp_path: Path) -> None:
    root = tmp_path / "root"
    extra = []
    for name in ("../escaped.npy", "/absolute.npy", f"{TOP}/../escaped.npy", f"{TOP}/data/slc_data/water/odd.npy"):
        extra.append(tarfile.TarInfo(name))
        extra[-1].size = 1
    link = tarfile.TarInfo(f"{TOP}/data/slc_data/water/water_4312_HH_0_900.npy")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    server.files["/archive"] = archive(repository(), [*extra, link])
    fetch(server, root)
    assert {path.name for path in tmp_path.iterdir()} == {"root"}
    assert not (root / "data/slc_data/water/odd.npy").exists()
    assert not (root / "data/slc_data/water/water_4312_HH_0_900.npy").is_symlink()


@pytest.mark.parametrize("path", ["data/slc_data/../../escaped.npy", "data/slc_data/../escaped.npy", "/data/x/y.npy"])
def test_paths_that_climb_are_not_taken_from_the_listing(server: FileServer, tmp_path: Path, path: str) -> None:
    files = {**repository(), path: b"evil"}
    server.files = {"/tree": listing(files), "/archive": archive(files)}
    fetch(server, tmp_path / "root")
    assert {entry.name for entry in tmp_path.iterdir()} == {"root"}
    assert not list(tmp_path.rglob("escaped.npy"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not a listing"),
        (b"[]", "not a listing"),
        (listing(repository(), truncated=True), "only a part"),
        (listing({"README.md": b""}), "lists no patches"),
        (listing({"data/slc_data/water/big.npy": b"0" * (2 << 20), "data/slc_TSX/ships/a.npy": b""}), "too large"),
    ],
)
def test_an_unusable_listing_is_refused(server: FileServer, tmp_path: Path, content: bytes, message: str) -> None:
    server.files["/tree"] = content
    with pytest.raises(IntegrityError, match=message):
        fetch(server, tmp_path)
    assert requests(server, "/archive") == []
    assert list(tmp_path.iterdir()) == []


def test_offline_never_asks(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="SARHUB_OFFLINE"):
        fetch(server, tmp_path)
    assert server.log == []


def test_unknown_parts_are_named(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 's1'"):
        fetch(server, tmp_path, "s11")
