"""What a run leaves behind, how it is scored again, and what the commands say before and after."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

import sarhub_models as sarhub
from sarhub_models.engine import trainer
from sarhub_models.engine.recipe import Recipe, from_dict
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import DataError, InputError, OptionError, UnknownNameError
from tests.datasets.scenes import write_bigearthnet_patch
from training import evaluate, pretrain
from training.evaluate import score_run

from .conftest import read_rows, tiny, write_images, write_part

LEFT = {"recipe.yaml", "last.pt", "best.safetensors", "metrics.csv", "curves.png", "val.png", "tensorboard", "run.json"}
runner = CliRunner()


def command(recipe: Recipe, out: Path, *more: str) -> Any:
    """Run the command with a recipe's values."""
    values = recipe.model_dump(mode="json")
    flat = [f"{s}.{k}={json.dumps(v)}" for s in ("optim", "data", "runtime", "augment") for k, v in values[s].items()]
    given = [text for text in flat if not text.startswith(("data.name", "data.options"))]
    return runner.invoke(pretrain.app, [recipe.name, *given, "preprocess.size=32", "--out", str(out), *more])


@pytest.fixture(scope="module")
def learnt(tiny_dsn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that is random: DRAA, flips, dropout, and a moving average."""
    folder = tmp_path_factory.mktemp("run") / "learnt"
    values = ("optim.epochs=10", "optim.max_lr=1e-3", "preprocess.draa=true", "augment.geometry=flip")
    assert train(tiny("mobilenetv3_dsn", tiny_dsn, *values, "model.drop_rate=0.2"), folder)
    return folder


@pytest.mark.slow
def test_a_run_learns_and_leaves_all_that_it_promises(learnt: Path, tiny_dsn: Path) -> None:
    assert {file.name for file in learnt.iterdir()} == LEFT
    rows = read_rows(learnt)
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    losses = [row["loss"] for row in rows]
    assert min(losses) < 0.5 * losses[0]
    run = load_run(learnt)
    accuracies = [row["overall_accuracy"] for row in rows]
    assert run.val["overall_accuracy"] == max(accuracies) > 0.5  # three classes
    assert set(run.val) == {"overall_accuracy", "class_average", "macro_f1"}
    assert run.class_names == ("s1/forest", "s1/water", "tsx/ships") and not run.multilabel
    assert from_dict(yaml.safe_load((learnt / "recipe.yaml").read_text())) == run.recipe
    assert all((learnt / name).read_bytes().startswith(b"\x89PNG") for name in ("curves.png", "val.png"))
    summary = json.loads((learnt / "run.json").read_text())
    assert summary["best_epoch"] == 1 + int(np.argmax(accuracies)) and summary["skipped"] == []
    assert rows[3]["learning_rate"] > rows[0]["learning_rate"] > rows[-1]["learning_rate"]
    assert all(row["images_per_second"] > 0 and 0 <= row["waiting_for_data"] < 1 for row in rows)


def test_tensorboard_shows_what_the_table_shows(learnt: Path) -> None:
    board = EventAccumulator(str(learnt / "tensorboard")).Reload()
    for name in ("loss", "overall_accuracy", "learning_rate"):
        shown = [event.value for event in board.Scalars(f"epoch/{name}")]
        assert shown == pytest.approx([row[name] for row in read_rows(learnt)], rel=1e-5)
    assert [event.step for event in board.Scalars("loss/step")] == [19, 39, 59]


def test_the_weights_load_as_the_package_loads_them(learnt: Path) -> None:
    x = torch.rand(4, 3, 32, 32)
    model = sarhub.create_model("mobilenetv3_dsn", checkpoint_path=learnt / "best.safetensors").eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(x), load_run(learnt).model()(x))
        assert model(x).shape == (4, 3)


@pytest.mark.slow
def test_the_kept_scores_are_those_of_the_kept_weights(learnt: Path, tiny_dsn: Path, tmp_path: Path) -> None:
    assert score_run(load_run(learnt), "val") == pytest.approx(load_run(learnt).val)
    averaged = tmp_path / "averaged"
    train(tiny("mobilenetv3_dsn", tiny_dsn, "optim.ema=0.9", "optim.epochs=3", "optim.max_lr=1e-3"), averaged)
    assert score_run(load_run(averaged), "val") == pytest.approx(load_run(averaged).val)


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(learnt: Path, tiny_dsn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in learnt.iterdir() if file.is_file()}
    monkeypatch.setattr(trainer.Trainer, "train_step", None)
    assert train(load_run(learnt).recipe, learnt)
    assert {file.name: file.read_bytes() for file in learnt.iterdir() if file.is_file()} == before


@pytest.mark.slow
def test_scores_that_are_there_are_taken_for_the_same_only(
    learnt: Path, tiny_dsn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(learnt, tmp_path / "run"))
    first = score_run(load_run(folder), "test", again=False)
    calls = []
    monkeypatch.setattr(evaluate, "score", lambda *_: calls.append(1) or ({"overall_accuracy": 0.5}, torch.zeros(3, 3)))
    assert score_run(load_run(folder), "test", again=False) == first and not calls
    write_part(tmp_path / "s1.npz", ["forest", "water"], per_split=16, seed=5)
    shutil.copy(tiny_dsn / "tsx.npz", tmp_path)
    others = ([f"data.root={tmp_path}"], ["preprocess.operator=ptls"], [])
    for count, assignments in enumerate(others, start=1):
        score_run(load_run(folder, assignments), "test", again=False)
        assert len(calls) == count, "scored anew on other samples, prepared otherwise, and then as before"


@pytest.mark.slow
def test_the_evaluation_command_scores_a_split(learnt: Path, tiny_dsn: Path, tmp_path: Path) -> None:
    result = runner.invoke(evaluate.app, [str(learnt), f"data.root={tiny_dsn}", "--split", "test"])
    assert result.exit_code == 0, result.output
    scores = json.loads((learnt / "test.json").read_text())
    assert scores.pop("skipped") == [] and scores.pop("inputs")["weights"]
    assert scores == score_run(load_run(learnt), "test") and 0.5 < scores["overall_accuracy"] <= 1
    assert (learnt / "test.png").read_bytes().startswith(b"\x89PNG")
    for file in (learnt / "test.json", learnt / "test.png"):
        file.unlink()
    moved = runner.invoke(evaluate.app, [str(learnt), f"data.root={tmp_path}"])
    assert moved.exit_code == 1 and "s1.npz" in moved.output
    other = runner.invoke(evaluate.app, [str(learnt), "--split", "tset"])
    assert other.exit_code == 1 and "did you mean 'test'" in other.output
    none = runner.invoke(evaluate.app, [str(tmp_path)])
    assert none.exit_code == 1 and "training.pretrain" in none.output
    with pytest.raises(InputError, match="classes"):
        score_run(load_run(learnt, ["data.options.parts=[s1]"]), "test")


@pytest.mark.slow
def test_several_labels_are_learnt_from_the_true_format_of_bigearthnet(tmp_path: Path) -> None:
    root = tmp_path / "ben"
    names = [f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{index}_39" for index in range(8)]
    for index, name in enumerate(names):
        write_bigearthnet_patch(root / "patches", name, ["Sea and ocean"], seed=index)
    for split in ("train", "val", "test"):
        lines = [f"{name}_VV.npy {'2,18' if index % 2 else '13'}\n" for index, name in enumerate(names)]
        (root / f"ben_{split}.txt").write_text("".join(lines))
    recipe = tiny("mobilenetv3_ben", root, "optim.epochs=6", "optim.batch_size=4", "optim.max_lr=1e-3")
    train(recipe, tmp_path / "run")
    rows, run = read_rows(tmp_path / "run"), load_run(tmp_path / "run")
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert run.multilabel and len(run.class_names) == 19 and (run.mean, run.std) == (0.5995, 0.0005743462)
    scores = {"f1_micro", "f1_macro", "f1_samples", "precision", "recall", "mean_average_precision"}
    assert set(run.val) == scores and all(0 <= value <= 1 for value in run.val.values())
    assert run.val["mean_average_precision"] == max(row["mean_average_precision"] for row in rows)
    again = score_run(run, "test")  # of the same images; ranks of values that are nearly equal may change
    assert again.pop("mean_average_precision") == pytest.approx(run.val["mean_average_precision"], abs=0.05)
    assert again == pytest.approx({name: run.val[name] for name in again})


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_samples_stop_the_command_by_name_or_are_counted(workers: int, tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", {"a": 8, "b": 8})
    (root / "a" / "3.npy").write_bytes(b"damaged")
    where = ("preprocess.mean=0.5", "preprocess.std=0.3", f"data.workers={workers}", "optim.epochs=2")
    recipe = tiny("mobilenetv3_folder", root, *where)
    result = command(recipe, tmp_path / "stopped", "preprocess.mean=0.5", "preprocess.std=0.3")
    assert result.exit_code == 1
    error = result.output[result.output.index("error: ") :].strip()
    assert error.startswith("error: sample a/3.npy: ") and "\n" not in error
    assert not (tmp_path / "stopped" / "run.json").exists()
    train(from_dict(recipe.model_dump() | {"data": recipe.data.model_dump() | {"on_error": "skip"}}), tmp_path / "run")
    assert [row["skipped"] for row in read_rows(tmp_path / "run")] == [1, 1]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["skipped"] == ["a/3.npy"]
    scored = runner.invoke(evaluate.app, [str(tmp_path / "run"), "data.on_error=skip", "--split", "train"])
    assert scored.exit_code == 0 and "1 damaged samples left out: a/3.npy" in " ".join(scored.output.split())
    assert json.loads((tmp_path / "run" / "train.json").read_text())["skipped"] == ["a/3.npy"]


@pytest.mark.slow
def test_an_absurd_learning_rate_is_one_line_and_exit_status_one(tiny_dsn: Path, tmp_path: Path) -> None:
    result = command(tiny("mobilenetv3_dsn", tiny_dsn, "optim.max_lr=1e30", "optim.epochs=3"), tmp_path / "run")
    assert result.exit_code == 1
    error = result.output[result.output.index("error: ") :].strip()
    assert error.startswith("error: training diverged at step ") and "\n" not in error
    assert (tmp_path / "run" / "diverged.npz").is_file() and not (tmp_path / "run" / "run.json").exists()
    for file in (tmp_path / "run").glob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())


@pytest.mark.slow
def test_what_cannot_be_run_is_said_before_anything_is_written(tiny_dsn: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for error, named, values in (
        (InputError, r"48 samples .*optim\.batch_size=64", ("optim.batch_size=64",)),
        (OptionError, "fp16 and runtime.sync_batchnorm need a GPU", ("runtime.precision=fp16",)),
        (OptionError, "fp16 and runtime.sync_batchnorm need a GPU", ("runtime.sync_batchnorm=true",)),
        (UnknownNameError, "did you mean 'overall_accuracy'", ("evaluation.monitor=accuracy",)),
        (DataError, "download_dsn", (f"data.root={tmp_path}",)),
        (OptionError, "data.root=FOLDER", ("data.root=null",)),
        (OptionError, "evaluation.split=null keeps the last", ("data.train=train+val",)),
    ):
        with pytest.raises(error, match=named):
            train(tiny("mobilenetv3_dsn", tiny_dsn, *values), out)
        assert not out.exists() or not any(out.iterdir())


@pytest.mark.slow
def test_a_dry_run_shows_recipe_size_and_time_and_writes_nothing(tiny_dsn: Path, tmp_path: Path) -> None:
    recipe = tiny("mobilenetv3_dsn", tiny_dsn, "optim.epochs=7")
    shown = command(recipe, tmp_path / "run", "--dry-run", "--init", "imagenet")  # weights are not looked for
    assert shown.exit_code == 0, shown.output
    text, _, rest = shown.output.partition("┏")
    assert from_dict(yaml.safe_load(text)).optim == recipe.optim and "init: imagenet" in text
    table = [line.split() for line in rest.splitlines() if line.startswith("│")]
    parameters = {row[1]: float(row[3]) for row in table}
    whole = parameters.pop("mobilenetv3")
    assert whole == 1.52 and sum(parameters.values()) == pytest.approx(whole, abs=0.05)
    assert "s per step of 8 images on cpu" in rest
    words = " ".join(rest.split())
    assert "48 samples, 3 classes, 6 steps per epoch: about" in words and "for 7 epochs" in words
    bare = runner.invoke(pretrain.app, ["mobilenetv3_dsn", "optim.batch_size=2", "runtime.threads=1", "--dry-run"])
    assert bare.exit_code == 0 and "s per step of 2 images" in bare.output
    assert "data.root=FOLDER" in bare.output and "steps per epoch" not in bare.output
    assert not (tmp_path / "run").exists()
    wrong = command(recipe, tmp_path / "run", "--dry-run", "--init", "imagnet")
    assert wrong.exit_code == 1 and "did you mean 'imagenet'" in wrong.output
