from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from sarhub_models.engine import objective, trainer
from sarhub_models.engine.augment import make_transform
from sarhub_models.engine.batches import Plan, StepSampler
from sarhub_models.engine.initialization import build_network
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import load_run, open_splits, train
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import DivergedError
from training.evaluate import score_run

from .conftest import fit, read_rows, tiny, write_images


def best(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "best.safetensors")


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.pt", weights_only=True)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def plain(tiny_dsn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights after an epoch without anything random but the order and the start."""
    recipe = tiny("mobilenetv3_dsn", tiny_dsn, "optim.batch_size=16")
    return fit(recipe, tmp_path_factory.mktemp("plain") / "run").network.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    ["augment.cutmix=1", "preprocess.draa=true", "augment.geometry=dihedral", "model.drop_rate=0.5", "runtime.seed=1"],
)
def test_what_is_random_changes_the_weights_in_the_same_way_each_time(
    change: str, plain: dict[str, Tensor], tiny_dsn: Path, tmp_path: Path
) -> None:
    recipe = tiny("mobilenetv3_dsn", tiny_dsn, "optim.batch_size=16", change)
    first, again = (fit(recipe, tmp_path / name).network.state_dict() for name in ("first", "again"))
    assert same(first, again) and not same(first, plain)
    assert all(tensor.isfinite().all() for tensor in first.values())


@pytest.mark.slow
def test_a_moving_average_of_no_memory_is_the_network_itself(tiny_dsn: Path, tmp_path: Path) -> None:
    for name, decay in (("off", "null"), ("none", "0"), ("long", "0.999")):
        fit(tiny("mobilenetv3_dsn", tiny_dsn, f"optim.ema={decay}"), tmp_path / name)
    assert same(best(tmp_path / "off"), best(tmp_path / "none"))
    assert same(last(tmp_path / "off")["model"], last(tmp_path / "long")["model"])
    assert not same(best(tmp_path / "off"), best(tmp_path / "long"))
    assert same(best(tmp_path / "long"), last(tmp_path / "long")["averaged"])


def by_hand(recipe: Recipe) -> float:
    """The mean loss of an epoch in which the weights do not move, from its formula."""
    source = open_source(recipe.data, "train")
    (everything,) = source.evaluation(len(source))
    network = build_network(recipe.model, 2, recipe.preprocess.size, recipe.runtime.seed).train()
    assert recipe.preprocess.mean is not None and recipe.preprocess.std is not None
    x = make_transform(recipe.preprocess, recipe.preprocess.mean, recipe.preprocess.std)(everything.images)
    losses = []
    for chosen in StepSampler(len(source), Plan(len(source) // 8, 1, 8, recipe.runtime.seed)):
        labels, loss = everything.labels[chosen], recipe.loss
        ce = F.cross_entropy(network(x[chosen]), labels, reduction="none")
        counts = (labels if loss.name == "mini_cbl" else everything.labels).bincount(minlength=2).clamp_min(1)
        weights = (1 - loss.beta) / (1 - loss.beta**counts) if loss.name != "ce" else torch.ones(2)
        w = weights[labels]
        if loss.name == "ce" or loss.gamma is None:
            value = (w * ce).sum() / w.sum()
        elif loss.form == "per_sample":
            value = (w * (1 - (-ce).exp()) ** loss.gamma * ce).sum() / w.sum()
        else:
            mean = (w * ce).sum() / w.sum()
            value = weights.mean() * (1 - (-mean).exp()) ** loss.gamma * mean
        losses.append(value.item())
    return float(np.mean(losses))


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        ("loss.name=ce",),
        *((f"loss.name={name}",) for name in ("cbl", "mini_cbl")),
        *(
            (f"loss.name={name}", "loss.gamma=2", f"loss.form={form}")
            for name in ("cbl", "mini_cbl")
            for form in ("per_sample", "released")
        ),
    ],
)
def test_every_loss_is_the_one_of_its_formula(values: tuple[str, ...], tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", {"a": 12, "b": 4})
    fixed = ("preprocess.mean=0.5", "preprocess.std=0.3", "optim.max_lr=1e-20", "loss.beta=0.9")
    recipe = tiny("mobilenetv3_folder", root, *fixed, *values)
    assert fit(recipe, tmp_path / "run").history[0]["loss"] == pytest.approx(by_hand(recipe), rel=1e-4)


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_one_large_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("save_last", "save_best"):
        monkeypatch.setattr(trainer, name, lambda *_: None)  # half a gigabyte
    root = write_images(tmp_path / "images", {"a": 2, "b": 2})
    values = ("preprocess.size=128", "optim.max_lr=1e-4", "optim.epochs=2", "loss.name=ce")
    large, small = (  # Swin has no batch norm, whose statistics are those of the small batches
        fit(tiny("swin_t_folder", root, *values, f"optim.batch_size={size}", f"optim.accumulate={4 // size}"), folder)
        for size, folder in ((4, tmp_path / "large"), (2, tmp_path / "small"))
    )
    for one, other in zip(large.history, small.history, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], abs=1e-5)
        assert other["learning_rate"] == pytest.approx(one["learning_rate"])
    start = build_network(large.recipe.model, 2, 128, 0).state_dict()
    for (key, one), other in zip(large.network.state_dict().items(), small.network.state_dict().values(), strict=True):
        # AdamW's steps are of the size of the learning rate, however small the gradient is
        assert (one - other).abs().mean() <= 0.02 * (one - start[key]).abs().mean() + 1e-9, key


