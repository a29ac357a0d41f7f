"""The demo tells which chips it used and compares the network with its untrained twin."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models.cli import main
from sarhub_models.datasets.recognition.dsn import reader
from sarhub_models.errors import DataError, MissingDependencyError, OfflineError
from sarhub_models.features import compare, demo
from sarhub_models.zoo.manifest import DEFAULT


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    simulate = demo.simulate_chips
    monkeypatch.setattr(demo, "simulate_chips", lambda count, seed: simulate(count // 10, seed=seed))


def packed(folder: Path, part: str = "s1") -> Path:
    """Write a packed part with two classes, smooth and striped, of 4 speckled patches in each split."""
    rng = np.random.default_rng(0)
    label = np.tile(np.arange(2), 12)
    stripes = 1 + 4 * (np.arange(64) // 8 % 2)
    scale = np.where(label[:, None] == 0, 60.0, 20.0 * stripes)[:, None, :, None]
    folder.mkdir(parents=True)
    np.savez(
        folder / f"{part}.npz",
        iq=rng.normal(scale=scale, size=(24, 64, 64, 2)).astype(np.int16),
        label=label,
        split=np.repeat(reader.SPLITS, 8),
        name=np.array([f"patch_{number}" for number in range(24)]),
        classes=np.array(["smooth", "striped"]),
    )
    return folder


@pytest.mark.slow
def test_without_network_the_chips_are_simulated_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "cache"))
    assert main(["demo", "--out", str(tmp_path / "one")]) == 0
    out, err = capsys.readouterr()
    assert "SARHUB_OFFLINE" in err
    assert "simulated: 60 chips, 6 classes, trained on 24 chips, tested on 36" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(DEFAULT)]
    assert [row[1] for row in rows] == ["1280", "(untrained)"]
    for name in ("comparison.json", "comparison.png", "chips.png"):
        assert str(tmp_path / "one" / "simulated" / name) in out

    assert main(["demo", "--simulate", "--out", str(tmp_path / "two"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["simulated"]["scores"][DEFAULT]
    assert [f"{value:.3f}" for value in scores.values()] == rows[0][2:6], "the same seed gives the same numbers"
    assert main(["demo", "--simulate", "--data", str(tmp_path)]) == 2


@pytest.mark.slow
def test_real_chips_are_trained_and_tested_on_separate_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = packed(tmp_path / "data")
    assert main(["demo", "--data", str(data), "--out", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["s1"]
    assert result["s1"]["protocol"] == "trained on 8 chips, tested on 8"
    assert result["s1"]["scores"][DEFAULT]["linear"] == 1


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


def test_missing_data_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"s1\.npz"):
        demo.run_demo(tmp_path, data=tmp_path)
    monkeypatch.setattr(compare, "find_spec", lambda package: None)
    with pytest.raises(MissingDependencyError, match=r"sklearn and matplotlib.*sarhub-models\[demo\]"):
        demo.run_demo(tmp_path)
