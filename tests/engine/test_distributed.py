"""Two processes on loopback (gloo, CPU) compute what one does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stderr
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from sarhub_models.engine import objective, trainer
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import load_run
from training import pretrain
from training.evaluate import score_run

from .conftest import CHILDREN, fit, read_rows, tiny, write_images
from .test_resume import assert_same_run, end, last, wait_for_change

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SPEED = ("images_per_second", "waiting_for_data")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_rank(rank: int, port: int, arguments: list[str], save: bool) -> None:
    """What torchrun does for each of two processes."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({key: str(value) for key, value in ranks.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    if not save:
        drop_checkpoints(trainer)
    note_scored(Path(f"{arguments[-1]}_{rank}_scored.txt"))
    with Path(f"{arguments[-1]}_{rank}.txt").open("w") as errors, redirect_stderr(errors):
        pretrain.app(args=arguments, prog_name="training.pretrain")


def note_scored(file: Path) -> None:
    """Write a digest of every network that is scored."""
    score = objective.score

    def noted(network: nn.Module, *others: Any, **options: Any) -> Any:
        digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in network.state_dict().values()))
        with file.open("a") as stream:
            stream.write(f"{digest.hexdigest()}\n")
        return score(network, *others, **options)

    objective.score = noted  # type: ignore[assignment]


def errors(out: Path) -> list[str]:
    """The last line that each process has written to its standard error."""
    texts = [Path(f"{out}_{rank}.txt").read_text().strip() for rank in range(2)]
    return [text.splitlines()[-1] if text else "" for text in texts]


def drop_checkpoints(module: Any, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """Half a gigabyte for each epoch of a Swin."""
    for name in ("save_last", "save_best"):
        (monkeypatch.setattr if monkeypatch else setattr)(module, name, lambda *_: None)


def start(arguments: list[str], save: bool = True) -> list[BaseProcess]:
    port = free_port()
    ranks = [CHILDREN.Process(target=run_rank, args=(rank, port, arguments, save)) for rank in range(2)]
    for child in ranks:
        child.start()
    return ranks


def arguments(recipe: Recipe, out: Path) -> list[str]:
    """The command line of a recipe, each value of which is given."""
    values = recipe.model_dump(mode="json")
    values["model"].pop("network")
    values["data"].pop("name")
    operators = values["preprocess"].pop("operators")
    values |= {f"preprocess.operators.{name}": limits for name, limits in operators.items()}
    given = [f"{section}.{key}={json.dumps(value)}" for section, keys in values.items() for key, value in keys.items()]
    return [recipe.name, *given, "--out", str(out)]


@pytest.mark.parametrize("loss", ["mini_cbl", "cbl"])
def test_two_processes_compute_the_losses_and_scores_of_one(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "images", {"a": 3, "b": 2})  # so one validates three samples, the other two
    drawn = ("preprocess.draa=true", "augment.geometry=flip_rotate", "preprocess.size=128", "loss.beta=0.9")
    # With such an eps AdamW's steps grow with the gradients, so that a wrong factor on them would show.
    steps = ("optim.epochs=2", "optim.eps=1", "optim.max_lr=0.5", "optim.lr_factor=1")
    values = (f"loss.name={loss}", "loss.gamma=2", *drawn, *steps)
    halves = tiny("swin_t_folder", root, *values, "optim.batch_size=2")
    for child in start(arguments(halves, tmp_path / "two"), save=False):
        assert end(child) == 0
    drop_checkpoints(trainer, monkeypatch)
    alone = fit(tiny("swin_t_folder", root, *values, "optim.batch_size=4"), tmp_path / "one")
    rows = read_rows(tmp_path / "two")
    for row, expected in zip(rows, alone.history, strict=True):
        for key in expected.keys() - set(SPEED):
            assert row[key] == pytest.approx(expected[key], abs=1e-5), key


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Everything random, BatchNorm, CutMix, whose losses the processes compute together, and two damaged samples."""
    root = write_images(tmp_path_factory.mktemp("data") / "images", {"a": 26, "b": 14})
    for name in ("a/3.npy", "b/7.npy"):
        (root / name).write_bytes(b"damaged")
    drawn = ("preprocess.draa=true", "augment.geometry=dihedral", "augment.cutmix=0.5", "model.drop_rate=0.2")
    others = ("optim.ema=0.9", "optim.epochs=2", "optim.batch_size=2", "data.on_error=skip", "data.workers=1")
    return tiny("mobilenetv3_folder", root, *drawn, *others)


@pytest.fixture(scope="module")
def uninterrupted(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    assert [end(child) for child in start(arguments(recipe, folder))] == [0, 0]
    return folder


def test_what_any_process_leaves_out_is_counted_and_named(uninterrupted: Path) -> None:
    assert [row["skipped"] for row in read_rows(uninterrupted)] == [2, 2]
    assert json.loads((uninterrupted / "run.json").read_text())["skipped"] == ["a/3.npy", "b/7.npy"]


@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_scores_are_those_of_the_network_that_is_kept(
    ema: float | None, uninterrupted: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = uninterrupted
    if ema is None:  # then each process has running averages of its own samples
        plain = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"ema": None})})
        out = tmp_path / "run"
        assert [end(child) for child in start(arguments(plain, out))] == [0, 0]
    run = load_run(Path(shutil.copytree(out, tmp_path / "copy")))  # scoring leaves files
    assert run.recipe.optim.ema == ema
    assert score_run(run, "val") == pytest.approx(run.val)
    scored = [Path(f"{out}_{rank}_scored.txt").read_text().split() for rank in range(2)]
    assert scored[0] == scored[1] and len(scored[0]) == 2


def test_processes_of_torchrun_save_once_when_asked_to_stop_and_go_on_exactly(
    uninterrupted: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command = [sys.executable, "-m", *torchrun, "-m", "training.pretrain", *arguments(recipe, out)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            wait_for_change(out / "last.pt", Poll(process))  # type: ignore[arg-type]
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=600)[1]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0 and f"to resume, give the same command again ({out})" in errors
    state = last(out)
    assert 10 <= state["step"] < 20 and not (out / "run.json").exists()
    assert [end(child) for child in start(arguments(recipe, out))] == [0, 0]
    assert_same_run(out, uninterrupted)


class Poll:
    """A process of subprocess, asked as one of multiprocessing."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def is_alive(self) -> bool:
        return self.process.poll() is None


def test_two_processes_stop_together_at_a_loss_that_is_not_finite(recipe: Recipe, tmp_path: Path) -> None:
    absurd = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"max_lr": 1e30})})
    ranks = start(arguments(absurd, tmp_path / "run"))
    codes = []
    for child in ranks:  # torchrun ends the others when one fails
        child.join(300 if not codes else 20)
        codes.append(child.exitcode)
        child.kill()
    failed = codes.index(1)
    assert 0 not in codes and "error: training diverged at step" in errors(tmp_path / "run")[failed]
    assert (tmp_path / "run" / f"{failed}_diverged.npz").is_file()


def test_more_processes_than_the_data_can_feed_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    large = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"batch_size": 21})})
    assert [end(child) for child in start(arguments(large, tmp_path / "run"))] == [1, 1]
    assert all("optim.batch_size=21 × 2 process(es)" in error for error in errors(tmp_path / "run"))
