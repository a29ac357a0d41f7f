"""Fine-tuning: SGD and steps, an epoch of so many steps, a fraction of the labels, and no validation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models.engine.checkpoint import load_last, save_last
from sarhub_models.engine.initialization import build_network
from sarhub_models.engine.optimizer import make_optimizer
from sarhub_models.engine.preview import preview
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import load_run, train
from training.recipes import load_recipe

from .conftest import read_rows, tiny, write_images
from .test_resume import assert_same, last, stopped

VALUES = (
    *("preprocess.mean=0.5", "preprocess.std=0.3", "optim.batch_size=4", "optim.epochs=5", "optim.epoch_steps=2"),
    *("optim.name=sgd", "optim.schedule=step", "optim.step_epochs=2", "optim.max_lr=0.01", "optim.weight_decay=1e-3"),
    *("data.balanced=true", "data.fraction=0.4", "evaluation.split=null"),
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", {"a": 12, "b": 6})


def small(root: Path, *values: str) -> Recipe:
    return tiny("mobilenetv3_folder", root, *VALUES, *values)


@pytest.mark.slow
def test_a_run_without_validation_keeps_the_last_epoch(images: Path, tmp_path: Path) -> None:
    (images / "val.txt").unlink()  # it is not even looked for
    assert train(small(images), tmp_path / "run")
    rows = read_rows(tmp_path / "run")
    assert len(rows) == 5 and "overall_accuracy" not in rows[0]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.01, 0.005, 0.005, 0.0025, 0.0025])
    run, state = load_run(tmp_path / "run"), last(tmp_path / "run")
    assert run.val == {} and state["step"] == 10
    assert json.loads((tmp_path / "run" / "run.json").read_text())["best_epoch"] == 5
    assert not (tmp_path / "run" / "val.png").exists() and (tmp_path / "run" / "curves.png").exists()
    for key, tensor in run.model().state_dict().items():
        torch.testing.assert_close(tensor, state["model"][key].to(tensor.dtype), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 5])
def test_a_stopped_run_ends_as_if_nothing_had_happened(after: int, images: Path, tmp_path: Path) -> None:
    assert train(small(images), tmp_path / "whole")
    stopped(small(images), tmp_path / "run", after)
    assert not (tmp_path / "run" / "best.safetensors").exists(), "nothing is kept before the last epoch"
    assert train(small(images), tmp_path / "run")
    whole, run = last(tmp_path / "whole"), last(tmp_path / "run")
    for key in ("step", "model", "optimizer", "schedule", "total"):
        assert_same(run[key], whole[key], key)
    best = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("run", "whole")]
    assert best[0] == best[1]


@pytest.mark.slow
def test_a_fraction_trains_on_its_samples_only(images: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(small(images, f"runtime.seed={seed}"), tmp_path / str(seed))
        assert last(tmp_path / str(seed))["counts"] == [5, 2]
    for file in images.glob("*/*.npy"):
        np.save(file, np.load(file) * np.nan)  # every read would now be an error
    with pytest.raises(Exception, match="NaN"):
        train(small(images, "runtime.seed=2"), tmp_path / "2")


def test_sgd_keeps_its_momentum_in_one_cycle() -> None:
    assignments = ("optim.name=sgd", "optim.schedule=onecycle", "optim.momentum=0.5", "optim.epochs=2")
    recipe = load_recipe("mobilenetv3_dsn", assignments)
    optimizer, schedule = make_optimizer(build_network(recipe.model, 2, 32, 0), recipe.optim, steps=3)
    rates = []
    for _ in range(5):
        assert {group["momentum"] for group in optimizer.param_groups} == {0.5}
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] < max(rates) > rates[4]


def test_sgd_is_that_of_the_paper() -> None:
    optim = load_recipe("resnet18_mstar", finetune=True).optim
    network = build_network(load_recipe("resnet18_mstar").model, 10, 128, 0)
    optimizer, schedule = make_optimizer(network, optim, steps=7)
    assert type(optimizer) is torch.optim.SGD and type(schedule) is torch.optim.lr_scheduler.StepLR
    for group in optimizer.param_groups:
        assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.01, 0.9, True, 1e-3)
    assert (schedule.step_size, schedule.gamma) == (700, 0.5)
    plain, _ = make_optimizer(network, optim.model_copy(update={"momentum": 0.0}), steps=7)
    assert not plain.param_groups[0]["nesterov"]


@pytest.mark.slow
def test_no_momentum_leaves_no_state_and_trains(images: Path, tmp_path: Path) -> None:
    assert train(small(images, "optim.momentum=0", "optim.epochs=1"), tmp_path / "run")
    assert np.isfinite(read_rows(tmp_path / "run")[0]["loss"])


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(images: Path, tmp_path: Path) -> None:
    recipe = tiny("mobilenetv3_folder", images, "optim.epochs=2", "preprocess.mean=0.5", "preprocess.std=0.3")
    stopped(recipe, tmp_path / "run", 3)
    state = load_last(tmp_path / "run")
    assert state is not None
    for section, keys in {"optim": ("name", "schedule", "epoch_steps"), "data": ("fraction",)}.items():
        for name in keys:
            del state["recipe"][section][name]
    save_last(tmp_path / "run", {name: value for name, value in state.items() if name != "format"})
    assert train(recipe, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    del summary["recipe"]["optim"]["name"], summary["recipe"]["evaluation"]["split"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(summary))
    assert load_run(tmp_path / "run").recipe == recipe


def test_preview_counts_the_steps_of_the_fraction(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preview(small(images))
    shown = " ".join(capsys.readouterr().out.split())
    assert "7 samples, 2 classes, 2 steps per epoch" in shown
