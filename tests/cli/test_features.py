"""``sarhub features``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import sarhub_models
from sarhub_models.cli import main
from sarhub_models.zoo.manifest import manifest_path

from .conftest import MODEL, only_line


def own(checkpoint: Path, preprocessing: str = MODEL) -> list[str]:
    """The options for a file of other programs, which does not say its preprocessing."""
    return ["--checkpoint", str(checkpoint), "--preprocessing", preprocessing]


@pytest.mark.slow
def test_features_of_a_folder(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "features.safetensors"
    command = ["features", str(images), "--model", MODEL, *own(checkpoint), "--out", str(out)]
    assert main([*command, "--device", "cpu"]) == 0
    assert "3 images, 1024 features" in capsys.readouterr().out
    with safe_open(out, "np") as file:
        assert json.loads(file.metadata()["names"]) == ["a.npy", "b.npy", "sub/c.npy"]
        values = file.get_tensor("features")
    model = sarhub_models.create_model(MODEL, checkpoint_path=checkpoint, num_classes=0).eval()
    chip = sarhub_models.create_transform(MODEL)(np.load(images / "sub" / "c.npy"))
    with torch.inference_mode():
        np.testing.assert_allclose(values[2], model(chip[None])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_features_of_a_folder_with_a_bad_image(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(images / "b.npy", np.full((32, 32), np.nan))
    out = tmp_path / "features.safetensors"
    command = ["features", str(images), "--model", MODEL, *own(checkpoint), "--out", str(out)]
    assert main(command) == 1
    assert "b.npy" in only_line(capsys.readouterr().err)
    assert not out.exists()
    assert main([*command, "--on-error", "skip", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 2
    assert list(result["skipped"]) == ["b.npy"]


@pytest.mark.slow
def test_features_of_digital_numbers_says_what_to_do(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads(manifest_path().read_text())
    entry = manifest["models"][MODEL]
    preprocessing = {**manifest["datasets"][entry["dataset"]]["preprocessing"], "full_scale": 65535}
    manifest["models"] = {MODEL: {**entry, "preprocessing": preprocessing}, "other": entry}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
    np.save(images / "b.npy", np.full((32, 32), 300.0))
    tried = "these weights were trained with amplitude / 65535: try --full-scale 65535"

    def said(model: str, *more: str) -> str:
        out = tmp_path / f"{model}.safetensors"
        main(["features", str(images), "--model", model, *own(checkpoint, model), "--out", str(out), *more])
        return capsys.readouterr().err

    message = only_line(said(MODEL))
    assert "--on-error skip" in message
    assert tried in message
    message = only_line(said("other"))
    assert "--full-scale NUMBER" in message
    assert "65535" not in message
    assert tried in said(MODEL, "--on-error", "skip")
    np.save(images / "b.npy", np.zeros((32, 32)))
    message = only_line(said(MODEL, "--full-scale", "2"))
    assert "all pixels are equal" in message
    assert "--on-error skip" in message
    assert "--full-scale" not in message


def test_one_image_is_an_input_too(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "features.safetensors"
    command = ["--model", "mobilenetv3_dsn", "--out", str(out), "--device", "cpu"]
    assert main(["features", str(images / "a.npy"), *command]) == 0
    with safe_open(out, "np") as file:
        assert json.loads(file.metadata()["names"]) == ["a.npy"]
    capsys.readouterr()
    assert main(["features", str(images / "none.npy"), *command]) == 1
    assert "none.npy: no such file or folder" in only_line(capsys.readouterr().err)


@pytest.mark.slow
def test_untrained_features_are_the_same_every_time(images: Path, tmp_path: Path) -> None:
    def features(name: str, *more: str, model: str = "mobilenetv3_dsn") -> np.ndarray:
        out = tmp_path / f"{name}.safetensors"
        assert main(["features", str(images), "--model", model, "--out", str(out), *more]) == 0
        with safe_open(out, "np") as file:
            return file.get_tensor("features")

    one, other = features("one", "--untrained"), features("other", "--untrained")
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(one, features("trained"), atol=0.1)
    mine = str(tmp_path / "mine.safetensors")
    assert main(["export", "mobilenetv3_dsn", "--format", "safetensors", "--out", mine]) == 0
    np.testing.assert_array_equal(one, features("of_file", "--untrained", model=mine))
    assert main(["features", "x", "--model", "y", "--out", "z", "--untrained", "--checkpoint", "w"]) == 2


@pytest.mark.slow
def test_the_scale_is_advised_only_where_it_is_missing(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["features", str(images), "--model", "mobilenetv3_dsn", "--out", str(tmp_path / "o.safetensors")]
    for content, advised in ((np.full((32, 32), np.nan), False), (np.zeros((32, 32)), False), (np.arange(64.0), False)):
        np.save(images / "b.npy", content)
        assert main(command) == 1
        assert ("--full-scale" in only_line(capsys.readouterr().err)) is advised
    np.save(images / "b.npy", np.arange(1024.0).reshape(32, 32))
    assert main(command) == 1
    assert "--full-scale" in only_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("change", "words"),
    [(["--device", "tpu"], "tpu"), (["--out", "features.npz"], ".safetensors"), (["--model", "nonsense"], "nonsense")],
)
def test_features_checks_its_options(
    change: list[str], words: str, images: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["features", str(images), "--model", MODEL, *own(checkpoint), "--out", "x.safetensors"]
    assert main([*command, *change]) == 2
    assert words in only_line(capsys.readouterr().err)
