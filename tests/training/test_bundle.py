from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import CheckpointError
from sarhub_models.networks import build
from sarhub_models.zoo.manifest import load_manifest, model_info
from training import bundle
from training.recipes import load_recipe


def test_bundling_writes_half_precision_and_the_manifest(tiny_dsn: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        "mobilenetv3_dsn",
        [f"data.root={tiny_dsn}", "preprocess.size=64", "optim.epochs=3", "optim.batch_size=16", "runtime.threads=1"],
    )
    assert train(recipe, tmp_path / "run")
    run = load_run(tmp_path / "run")
    manifest = tmp_path / "manifest.json"
    manifest.write_text(load_manifest().path.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ["mobilenetv3_dsn", str(run.folder), "--manifest", str(manifest), "--command", "train it"]
    result = CliRunner().invoke(bundle.app, [*arguments, "--target", str(tmp_path / "bundled")])
    assert result.exit_code == 0, result.output

    stored = load_file(tmp_path / "bundled" / "mobilenetv3_dsn.safetensors")
    full = load_file(run.folder / "best.safetensors")
    assert stored.keys() == full.keys()
    for name, tensor in stored.items():
        assert tensor.dtype == (torch.float16 if full[name].is_floating_point() else torch.int64), name
    info = load_manifest(manifest).models["mobilenetv3_dsn"]
    described = model_info(tmp_path / "bundled" / "mobilenetv3_dsn.safetensors")
    assert (described.name, described.preprocessing.mean) == ("mobilenetv3_dsn", (run.mean,))
    assert info.params == sum(p.numel() for p in build("mobilenetv3", num_classes=3).parameters())
    assert info.class_names == ("s1/forest", "s1/water", "tsx/ships")
    assert info.input == load_manifest().models["mobilenetv3_dsn"].input
    assert info.preprocessing.low == info.preprocessing.high == info.preprocessing.eval_value == 16, "there is no DRAA"
    assert info.preprocessing.mean == (run.mean,) and info.preprocessing.full_scale == 65535
    assert info.training is not None and info.training["command"] == "train it"
    assert info.training["val"]["overall_accuracy"] == pytest.approx(run.val["overall_accuracy"], abs=0.03)
    assert json.loads(manifest.read_text())["models"].keys() == load_manifest().models.keys()


def test_a_split_that_was_trained_on_is_not_scored(tiny_dsn: Path, tmp_path: Path) -> None:
    options = ["data.train=train+val", "evaluation.split=null", "optim.epochs=1", "optim.batch_size=16"]
    recipe = load_recipe(
        "mobilenetv3_dsn", [f"data.root={tiny_dsn}", "preprocess.size=64", "runtime.threads=1", *options]
    )
    assert train(recipe, tmp_path / "run")
    manifest = tmp_path / "manifest.json"
    manifest.write_text(load_manifest().path.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ["mobilenetv3_dsn", str(tmp_path / "run"), "--manifest", str(manifest), "--command", "train it"]
    result = CliRunner().invoke(bundle.app, [*arguments, "--target", str(tmp_path / "bundled")])
    assert result.exit_code == 0, result.output
    training = load_manifest(manifest).models["mobilenetv3_dsn"].training
    assert training is not None and "val" not in training and "overall_accuracy" in training["test"]
    assert training["data"] == "DSN-SLC, train+val of s1 and tsx"


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.tensor([1e6])}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="half precision"):
        bundle.write_half(tmp_path / "w.safetensors", tmp_path / "h.safetensors", name="mobilenetv3_dsn")
