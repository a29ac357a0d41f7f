"""A head that is fitted before the rest is trained, and norms that keep the statistics of the starting weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sarhub_models.engine.checkpoint import load_last
from sarhub_models.engine.head import fit_head
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import open_splits, train
from sarhub_models.engine.trainer import Trainer, make_accelerator

from .conftest import fit, read_rows, tiny, write_images
from .test_resume import stopped

VALUES = ("model.init=mobilenetv3_dsn", "preprocess.mean=0.5", "preprocess.std=0.3", "optim.epochs=2")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", {"a": 16, "b": 16, "c": 16})


def small(root: Path, *values: str) -> Recipe:
    return tiny("mobilenetv3_folder", root, *VALUES, *values)


def opened(recipe: Recipe, out: Path) -> Trainer:
    out.mkdir(exist_ok=True)
    return Trainer(recipe, *open_splits(recipe), out, make_accelerator(recipe.runtime, 1))


@pytest.mark.slow
def test_the_head_is_the_logistic_regression_of_the_features(images: Path, tmp_path: Path) -> None:
    trainer = opened(small(images), tmp_path / "run")
    network = trainer.network
    loss = fit_head(network, trainer.train, None, trainer.transform)
    assert network.training
    network.eval()
    (batch,) = trainer.train.evaluation(64)
    inputs = trainer.transform(batch.images)
    with torch.no_grad():
        features = network.forward_head(network.forward_features(inputs), pre_logits=True)
        logits = network(inputs)
    assert torch.nn.functional.cross_entropy(logits, batch.labels).item() == pytest.approx(loss, rel=1e-3)
    std = features.std(0)
    x = ((features - features.mean(0)) / std.clamp_min(0.1 * std.mean().item())).numpy()
    theirs = LogisticRegression(C=1 / (0.1 * len(x)), max_iter=2000, tol=1e-6).fit(x, batch.labels)
    np.testing.assert_allclose(logits.softmax(1).numpy(), theirs.predict_proba(x), atol=0.02)


@pytest.mark.slow
def test_the_fitted_head_is_scored_before_the_first_step_and_kept_where_nothing_is_better(
    images: Path, tmp_path: Path
) -> None:
    values = ("model.head=probe", "optim.max_lr=0.5")  # it destroys what it trains
    assert train(small(images, *values), tmp_path / "run")
    rows = read_rows(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 1, 2] and np.isfinite(rows[0]["loss"])
    best = max(rows, key=lambda row: row["overall_accuracy"])
    state = load_last(tmp_path / "run")
    assert state is not None and state["best"]["epoch"] == best["epoch"]
    assert best["overall_accuracy"] >= rows[0]["overall_accuracy"] > 0.5


@pytest.mark.slow
def test_a_fitted_head_is_scored_and_a_random_one_trained(images: Path, tmp_path: Path) -> None:
    plain = opened(small(images), tmp_path / "plain").network.get_classifier().state_dict()
    trainer = opened(small(images, "model.head=anew", "optim.ema=0.9"), tmp_path / "anew")
    network, averaged = trainer.network, trainer.scored
    fitted = {name: value.clone() for name, value in network.get_classifier().state_dict().items()}
    assert trainer.head_loss < 0.5 and not torch.equal(fitted["weight"], plain["weight"])
    rows: list[dict[str, object]] = []
    trainer._score_start(rows.append)
    assert rows[0]["epoch"] == 0
    for changed in (network, averaged):
        for name, value in changed.get_classifier().state_dict().items():
            torch.testing.assert_close(value, plain[name], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["probe", "anew"])
def test_a_resumed_run_does_not_fit_again(images: Path, tmp_path: Path, head: str) -> None:
    recipe = small(images, f"model.head={head}")
    assert train(recipe, tmp_path / "whole")
    stopped(recipe, tmp_path / "cut", 3)
    assert train(recipe, tmp_path / "cut")
    assert [row["epoch"] for row in read_rows(tmp_path / "cut")] == [0, 1, 2]
    whole, cut = ((tmp_path / name / "best.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


@pytest.mark.slow
def test_several_labels_a_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["name,label,split"]
    for index in range(24):
        bright, striped = index % 2, index // 2 % 2
        chip = 0.2 * rng.random((40, 40)) + 0.5 * bright
        chip[::4] += 0.3 * striped
        np.save(tmp_path / f"{index}.npy", chip.astype(np.float32))
        labels = ";".join(name for name, there in (("bright", bright), ("striped", striped)) if there)
        lines += [f"{index}.npy,{labels},{split}" for split in ("train",)]
    lines += [line.replace("train", "val") for line in lines[1:]]
    (tmp_path / "chips.csv").write_text("\n".join(lines) + "\n")
    recipe = tiny("mobilenetv3_chips", tmp_path, *VALUES, "loss.name=ce", "evaluation.split=val")
    trainer = opened(recipe, tmp_path / "run")
    fit_head(trainer.network, trainer.train, trainer.val, trainer.transform)
    trainer.scored.load_state_dict(trainer.network.state_dict())
    scores, _ = trainer._score()
    assert scores["mean_average_precision"] > 0.95


@pytest.mark.slow
def test_norms_keep_their_statistics_and_learn_their_scales(images: Path, tmp_path: Path) -> None:
    def statistics(trainer: Trainer) -> dict[str, torch.Tensor]:
        return {key: value.clone() for key, value in trainer.network.state_dict().items() if "running" in key}

    values = ("optim.keep_norms=true", "optim.max_lr=1e-3")
    before = opened(small(images, *values), tmp_path / "before")
    after = fit(small(images, *values), tmp_path / "after")
    start, end = statistics(before), statistics(after)
    assert start and all(torch.equal(start[key], end[key]) for key in start)
    scales = [key for key, module in after.network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    old, new = before.network.state_dict(), after.network.state_dict()
    assert any(not torch.equal(old[f"{key}.weight"], new[f"{key}.weight"]) for key in scales)
