"""Checkpoints appear whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sarhub_models.engine.checkpoint import load_last, save_last
from sarhub_models.engine.run import load_run
from sarhub_models.errors import CheckpointError, DataError

WEIGHTS = torch.arange(4096.0)


def saved(folder: Path, *epochs: int) -> Path:
    for epoch in epochs:
        save_last(folder, {"epoch": epoch, "model": {"weight": WEIGHTS * epoch}})
    return folder / "last.pt"


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


def zeroed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes(4096) + content[place + 4096 :]


def cut(content: bytes, place: int) -> bytes:
    return content[:place]


@pytest.mark.parametrize("damage", [flipped, zeroed, cut, lambda content, place: b""])
def test_damage_of_the_last_checkpoint_is_found_and_the_one_before_it_used(
    damage: Callable[[bytes, int], bytes], tmp_path: Path
) -> None:
    file = saved(tmp_path, 1, 2)
    content = file.read_bytes()
    place = content.index((WEIGHTS * 2).numpy().tobytes()) + 5000
    file.write_bytes(damage(content, place))
    with pytest.warns(UserWarning, match=r"last\.pt is missing or damaged: the run resumes from the checkpoint before"):
        found = load_last(tmp_path)
    assert found is not None and found["epoch"] == 1 and torch.equal(found["model"]["weight"], WEIGHTS)
    (tmp_path / "previous.pt").unlink()
    with pytest.raises(CheckpointError, match=r"last\.pt cannot be read \(.*start again in another folder"):
        load_last(tmp_path)


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    saved(tmp_path, 1).replace(tmp_path / "previous.pt")
    with pytest.warns(UserWarning, match="resumes from the checkpoint before it"):
        found = load_last(tmp_path)
    assert found is not None and found["epoch"] == 1


def test_there_is_a_checkpoint_under_its_name_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(temporary: Path, target: Path) -> None:
        last = tmp_path / "last.pt"
        there.append(torch.load(last, weights_only=True)["epoch"] if last.exists() else None)
        replace(temporary, target)

    replace, there = os.replace, []
    monkeypatch.setattr(os, "replace", seen)
    saved(tmp_path, 1, 2, 3)
    assert there == [None, 1, 1, 2, 2]  # each checkpoint but the first has two names to get
    assert torch.load(tmp_path / "previous.pt", weights_only=True)["epoch"] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_a_file_system_without_links_keeps_the_one_before_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    saved(tmp_path, 1, 2).unlink()
    with pytest.warns(UserWarning, match="resumes from the checkpoint before it"):
        found = load_last(tmp_path)
    assert found is not None and found["epoch"] == 1


def test_where_both_are_damaged_the_last_one_is_named(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2).write_bytes(b"PK")
    (tmp_path / "previous.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"last\.pt cannot be read"):
        load_last(tmp_path)
    assert load_last(tmp_path / "another") is None


SUMMARY = {"recipe": {}, "mean": 0.5, "std": 0.2, "class_names": ["a"], "multilabel": False, "val": {}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 200_000,
        "[]",
        "3",
        *(json.dumps({**SUMMARY, key: None}) for key in SUMMARY if key != "multilabel"),
    ],
)
def test_a_damaged_summary_of_a_run_is_one_error_that_names_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json is damaged: "):
        load_run(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_told_and_leaves_nothing_half(tiny_dsn: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from training import pretrain; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)); pretrain.app(sys.argv[1:])"
    )
    values = [f"data.root={tiny_dsn}", "preprocess.size=32", "optim.batch_size=16", "optim.epochs=1"]
    command = [sys.executable, "-c", code, "mobilenetv3_dsn", *values, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "error: " in done.stderr and "Is the disk full?" in done.stderr and "Traceback" not in done.stderr
    assert not [file.name for file in (tmp_path / "run").iterdir() if file.suffix in (".pt", ".safetensors", ".tmp")]
