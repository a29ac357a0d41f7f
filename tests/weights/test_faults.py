"""What goes wrong on real machines. After each fault the next run must succeed and nothing of it may be trusted."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sarhub_models.errors import CheckpointError, DownloadError, IntegrityError
from sarhub_models.weights import Store
from sarhub_models.zoo.manifest import ModelInfo

from . import tiny
from .loopback import Fault, FileServer
from .test_store import assert_same, sha256
from .tiny import INFO, NAME, SPEC, Child, info


@pytest.fixture
def model(server: FileServer) -> ModelInfo:
    server.files["/w.pth"] = tiny.pth()
    return info({"type": "http", "url": server.url + "/w.pth"})


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 600
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.01)


def test_a_cut_connection_is_resumed_within_one_run(server: FileServer, store: Store, model: ModelInfo) -> None:
    server.faults["/w.pth"] = [Fault(after=150_000)]
    assert_same(store.path(model, SPEC))
    first, second = server.log
    assert (first.range, first.status) == (None, 200)
    assert second.status == 206
    start = int(second.range.removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 150_000


def test_several_attempts_are_one_line(
    server: FileServer, store: Store, model: ModelInfo, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults["/w.pth"] = [Fault(after=100), Fault(status=503), Fault(after=100)]
    with pytest.raises(DownloadError):
        store.path(model, SPEC)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"{server.url}/w.pth: ") and line.endswith("; trying again")


def test_a_cut_connection_is_resumed_by_the_next_run(server: FileServer, store: Store, model: ModelInfo) -> None:
    server.faults["/w.pth"] = [Fault(after=100_000), Fault(after=10), Fault(after=10)]
    with pytest.raises(DownloadError, match=r"bytes are kept.*sarhub download tiny_toy"):
        store.path(model, SPEC)
    assert store.cached(INFO) is None
    assert store.entries() == []
    asked = len(server.log)
    assert_same(store.path(model, SPEC))
    (last,) = server.log[asked:]
    assert last.status == 206


def test_wrong_bytes_are_found_without_any_hash(server: FileServer, store: Store, model: ModelInfo) -> None:
    """Every record of a zip checkpoint carries a CRC-32."""
    damaged = bytearray(server.files["/w.pth"])
    damaged[len(damaged) // 2] ^= 1
    good, server.files["/w.pth"] = server.files["/w.pth"], bytes(damaged)
    with pytest.raises(CheckpointError, match=r"damaged.*put in .*quarantine"):
        store.path(model, SPEC)
    assert store.cached(INFO) is None
    server.files["/w.pth"] = good
    assert_same(store.path(model, SPEC))


def test_wrong_bytes_in_a_resumed_half(server: FileServer, store: Store, model: ModelInfo) -> None:
    """A partial file that rotted on the disk is found by the checksum, and the run after it starts afresh."""
    data = server.files["/w.pth"]
    model = info(*model.sources, checksum=sha256(data))
    server.faults["/w.pth"] = [Fault(after=100_000), Fault(after=10), Fault(after=10)]
    with pytest.raises(DownloadError):
        store.path(model, SPEC)
    part = store.root / "downloads" / NAME / f"{NAME}.part"
    part.write_bytes(b"\xff" + part.read_bytes()[1:])
    with pytest.raises(IntegrityError):
        store.path(model, SPEC)
    assert_same(store.path(model, SPEC))
    assert server.log[-1].range is None


@pytest.mark.parametrize("keep", [0, 4, 100, 20_000, 200_000])
def test_a_truncated_safetensors_file(server: FileServer, store: Store, tmp_path: Path, keep: int) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    whole = Store(tmp_path / "other").import_file(tmp_path / "w.pth", tiny.INFO, SPEC).read_bytes()
    server.files["/w"] = whole[:keep]
    model = info({"type": "http", "url": server.url + "/w"})
    with pytest.raises(CheckpointError, match=r"cut off|truncated"):
        store.path(model, SPEC)
    assert store.cached(INFO) is None
    server.files["/w"] = whole
    assert_same(store.path(model, SPEC))


@pytest.mark.slow
def test_eight_processes_make_one_download(server: FileServer, store: Store, model: ModelInfo, tmp_path: Path) -> None:
    children = [Child(tmp_path / f"child{i}", tiny.fetch, store.root, model) for i in range(8)]
    outcomes = [child.outcome() for child in children]
    assert outcomes == [("ok", str(store.root / f"{NAME}.safetensors"))] * 8
    assert len(server.log) == 1
    assert_same(store.path(model, SPEC))


def test_a_process_killed_in_the_middle_of_a_download(
    server: FileServer, store: Store, model: ModelInfo, tmp_path: Path
) -> None:
    server.faults["/w.pth"] = [Fault(after=150_000, stall=True)]
    child = Child(tmp_path / "child", tiny.fetch, store.root, model)
    assert server.stalled.wait(600)
    part = store.root / "downloads" / NAME / f"{NAME}.part"
    deadline = time.monotonic() + 600
    while not (part.exists() and part.stat().st_size > 0):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    assert store.cached(INFO) is None
    assert store.entries() == []
    assert_same(store.path(model, SPEC))
    assert server.log[-1].status == 206


@pytest.mark.parametrize("stage", ["reading", "writing", "renaming"])
def test_a_process_killed_in_the_middle_of_a_conversion(
    server: FileServer, store: Store, model: ModelInfo, tmp_path: Path, stage: str
) -> None:
    reached = tmp_path / "reached"
    child = Child(tmp_path / "child", tiny.fetch_and_hang, store.root, model, stage, reached)
    wait_for(reached)
    child.kill()
    assert store.cached(INFO) is None
    assert store.entries() == []
    assert_same(store.path(model, SPEC))
    assert [path.name for path in store.root.glob("*.safetensors")] == [f"{NAME}.safetensors"]
    assert not list(store.root.glob(".*")), "the temporary file of the killed process is gone"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_cache_of_somebody_else(server: FileServer, model: ModelInfo, open_folder: Path, tmp_path: Path) -> None:
    store = Store(open_folder / "cache")
    store.root.mkdir()
    store.root.chmod(0o555)
    fetch = tiny.fetch_as_nobody if os.geteuid() == 0 else tiny.fetch
    kind, message = Child(tmp_path / "first", fetch, store.root, model).outcome()
    assert kind == "DownloadError"
    assert str(store.root) in message
    assert "SARHUB_CACHE" in message
    assert server.log == []
    store.root.chmod(0o755)
    path = store.path(model, SPEC)
    store.root.chmod(0o555)
    assert Child(tmp_path / "second", fetch, store.root, model).outcome() == ("ok", str(path))


def test_a_cache_that_cannot_exist(server: FileServer, model: ModelInfo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match="SARHUB_CACHE"):
        Store(tmp_path / "file" / "cache").path(model, SPEC)
    assert server.log == []


@pytest.mark.parametrize("limit", [10_000, 100_000])
def test_a_full_disk_in_a_download(
    server: FileServer, store: Store, model: ModelInfo, tmp_path: Path, limit: int
) -> None:
    kind, message = Child(tmp_path / "child", tiny.fetch_with_file_limit, store.root, model, limit).outcome()
    assert kind == "DownloadError"
    assert "File too large" in message
    assert "SARHUB_CACHE" in message
    assert len(server.log) == 1, "a full disk is no reason to ask again"
    assert store.entries() == []
    assert_same(store.path(model, SPEC))


@pytest.mark.parametrize("limit", [5_000, 200_000])
def test_a_full_disk_in_a_conversion(store: Store, tmp_path: Path, limit: int) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(tiny.pth())
    kind, message = Child(tmp_path / "child", tiny.import_with_file_limit, store.root, file, limit).outcome()
    assert kind == "DownloadError"
    assert "File too large" in message
    assert store.entries() == []
    assert not [path for path in store.root.iterdir() if path.is_file()]
    assert_same(store.import_file(file, tiny.INFO, SPEC))


def test_a_disk_that_fills_up(server: FileServer, model: ModelInfo, small_disk: Path) -> None:
    store = Store(small_disk)
    with pytest.raises(DownloadError, match="No space left on device"):
        store.path(model, SPEC)
    assert store.entries() == []
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    assert_same(store.path(model, SPEC))


def test_a_foreign_checkpoint(server: FileServer, store: Store, model: ModelInfo) -> None:
    good, server.files["/w.pth"] = server.files["/w.pth"], tiny.pth({"conv1.weight": torch.ones(3)})
    with pytest.raises(CheckpointError, match=rf"{NAME}.*conv1\.weight.*quarantine"):
        store.path(model, SPEC)
    server.files["/w.pth"] = good
    assert_same(store.path(model, SPEC))


class Attack:
    """What opening the file would do."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.victim}",)


def test_a_pickle_with_code_in_it(server: FileServer, store: Store, model: ModelInfo, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    good = server.files["/w.pth"]
    server.files["/w.pth"] = tiny.pth({"net.stem.weight": torch.ones(1), "extra": Attack(victim)})
    with pytest.raises(CheckpointError, match=r"refused.*code.*posix\.system|refused.*code.*nt\.system"):
        store.path(model, SPEC)
    assert not victim.exists()
    assert store.entries() == []
    server.files["/w.pth"] = good
    assert_same(store.path(model, SPEC))


def test_what_is_loaded_is_what_was_released(store: Store, model: ModelInfo) -> None:
    loaded = load_file(store.path(model, SPEC))
    assert all(torch.equal(loaded[key], value) for key, value in tiny.rename(tiny.released()).items())
