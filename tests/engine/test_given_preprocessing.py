"""Runs whose chain is that of given weights: several bands, another radiometry; and parts that are not trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sarhub_models as sarhub
from sarhub_models.engine.recipe import Recipe, from_dict
from sarhub_models.engine.run import open_splits
from sarhub_models.engine.splits import mean_std
from sarhub_models.engine.trainer import Trainer, make_accelerator
from sarhub_models.errors import OptionError
from tests.engine.conftest import fit

INPUT = {"bands": ["VV", "VH"], "radiometry": "db", "range": None, "channels": 2}
GIVEN = {"mean": None, "std": None, "size": 32, "operator": None}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen dB tiles of two bands, water or land, and their table."""
    root = tmp_path_factory.mktemp("tiles")
    rng, rows = np.random.default_rng(0), ["name,label,split"]
    for index in range(16):
        level = np.array([-12.0, -18.0]) - 8 * (index % 2)
        np.save(root / f"{index}.npy", (level[:, None, None] + rng.normal(0, 2, (2, 32, 32))).astype(np.float32))
        rows.append(f"{index}.npy,{'land' if index % 2 else 'water'},{'train' if index < 8 else 'val'}")
    (root / "chips.csv").write_text("\n".join(rows) + "\n")
    return root


def recipe(tiles: Path, **sections: dict[str, object]) -> Recipe:
    values: dict[str, dict[str, object]] = {
        "model": {"network": "mobilenetv3"},
        "data": {
            "name": "chips",
            "root": str(tiles),
            "workers": 0,
            "lists": str(tiles),
            "options": {"bands": ["VV", "VH"], "given": ["VV", "VH"]},
            "input": INPUT,
        },
        "preprocess": {"given": GIVEN},
        "augment": {"geometry": "dihedral"},
        "loss": {"name": "ce"},
        "optim": {"epochs": 1, "batch_size": 4},
        "runtime": {"precision": "fp32", "threads": 1},
    }
    return from_dict({name: {**values.get(name, {}), **sections.get(name, {})} for name in {*values, *sections}})


@pytest.mark.slow
def test_two_bands_in_decibels_are_trained_on_and_the_file_says_so(tiles: Path, tmp_path: Path) -> None:
    trainer = fit(recipe(tiles), tmp_path / "run")
    mean, std = mean_std(open_splits(trainer.recipe)[0], trainer.recipe.preprocess, given=INPUT)
    pixels = np.stack([np.load(tiles / f"{index}.npy") for index in range(8)])
    assert mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-4)
    assert std == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-4)
    model, transform = sarhub.create_model(tmp_path / "run"), sarhub.create_transform(tmp_path / "run")
    assert transform.bands == ("VV", "VH") and transform.mean == pytest.approx(tuple(mean))
    image = np.load(tiles / "9.npy")
    expected = trainer.transform(torch.from_numpy(image)[None])
    torch.testing.assert_close(transform(image)[None], expected)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(expected), trainer.scored.eval()(expected))


def test_intensity_is_converted_to_what_the_weights_expect(tiles: Path, tmp_path: Path) -> None:
    for file in tiles.glob("*.npy"):
        np.save(tmp_path / file.name, 10 ** (np.load(file) / 10))
    data = {
        "name": "chips",
        "root": str(tmp_path),
        "lists": str(tiles),
        "options": {"bands": ["VV", "VH"], "given": ["VV", "VH"]},
        "input": INPUT,
    }
    sources = [
        open_splits(recipe(tiles, data={**data, **more}))[0]
        for more in ({"root": str(tiles)}, {"radiometry": "intensity"})
    ]
    first, second = (next(iter(source.evaluation(8))).images for source in sources)
    torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_a_backbone_is_frozen_with_its_statistics_or_learns_more_slowly(
    tiles: Path, tmp_path: Path, factor: float
) -> None:
    plan = recipe(tiles, optim={"epochs": 1, "batch_size": 4, "backbone_factor": factor})
    (tmp_path / "run").mkdir()
    trainer = Trainer(plan, *open_splits(plan), tmp_path / "run", make_accelerator(plan.runtime, 1))
    before = {key: tensor.clone() for key, tensor in trainer.network.state_dict().items()}
    assert trainer.run(lambda step, loss: None, lambda row: None)
    changed = {key for key, tensor in trainer.network.state_dict().items() if not torch.equal(tensor, before[key])}
    head = {"classifier.weight", "classifier.bias"}
    assert changed == head if factor == 0 else changed > head
    rates = {group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert len(rates) == (1 if factor == 0 else 2)


@pytest.mark.slow
def test_a_run_ends_where_patience_does_and_stays_ended(tiles: Path, tmp_path: Path) -> None:
    plan = recipe(tiles, optim={"epochs": 50, "batch_size": 4, "patience": 2, "max_lr": 1e-9})
    trainer = fit(plan, tmp_path / "run")
    assert trainer.finished and len(trainer.history) == 3
    again = Trainer(plan, *open_splits(plan), tmp_path / "run", make_accelerator(plan.runtime, 1))
    assert again.finished


def test_a_good_start_does_not_use_up_the_patience(tiles: Path, tmp_path: Path) -> None:
    plan = recipe(tiles, optim={"epochs": 50, "batch_size": 4, "patience": 2})
    trainer = Trainer(plan, *open_splits(plan), tmp_path, make_accelerator(plan.runtime, 1))
    for epoch, score in enumerate((0.9, 0.1, 0.2, 0.15, 0.3, 0.25)):
        trainer.history.append({"epoch": epoch, trainer.monitor: score})
        assert not trainer.finished
    trainer.history.append({"epoch": 6, trainer.monitor: 0.3})
    assert trainer.finished


def test_adapters_need_a_transformer(tiles: Path, tmp_path: Path) -> None:
    plan = recipe(tiles, model={"network": "mobilenetv3", "lora": 4})
    with pytest.raises(OptionError, match="transformers"):
        Trainer(plan, *open_splits(plan), tmp_path, make_accelerator(plan.runtime, 1))


@pytest.mark.slow
def test_adapters_leave_a_plain_network_behind(tiles: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    plan = recipe(tiles, model={"network": "swin_t", "lora": 2}, preprocess={"given": {**GIVEN, "size": 128}})
    trainer = fit(plan, tmp_path / "run")
    trained = sum(p.numel() for p in trainer.network.parameters() if p.requires_grad)
    assert trained < 0.02 * sum(p.numel() for p in trainer.network.parameters())
    x = torch.randn(1, 2, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(sarhub.create_model(tmp_path / "run").eval()(x), trainer.scored.eval()(x))
