"""Weights on other tasks: the table of features' worth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sarhub_models as sarhub
from benchmarks.transfer import study
from benchmarks.transfer.__main__ import app
from sarhub_models.errors import OptionError, UnknownNameError
from sarhub_models.io.tables import read_table
from training.bundle import BUNDLED

NUMBERS = [f"{name}{suffix}" for name in ("knn", "probe", "few") for suffix in ("", "_low", "_high")]


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speckle with coarse or fine stripes, in two sizes, with lists of two splits."""
    root, rng = tmp_path_factory.mktemp("chips"), np.random.default_rng(0)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for label, cycles in enumerate((2, 12)):
        (root / "ab"[label]).mkdir()
        for index in range(18):
            size = 48 + 8 * (index % 2)
            stripes = 1 + 0.9 * np.sin(2 * np.pi * cycles * np.arange(size) / size)
            np.save(
                root / "ab"[label] / f"{index}.npy", (0.05 * rng.rayleigh(size=(size, size)) * stripes).astype("f4")
            )
            lines["train" if index < 10 else "test"].append(f"{'ab'[label]}/{index}.npy {label}")
    for split, entries in lines.items():
        (root / f"{split}.txt").write_text("\n".join(entries))
    return root


def command(chips: Path, out: Path, *options: str) -> str:
    arguments = ["--data", f"folder:stripes={chips}", "--weights", "mobilenetv3_dsn", "--out", str(out), *options]
    result = CliRunner().invoke(app, [*arguments, "--shots", "3", "--draws", "4"])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_has_weights_and_twins(chips: Path, tmp_path: Path) -> None:
    output = command(chips, tmp_path)
    assert "no twin with ImageNet weights" in " ".join(output.split())
    rows = read_table(tmp_path / "transfer.csv", text=("weights", "start", "task", "digest"))
    assert [(row["weights"], row["start"], row["task"]) for row in rows] == [
        ("mobilenetv3_dsn", "sar", "stripes"),
        ("mobilenetv3_dsn", "none", "stripes"),
    ]
    for row in rows:
        assert (row["train"], row["test"], row["shots"], row["draws"]) == (20, 16, 3, 4)
        for name in ("knn", "probe", "few"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert rows[0]["probe"] > 0.9
    report = (tmp_path / "transfer.md").read_text()
    assert "## stripes" in report and "20 chips to learn from, 16 to test" in report and "3 labels a class" in report


@pytest.mark.slow
def test_the_untrained_twin_of_a_file_does_not_have_its_weights(chips: Path, tmp_path: Path) -> None:
    file = shutil.copy(BUNDLED / "efficientnet_lite0_sar.safetensors", tmp_path / "mine.safetensors")
    command(chips, tmp_path, "--weights", str(file))
    rows = read_table(tmp_path / "transfer.csv", text=("weights", "start", "task", "digest"))
    digests = {row["start"]: row["digest"] for row in rows if row["weights"] == "mine.safetensors"}
    assert digests["sar"] != digests["none"]


@pytest.mark.slow
def test_a_row_is_computed_once(chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(chips, tmp_path, "--no-twins")
    before = (tmp_path / "transfer.csv").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(study, "pooled_features", None)
        command(chips, tmp_path, "--no-twins")
    assert (tmp_path / "transfer.csv").read_bytes() == before
    swapped = ["--splits", "test,train"]  # other samples: measured, and in place of the row
    command(chips, tmp_path, "--no-twins", *swapped)
    (row,) = read_table(tmp_path / "transfer.csv", text=("weights", "start", "task", "digest"))
    assert (row["train"], row["test"]) == (16, 20)


def test_a_row_of_another_preprocessing_is_no_answer(chips: Path) -> None:
    model = torch.nn.Module()
    model.forward_features = lambda x: x  # type: ignore[assignment]
    model.forward_head = lambda x, pre_logits: x.flatten(2).std(-1)  # type: ignore[assignment]
    task = study.parse_task(f"folder:stripes={chips}")
    first, other = (sarhub.create_transform(name) for name in ("mobilenetv3_dsn", "mobilenetv3_tsx"))
    rows = [study.measured("x", "none", model, first, task, [], shots=3, draws=2)]
    assert study.measured("x", "none", model, first, task, rows, shots=3, draws=2) is rows[0]
    assert study.measured("x", "none", model, other, task, rows, shots=3, draws=2) is not rows[0]


def test_two_weights_of_one_name_are_refused(chips: Path, tmp_path: Path) -> None:
    task = study.parse_task(f"folder:stripes={chips}")
    with pytest.raises(OptionError, match=r"two of the weights are called best\.safetensors"):
        study.run(["a/best.safetensors", "b/best.safetensors"], [task], tmp_path / "transfer.csv")


def test_scores_are_class_averages() -> None:
    labels = np.repeat([0, 2], [90, 10])
    found = study._with_interval("knn", labels == 0, labels)
    assert found == {"knn": 0.5, "knn_low": 0.5, "knn_high": 0.5}
    rng = np.random.default_rng(0)
    found = study._with_interval("knn", rng.random(100) < 0.7, np.zeros(100, dtype=int))
    assert found["knn_high"] - found["knn_low"] == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 100), rel=0.15)


def test_the_middle_of_images_of_any_size() -> None:
    assert study.parse_task("mstar=/data").recipe.preprocess.crop == 128
    task = study.parse_task("folder:planes=/data,/lists", "train,val")
    assert task.name == "planes" and task.recipe.data.test == "val" and str(task.recipe.data.lists) == "/lists"


@pytest.mark.parametrize("text", ["mstar", "mstar=", "=/data"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises((OptionError, UnknownNameError)):
        study.parse_task(text)
    with pytest.raises(OptionError, match="two splits"):
        study.parse_task("mstar=/data", "train")