@pytest.mark.slow
def test_bfloat16_runs_on_a_cpu_and_keeps_the_weights_in_single_precision(tiny_dsn: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        recipe = tiny("mobilenetv3_dsn", tiny_dsn, f"runtime.precision={precision}", "optim.max_lr=1e-3")
        fit(recipe, tmp_path / precision)
    single, half = (last(tmp_path / name)["history"][0]["loss"] for name in ("fp32", "bf16"))
    assert half != single and half == pytest.approx(single, rel=0.1)
    weights = best(tmp_path / "bf16").values()
    assert {tensor.dtype for tensor in weights if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.slow
def test_images_of_several_sizes_train_and_score_together(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", {"a": 8, "b": 8}, sizes=((40, 40), (30, 50), (50, 30)))
    train(tiny("mobilenetv3_folder", root, "preprocess.draa=true", "optim.batch_size=4"), tmp_path / "run")
    assert math.isfinite(read_rows(tmp_path / "run")[0]["loss"])
    assert score_run(load_run(tmp_path / "run"), "test") == pytest.approx(load_run(tmp_path / "run").val)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_moving_average_counts_steps_of_the_optimizer(accumulate: int, tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", {"a": 8, "b": 8})
    values = ("optim.epochs=2", "optim.batch_size=4", f"optim.accumulate={accumulate}", "optim.ema=0.9")
    recipe = tiny("mobilenetv3_folder", root, *values, "optim.max_lr=1e-2")
    (tmp_path / "run").mkdir()
    accelerator = trainer.make_accelerator(recipe.runtime, accumulate)
    running = trainer.Trainer(recipe, *open_splits(recipe), tmp_path / "run", accelerator)
    expected = ModelEmaV3(running.network, 0.9, use_warmup=True)
    for number, batch in enumerate(running.batches(), start=1):
        running.train_step(batch)
        if number % accumulate == 0:
            expected.update(running.network, step=number // accumulate)
    assert number == 8
    averaged = running.scored.state_dict()
    assert all(torch.equal(tensor, averaged[key]) for key, tensor in expected.module.state_dict().items())


class Flaw(torch.autograd.Function):
    """Finite forwards, not finite backwards."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * math.nan


class LateLoss(nn.Module):
    """Cross-entropy that goes wrong in its sixth step, after one epoch of four."""

    def __init__(self, gradient: bool) -> None:
        super().__init__()
        self.gradient, self.calls = gradient, 0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        value = F.cross_entropy(logits, labels)
        if self.calls < 6:
            return value
        return Flaw.apply(value) if self.gradient else value * math.nan


@pytest.mark.slow
@pytest.mark.parametrize("gradient", [False, True])
def test_what_is_not_finite_ends_the_run_and_leaves_the_last_good_state(
    gradient: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "make_loss", lambda **_: LateLoss(gradient))
    root = write_images(tmp_path / "images", {"a": 8, "b": 8})
    out, often = tmp_path / "run", "runtime.save_minutes=1e-9"
    with pytest.raises(DivergedError, match=r"not finite.*diverged\.npz.*last\.pt.*optim\.max_lr"):
        train(tiny("mobilenetv3_folder", root, "optim.epochs=2", "optim.batch_size=4", often), out)
    state = last(out)
    assert state["step"] in (4, 5) and len(state["history"]) == 1
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    with np.load(out / "diverged.npz") as kept:
        names, image = kept["names"].tolist(), kept["image0"]
        assert len(names) == len(kept["labels"]) == 4 and kept["labels"].tolist() == ["ab".index(n[0]) for n in names]
    np.testing.assert_array_equal(image, np.load(root / names[0]))
    monkeypatch.undo()
    assert train(tiny("mobilenetv3_folder", root, "optim.epochs=2", "optim.batch_size=4", often), out)  # goes on


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_it_computes_the_same(tiny_dsn: Path, tmp_path: Path) -> None:
    values = ("optim.epochs=1", "optim.max_lr=1e-4", "optim.batch_size=24", "augment.cutmix=0", "model.drop_rate=0")
    for compiled in ("true", "false"):
        train(tiny("resnet18_dsn", tiny_dsn, *values, f"runtime.compile={compiled}"), tmp_path / compiled)
    one, other = (read_rows(tmp_path / compiled)[0]["loss"] for compiled in ("true", "false"))
    assert one == pytest.approx(other, rel=1e-3)
    assert best(tmp_path / "true").keys() == best(tmp_path / "false").keys()
