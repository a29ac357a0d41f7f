"""A run that is killed, stopped or moved ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from sarhub_models.engine import run
from sarhub_models.engine.interruption import StopRequest
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import is_finished, open_splits, train
from sarhub_models.engine.trainer import Trainer, make_accelerator
from sarhub_models.errors import CheckpointError, DataError, OptionError
from training import pretrain

from .conftest import CHILDREN, fit, read_rows, tiny, write_images

pytestmark = pytest.mark.slow

RANDOM = (
    *("preprocess.draa=true", "augment.geometry=flip_rotate", "augment.cutmix=0.5", "model.drop_rate=0.2"),
    *("model.drop_path_rate=0.1", "optim.ema=0.9", "optim.epochs=3", "data.workers=2"),
    *("loss.name=mini_cbl", "loss.gamma=2", "preprocess.operator=ptls"),
)
SPEED = ("images_per_second", "waiting_for_data")
STEPS = 18
runner = CliRunner()


def run_command(arguments: list[str]) -> None:
    """What ``python -m training.pretrain`` does, in a process group of its own."""
    os.setsid()
    pretrain.app(args=arguments, prog_name="training.pretrain")


def start(root: Path, out: Path, *values: str) -> BaseProcess:
    small = ("preprocess.size=32", "optim.batch_size=8", "runtime.threads=1", "runtime.precision=fp32")
    arguments = ["mobilenetv3_dsn", *small, *RANDOM, f"data.root={root}", *values, "--out", str(out)]
    child = CHILDREN.Process(target=run_command, args=(arguments,))
    child.start()
    return child


def end(child: BaseProcess, seconds: float = 600) -> int | None:
    child.join(seconds)
    code = child.exitcode
    if code is None:
        child.kill()
    return code


def wait_for_change(file: Path, child: BaseProcess, seconds: float = 600) -> None:
    """Wait until a file is replaced, or the process has ended."""
    before, until = file.stat().st_ino if file.exists() else None, time.monotonic() + seconds
    while child.is_alive() and (not file.exists() or file.stat().st_ino == before):
        assert time.monotonic() < until, f"{file} did not change within {seconds} s"
        time.sleep(0.005)


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.pt", weights_only=True)


def assert_same(one: Any, other: Any, where: str) -> None:
    """Compare nested values bit by bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path) -> None:
    """Compare all that two runs leave, but for how fast they were and when they saved."""
    assert (one / "best.safetensors").read_bytes() == (other / "best.safetensors").read_bytes()
    rows, others = ([{k: v for k, v in row.items() if k not in SPEED} for row in read_rows(f)] for f in (one, other))
    assert rows == others
    kept = ("step", "total", "skipped", "mean", "std", "detail", "model", "averaged", "optimizer", "schedule")
    state, expected = last(one), last(other)
    for key in kept:
        assert_same(state[key], expected[key], key)
    assert (one / "val.png").read_bytes() == (other / "val.png").read_bytes()
    assert {file.name for file in one.iterdir()} == {file.name for file in other.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(tiny_dsn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    assert end(start(tiny_dsn, folder)) == 0
    assert last(folder)["step"] == STEPS
    return folder


def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(
    uninterrupted: Path, tiny_dsn: Path, tmp_path: Path
) -> None:
    out, moments, steps, killed = tmp_path / "run", random.Random(), [], set()
    for _ in range(4):
        child = start(tiny_dsn, out, "runtime.save_minutes=1e-9")  # a checkpoint after nearly every step
        wait_for_change(out / "last.pt", child)
        time.sleep(moments.uniform(0, 0.4))
        child.kill()
        end(child)
        killed.add(child.pid)
        steps.append(last(out)["step"])
        (out / ".curves.png.x.tmp").mkdir(exist_ok=True)  # as if the kill had arrived while that was written
    assert steps == sorted(steps) and steps[0] > 0
    assert end(start(tiny_dsn, out, "runtime.save_minutes=1e-9")) == 0
    assert_same_run(out, uninterrupted)
    until = time.monotonic() + 600
    while living(killed):  # the workers notice, too
        assert time.monotonic() < until
        time.sleep(0.1)


def living(groups: set[int | None]) -> list[psutil.Process]:
    """The processes of some groups that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) in groups and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_sigterm_saves_and_ends_with_75_and_the_same_command_goes_on(
    uninterrupted: Path, tiny_dsn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    child = start(tiny_dsn, out)
    wait_for_change(out / "last.pt", child)  # after the first epoch; the next by itself would be after the second
    assert child.pid is not None
    for _ in range(2):  # to the workers, too, and twice, as schedulers do
        os.killpg(child.pid, signal.SIGTERM)
        time.sleep(0.01)
    assert end(child) == pretrain.INTERRUPTED == 75
    state = last(out)
    assert STEPS / 3 < state["step"] < STEPS and not (out / "run.json").exists()
    assert len(state["history"]) == state["step"] // (STEPS // 3)
    assert end(start(tiny_dsn, out)) == 0
    assert_same_run(out, uninterrupted)
    board = EventAccumulator(str(out / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("epoch/loss")] == [5, 11, 17], "also those of before"


def test_one_ctrl_c_waits_for_the_step_and_the_second_does_not() -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # outside, all is as before
        os.kill(os.getpid(), signal.SIGINT)


def stopped(recipe: Recipe, out: Path, after: int) -> Trainer:
    """Start a run, and ask it to stop in a step."""
    out.mkdir()
    trainer = Trainer(recipe, *open_splits(recipe), out, make_accelerator(recipe.runtime, recipe.optim.accumulate))

    def stop(step: int, loss: float) -> None:
        trainer.stop.requested = step >= after

    assert not trainer.run(stop, lambda row: None)
    return trainer


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", {"a": 12, "b": 12})


def small(root: Path, *values: str) -> Recipe:
    known = ("preprocess.mean=0.5", "preprocess.std=0.3", "optim.batch_size=4", "optim.epochs=2")
    return tiny("mobilenetv3_folder", root, *known, *values)


@pytest.mark.parametrize("after", [1, 2])
def test_a_stop_waits_for_the_gradients_that_belong_together(after: int, images: Path, tmp_path: Path) -> None:
    recipe = small(images, "optim.accumulate=2", "augment.cutmix=0.5", "optim.ema=0.9")
    fit(recipe, tmp_path / "whole")
    trainer = stopped(recipe, tmp_path / "run", after)
    assert trainer.step == max(2, after + after % 2)
    assert train(recipe, tmp_path / "run")
    state, expected = last(tmp_path / "run"), last(tmp_path / "whole")
    for key in ("step", "total", "model", "averaged", "optimizer", "schedule"):
        assert_same(state[key], expected[key], key)
    assert [row["loss"] for row in state["history"]] == [row["loss"] for row in expected["history"]]


def test_what_does_not_change_the_result_may_change_on_the_way(images: Path, tmp_path: Path) -> None:
    fit(small(images), tmp_path / "whole")
    stopped(small(images), tmp_path / "run", 3)
    shutil.move(images, tmp_path / "moved")
    moved = small(tmp_path / "moved", "data.workers=1", "runtime.save_minutes=1", "runtime.threads=1")
    assert train(moved, tmp_path / "run")
    assert_same(last(tmp_path / "run")["model"], last(tmp_path / "whole")["model"], "model")


def test_starting_weights_are_not_needed_to_go_on(images: Path, tmp_path: Path) -> None:
    fit(small(images, "runtime.seed=1"), tmp_path / "before")
    weights = tmp_path / "weights.safetensors"
    shutil.copy(tmp_path / "before" / "best.safetensors", weights)
    recipe = small(images, f"model.init={weights}")
    stopped(recipe, tmp_path / "run", 2)
    body = load_file(weights)["conv_stem.weight"]
    assert (last(tmp_path / "run")["model"]["conv_stem.weight"] - body).abs().max() < 1e-3  # it did start from them
    weights.unlink()
    assert train(recipe, tmp_path / "run")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_with_another_run_is_refused_and_left_untouched(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped(small(images), out, 3)
    before = contents(out)
    for values, named in (
        (("optim.epochs=3",), r"optim\.epochs: 2 there, 3 now"),
        (("optim.batch_size=2",), "samples per step of all processes: 4 there, 2 now"),
        (("loss.gamma=2", "optim.ema=0.5"), r"loss\.gamma: None there, 2\.0 now; optim\.ema: None there, 0\.5 now"),
        (("data.full_scale=2",), r"data\.full_scale"),
    ):
        with pytest.raises(OptionError, match=named):
            train(small(images, *values), out)
        assert contents(out) == before
    with pytest.raises(OptionError, match=r"model\.network: 'mobilenetv3' there, 'resnet18' now"):
        train(tiny("resnet18_folder", images, "optim.batch_size=4", "optim.epochs=2"), out)
    np.save(images / "a" / "new.npy", np.load(images / "a" / "0.npy"))
    with (images / "train.txt").open("a") as stream:
        stream.write("a/new.npy 0\n")
    with pytest.raises(OptionError, match=r"samples of each class: \[12, 12\] there, \[13, 12\] now"):
        train(small(images), out)
    assert contents(out) == before


def test_a_run_does_not_go_on_with_other_pixels(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped(small(images), out, 3)
    before = contents(out)
    first = np.load(images / "a" / "0.npy")
    np.save(images / "a" / "0.npy", first / 2)
    with pytest.raises(OptionError, match=r"run holds another run \(other samples, labels or pixels\)"):
        train(small(images), out)
    assert contents(out) == before
    np.save(images / "a" / "0.npy", first)
    moved = images.rename(tmp_path / "moved")
    assert train(small(moved), out)
    assert is_finished(small(moved), out) and not is_finished(small(moved), tmp_path / "none")
    np.save(moved / "a" / "0.npy", first / 2)
    with pytest.raises(OptionError, match="other samples, labels or pixels"):
        is_finished(small(moved), out)


def test_two_commands_do_not_train_in_one_folder(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PATIENCE", 0)
    out = tmp_path / "run"
    with FileLock(tmp_path / ".run.lock"), pytest.raises(DataError, match="another process trains in"):
        train(small(images), out)
    assert not any(out.iterdir())
    assert train(small(images), out), "the lock is free again"


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_a_damaged_checkpoint_is_named_and_kept(damage: str, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped(small(images), out, 1)
    file = out / "last.pt"
    if damage == "foreign":
        torch.save({"model": {"weight": torch.zeros(3)}}, file)
    else:
        file.write_bytes(file.read_bytes()[: 100_000 if damage == "truncated" else 0])
    before = contents(out)
    with pytest.raises(CheckpointError, match=r"last\.pt .*start again in another folder") as caught:
        train(small(images), out)
    assert "\n" not in str(caught.value) and contents(out) == before


def test_the_state_of_a_scaler_goes_on(images: Path, tmp_path: Path) -> None:
    recipe = tiny("mobilenetv3_folder", images)
    scales = []
    for initial in (2.0**7, 2.0**3):
        accelerator = make_accelerator(recipe.runtime, 1)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=initial)  # as Accelerate has one for fp16 on a GPU
        trainer = Trainer(recipe, *open_splits(recipe), tmp_path, accelerator)
        next(trainer.batches())
        trainer.save()
        scales.append(accelerator.scaler.get_scale())
    assert scales == [2.0**7, 2.0**7]
