from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import sarhub_models
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import CheckpointError, DataError
from sarhub_models.io.tables import write_table
from sarhub_models.networks import build
from sarhub_models.zoo.manifest import load_manifest, model_info
from training import bundle
from training.recipes import load_recipe


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_split_that_was_trained_on_is_not_scored(tiny_dsn: Path, tmp_path: Path) -> None:
    options = ["data.train=train+val", "evaluation.split=null", "optim.epochs=1", "optim.batch_size=16"]
    recipe = load_recipe(
        "mobilenetv3_dsn", [f"data.root={tiny_dsn}", "preprocess.size=64", "runtime.threads=1", *options]
    )
    assert train(recipe, tmp_path / "run")
    manifest = tmp_path / "manifest.json"
    manifest.write_text(load_manifest().path.read_text(encoding="utf-8"), encoding="utf-8")
    summary = tmp_path / "run/run.json"
    values = json.loads(summary.read_text())
    assert values["torch"] == torch.__version__.partition("+")[0]
    summary.write_text(json.dumps(values | {"torch": "2.5.0"}))  # made with another release than bundled
    arguments = ["mobilenetv3_dsn", str(tmp_path / "run"), "--manifest", str(manifest), "--command", "train it"]
    result = CliRunner().invoke(bundle.app, [*arguments, "--target", str(tmp_path / "bundled")])
    assert result.exit_code == 0, result.output
    training = load_manifest(manifest).models["mobilenetv3_dsn"].training
    assert training is not None and "val" not in training and "overall_accuracy" in training["test"]
    assert training["data"] == "DSN-SLC, train+val of s1 and tsx" and training["torch"] == "2.5.0"


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.tensor([1e6])}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="half precision"):
        bundle.write_half(tmp_path / "w.safetensors", tmp_path / "h.safetensors", name="mobilenetv3_dsn")


@pytest.mark.slow
def test_weights_of_several_sources_are_stored_without_their_heads(tiny_dsn: Path, tmp_path: Path) -> None:
    roots = [f"data.sources.{name}.root={tiny_dsn}" for name in ("a", "b")]
    section = {"name": "dsn", "full_scale": 65535, "workers": 0}
    parts = {"a": section | {"options": {"parts": ["s1"]}}, "b": section | {"options": {"parts": ["tsx"]}}}
    recipe = tmp_path / "mobilenetv3_sar.yaml"
    values = {
        "model": {"network": "mobilenetv3"},
        "data": {"name": "sar", "sources": parts},
        "preprocess": {"size": 32},
        "optim": {"epochs": 1, "epoch_steps": 2, "batch_size": 6},
        "evaluation": {"split": None},
        "runtime": {"precision": "fp32", "threads": 1},
    }
    recipe.write_text(yaml.safe_dump(values))
    assert train(load_recipe(str(recipe), roots), tmp_path / "run")
    manifest, table = tmp_path / "manifest.json", tmp_path / "transfer.csv"
    manifest.write_text(load_manifest().path.read_text(encoding="utf-8"), encoding="utf-8")
    row = {"weights": "run", "start": "sar", "task": "mstar", "knn": 0.5, "probe": 0.6, "few": 0.4, "digest": "x"}
    write_table([row], table)
    arguments = ["mobilenetv3_sar", str(tmp_path / "run"), "--manifest", str(manifest), "--command", "train it"]
    arguments += ["--target", str(tmp_path / "bundled"), "--transfer", str(table)]
    result = CliRunner().invoke(bundle.app, arguments)
    assert result.exit_code == 0, result.output

    info = load_manifest(manifest).models["mobilenetv3_sar"]
    file = tmp_path / "bundled" / "mobilenetv3_sar.safetensors"
    assert (
        (info.num_classes, info.class_names)
        == (model_info(file).num_classes, model_info(file).class_names)
        == (0, None)
    )
    assert info.preprocessing.mean == model_info(file).preprocessing.mean
    assert info.training is not None and info.training["transfer"] == {"mstar": {"knn": 0.5, "probe": 0.6, "few": 0.4}}
    model = sarhub_models.create_model(file, pretrained=True).eval()
    chip = torch.rand(40, 40)
    with torch.inference_mode():
        assert model(sarhub_models.create_transform(file)(chip)[None]).shape == (1, 1024)


def test_a_table_without_the_weights_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "transfer.csv"
    write_table([{"weights": "other", "start": "sar", "task": "mstar", "digest": "x"}], table)
    with pytest.raises(DataError, match="no row of run"):
        bundle._transferred(table, "run")
