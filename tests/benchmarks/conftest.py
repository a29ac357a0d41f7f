"""A benchmark of recognition on simulated chips, run once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from sarhub_models.datasets.simulated import simulate_chips
from sarhub_models.engine.initialization import build_network
from tests.engine.conftest import tiny_dsn
from training.recipes import load_recipe

from .recognition import CLASSES, run

__all__ = ["chips", "copy", "done", "tiny_dsn", "weights"]


@pytest.fixture(scope="session")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of three classes, 12 chips of 32 pixels each."""
    root = tmp_path_factory.mktemp("data") / "chips"
    images, labels, names = simulate_chips(12, size=32)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        if names[label] in CLASSES:
            (root / names[label]).mkdir(parents=True, exist_ok=True)
            np.save(root / names[label] / f"chip {index}.npy", image)
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the user's own: random weights of another seed."""
    file = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    network = build_network(load_recipe("mobilenetv3_folder").model, 4, 32, seed=9)
    save_file(network.state_dict(), file)
    return file


@pytest.fixture(scope="session")
def done(chips: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark; to be copied by those who change it."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    result = run(chips, out, "--init", "none", "--init", f"mine={weights}")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "out"))
