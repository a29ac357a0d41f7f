"""The look at chips before a fine-tuning: those that share pixels on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarhub_models.engine.finetuning.survey import find_twins
from sarhub_models.engine.finetuning.table import Chip


def write(root: Path, *, shared: bool) -> list[Chip]:
    """Write calibrated chips: dark sea with speckle, one bright target; held out ones are others, or parts of them."""
    rng, chips = np.random.default_rng(0), []
    for index in range(8):
        sea = 0.01 * rng.exponential(size=(48, 48)).astype(np.float32)
        sea[20:27, 22:26] += 30 * rng.exponential(size=(7, 4)).astype(np.float32)
        np.save(root / f"{index}.npy", sea[:44, :44])
        other = 0.01 * rng.exponential(size=(48, 48)).astype(np.float32)
        other[20:27, 22:26] += 30 * rng.exponential(size=(7, 4)).astype(np.float32)
        np.save(root / f"held{index}.npy", 2 * (sea if shared else other)[4:, 4:])
        chips += [Chip(f"{index}.npy", "a", split="train"), Chip(f"held{index}.npy", "a", split="test")]
    return chips


def test_bright_targets_on_a_dark_sea_are_no_shared_pixels(tmp_path: Path) -> None:
    assert find_twins(tmp_path, write(tmp_path, shared=False)).count == 0


def test_the_same_sea_is_found_in_calibrated_chips(tmp_path: Path) -> None:
    found = find_twins(tmp_path, write(tmp_path, shared=True))
    assert (found.count, found.compared) == (8, 8)
