"""The demo: honest about its data, the same numbers for the same seed, and better features give better numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sarhub_models
from sarhub_models.cli import main
from sarhub_models.datasets.recognition.dsn import reader
from sarhub_models.errors import DataError, MissingDependencyError, OfflineError
from sarhub_models.features import demo

MODEL = "mobilenetv3_osu"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(demo, "_DRAWS", 2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.manual_seed(0)
    torch.save(sarhub_models.create_model(MODEL).state_dict(), file)
    return file


def packed(folder: Path, part: str = "s1") -> Path:
    """Write a packed part with two classes, dark and bright, of 12 speckled patches in each split."""
    rng = np.random.default_rng(0)
    label = np.tile(np.arange(2), 36)
    scale = np.where(label == 0, 20.0, 200.0)[:, None, None, None]
    folder.mkdir(parents=True)
    np.savez(
        folder / f"{part}.npz",
        iq=rng.normal(scale=scale, size=(72, 64, 64, 2)).astype(np.int16),
        label=label,
        split=np.repeat(reader.SPLITS, 24),
        name=np.array([f"patch_{number}" for number in range(72)]),
        classes=np.array(["dark", "bright"]),
    )
    return folder


def test_simulated_chips_say_that_they_are(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", "--simulate", "--model", MODEL, "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "simulated chips" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("Simulated scenes")][1:]
    assert [(row[2], row[3]) for row in rows] == [
        (network, count) for network in ("pre-trained", "untrained") for count in ("1", "5", "20")
    ]
    for name in ("demo.png", "chips.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20

    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [f"{row['accuracy']:.3f}" for row in result["accuracy"]] == [row[4] for row in rows]


def test_real_chips_come_from_separate_splits(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = packed(tmp_path / "data")
    (task,) = demo.load_tasks(data)
    assert (len(task.pool), len(task.test), task.class_names) == (24, 24, ("dark", "bright"))
    command = ["demo", "--data", str(data), "--model", MODEL, "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"] == {
        "Sentinel-1 land cover": "DSN-SLC, s1.npz: labels from its val split, tested on its test split"
    }
    # 12 labels a class: 20 cannot be drawn.
    assert [row["labels_per_class"] for row in result["accuracy"]] == [1, 5, 1, 5]


def test_fetched_chips_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        demo.fetch_data()
    folder = packed(tmp_path / "data" / "dsn")
    with pytest.raises(OfflineError):  # one of two parts
        demo.fetch_data()
    packed(tmp_path / "other", "opensarship").joinpath("opensarship.npz").rename(folder / "opensarship.npz")
    assert demo.fetch_data() == folder


def test_without_network_the_chips_are_simulated_and_that_is_said(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    assert main(["demo", "--model", MODEL, "--checkpoint", str(checkpoint), "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "simulated chips" in out
    assert "SARHUB_OFFLINE" in err
    assert main(["demo", "--simulate", "--data", str(tmp_path)]) == 2


def test_few_labels_find_classes_that_are_apart() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    centres = rng.normal(scale=10, size=(4, 16))
    apart = centres[labels] + rng.normal(size=(120, 16))
    noise = rng.normal(size=(120, 16))
    found = demo.few_label_accuracy(apart[::2], labels[::2], apart[1::2], labels[1::2], (1, 5), draws=3)
    guessed = demo.few_label_accuracy(noise[::2], labels[::2], noise[1::2], labels[1::2], (1, 5), draws=3)
    assert found.shape == (2, 3)
    assert found.min() > 0.95
    assert abs(guessed.mean() - 0.25) < 0.15


def test_draws_have_the_same_number_of_each_class() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 7)
    chosen = demo._draw(labels, 3, np.random.default_rng(0))
    assert len(set(chosen)) == 9
    assert np.bincount(labels[chosen]).tolist() == [3, 3, 3]


def test_missing_data_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"s1\.npz"):
        demo.run_demo(tmp_path, data=tmp_path, model=MODEL)
    monkeypatch.setattr(demo, "find_spec", lambda package: None)
    with pytest.raises(MissingDependencyError, match=r"sklearn and matplotlib.*sarhub-models\[demo\]"):
        demo.run_demo(tmp_path, model=MODEL)
