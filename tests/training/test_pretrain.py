from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from sarhub_models.errors import InputError, ManifestError, UnknownNameError
from sarhub_models.networks import build
from training import bundle, pretrain, select_operator
from training.data import load_split
from training.loop import fit
from training.recipe import Recipe, from_dict, load_recipe
from training.run import load_run, train

runner = CliRunner()


def tiny_recipe(**overrides: object) -> Recipe:
    return load_recipe("mobilenetv3_dsn", **{"size": 64, "epochs": 1, "batch_size": 16, **overrides})


def fitted_state(recipe: Recipe, data: Path) -> dict[str, torch.Tensor]:
    return fit(recipe, load_split(data, recipe, "train"), load_split(data, recipe, "val"), lambda row: None).state


def test_a_run_learns_and_leaves_a_checkpoint_and_tables(tiny_dsn: Path, tmp_path: Path) -> None:
    run = train(tiny_recipe(epochs=6, batch_size=8), tiny_dsn, tmp_path / "run")
    assert run.class_names == ("s1/forest", "s1/water", "tsx/ships")
    left = {file.name for file in (tmp_path / "run").iterdir()}
    assert left == {"best.safetensors", "run.json", "metrics.csv", "curves.png", "confusion_val.png"}
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 7))
    losses = [float(row["loss"]) for row in rows]
    assert min(losses) < 0.5 * losses[0]  # a single epoch of so few patches may end on a bad mini-batch
    tensors = load_file(tmp_path / "run" / "best.safetensors")
    build("mobilenetv3", num_classes=3).load_state_dict(tensors)
    assert load_run(tmp_path / "run") == run


def test_the_kept_scores_are_those_of_the_kept_weights(tiny_dsn: Path, tmp_path: Path) -> None:
    from training.evaluate import evaluate

    run = train(tiny_recipe(epochs=3), tiny_dsn, tmp_path)
    again = evaluate(run.model(), load_split(tiny_dsn, run.recipe, "val"), run.transform())
    assert again == pytest.approx(run.val)


@pytest.mark.parametrize("cutmix", [0.0, 1.0])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_dsn: Path, cutmix: float) -> None:
    first, again, other = (fitted_state(tiny_recipe(seed=seed, cutmix=cutmix), tiny_dsn) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("operator", ["log_amplitude", "reinhard_devlin", "ptls"])
def test_draa_changes_what_is_learnt(tiny_dsn: Path, operator: str) -> None:
    fixed, drawn = (fitted_state(tiny_recipe(operator=operator, draa=draa), tiny_dsn) for draa in (False, True))
    assert not all(torch.equal(fixed[key], drawn[key]) for key in fixed)


def test_too_few_patches_for_a_batch_are_named(tiny_dsn: Path) -> None:
    with pytest.raises(InputError, match="48 patches"):
        fitted_state(tiny_recipe(batch_size=64), tiny_dsn)


def test_recipes_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mobilenetv3_dsn'"):
        load_recipe("mobilenet_dsn")
    with pytest.raises(ManifestError, match="none for 'sqrt'"):
        load_recipe("mobilenetv3_dsn", operator="sqrt")
    with pytest.raises(ManifestError, match="epoch"):
        load_recipe("mobilenetv3_dsn", epoch=3)
    recipe = tiny_recipe(seed=7)
    assert from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_command_trains_and_scores_the_test_split_on_request(tiny_dsn: Path, tmp_path: Path) -> None:
    arguments = ["mobilenetv3_dsn", "--data", str(tiny_dsn), "--epochs", "1", "--operator", "ptls", "--no-draa"]
    result = runner.invoke(pretrain.app, [*arguments, "--out", str(tmp_path), "--seed", "3", "--test"])
    assert result.exit_code == 0, result.output
    recipe = load_run(tmp_path).recipe
    assert (recipe.operator, recipe.draa, recipe.epochs, recipe.seed) == ("ptls", False, 1, 3)
    scores = json.loads((tmp_path / "test.json").read_text())
    assert set(scores) == {"overall_accuracy", "class_average", "macro_f1"}


def test_the_command_names_missing_data(tmp_path: Path) -> None:
    result = runner.invoke(pretrain.app, ["mobilenetv3_dsn", "--data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "download_dsn" in result.output
    assert not (tmp_path / "run").exists()


def test_operators_are_compared_and_finished_cells_kept(tiny_dsn: Path, tmp_path: Path) -> None:
    arguments = ["mobilenetv3_dsn", "--data", str(tiny_dsn), "--epochs", "1", "--out", str(tmp_path)]
    done = load_recipe("mobilenetv3_dsn", operator="ptls", draa=True, epochs=1)
    other = replace(load_recipe("mobilenetv3_dsn", operator="ptls", draa=False), epochs=2)
    for recipe, name in ((done, "ptls_draa"), (other, "ptls_fixed")):
        train(recipe, tiny_dsn, tmp_path / name)
    before = {name: (tmp_path / name / "run.json").stat().st_mtime_ns for name in ("ptls_draa", "ptls_fixed")}
    result = runner.invoke(select_operator.app, arguments)
    assert result.exit_code == 0, result.output
    after = {name: (tmp_path / name / "run.json").stat().st_mtime_ns for name in before}
    assert after["ptls_draa"] == before["ptls_draa"]  # finished with this very recipe
    assert after["ptls_fixed"] > before["ptls_fixed"]  # finished with another number of epochs
    with (tmp_path / "operators.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["operator"], row["draa"]) for row in rows} == {
        (operator, draa) for operator in done.operators for draa in ("yes", "no")
    }
    accuracies = [float(row["overall_accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)


def test_bundling_writes_half_precision_and_the_manifest(tiny_dsn: Path, tmp_path: Path) -> None:
    from sarhub_models.registry import load_manifest

    run = train(tiny_recipe(epochs=4), tiny_dsn, tmp_path / "run")
    manifest = tmp_path / "manifest.json"
    manifest.write_text(load_manifest().path.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ["mobilenetv3_dsn", str(run.folder), "--data", str(tiny_dsn), "--manifest", str(manifest)]
    result = runner.invoke(bundle.app, [*arguments, "--target", str(tmp_path / "bundled"), "--command", "train it"])
    assert result.exit_code == 0, result.output

    stored = load_file(tmp_path / "bundled" / "mobilenetv3_dsn.safetensors")
    full = load_file(run.folder / "best.safetensors")
    assert stored.keys() == full.keys()
    for key, tensor in stored.items():
        assert tensor.dtype == (torch.float16 if full[key].is_floating_point() else torch.int64), key
    info = load_manifest(manifest).models["mobilenetv3_dsn"]
    assert info.params == sum(p.numel() for p in build("mobilenetv3", num_classes=3).parameters())
    assert info.class_names == ("s1/forest", "s1/water", "tsx/ships")
    assert info.preprocessing.mean == run.mean and info.preprocessing.full_scale == 65535
    assert info.training is not None and info.training["command"] == "train it"
    assert info.training["val"]["overall_accuracy"] == pytest.approx(run.val["overall_accuracy"], abs=0.03)


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from sarhub_models.errors import CheckpointError

    save_file({"weight": torch.tensor([1e6])}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="half precision"):
        bundle.write_half(tmp_path / "w.safetensors", tmp_path / "h.safetensors")
