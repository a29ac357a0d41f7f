from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets import TerraSARX
from sarhub_models.errors import DataError, ImageError
from tests.datasets.scenes import pixels, write_npy, write_png

SAND, ROCK = "Collection28/_Annotation/Sand/2_824", "Collection29/_Annotation/Barren,_rock,_soil_or_sand/2_824"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_npy(tmp_path / "patches" / f"{SAND}.npy", 1)
    write_npy(tmp_path / "patches" / f"{ROCK}.npy", 2)
    write_png(tmp_path / "patches" / f"{SAND}.png")
    (tmp_path / "patches/tsx_val.txt").write_text(f"{ROCK} 31\n{SAND} 16\n{SAND}.npy 16\n")
    return tmp_path / "patches"


def test_patches_of_a_split(root: Path) -> None:
    data = TerraSARX(root, "val")
    assert data.names == (f"{ROCK}.npy", f"{SAND}.npy", f"{SAND}.npy") and data.labels.tolist() == [31, 16, 16]
    np.testing.assert_array_equal(data[0].image, pixels(2))
    assert len(data.class_names) == 32
    assert data.counts()[[16, 31]].tolist() == [2, 1] and data.counts().sum() == 3


def test_lists_elsewhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text(f"/DATA/somebody/TSX/{SAND}.npy 3\n")
    assert TerraSARX(root, "train", lists=tmp_path / "lists").names == (f"{SAND}.npy",)


def test_what_is_wrong_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"tsx_test\.txt or .*test\.txt"):
        TerraSARX(root, "test")
    (root / "tsx_val.txt").write_text(f"{SAND} 32\n")
    with pytest.raises(DataError, match=r"line 1: expected .* labels from 0 to 31"):
        TerraSARX(root, "val")
    (root / "tsx_val.txt").write_text("2_824 1\n")
    with pytest.raises(DataError, match=r"Sand/2_824\.npy or .*Collection29"):
        TerraSARX(root, "val")
    (root / "tsx_val.txt").write_text(f"{SAND} 1\n")
    (root / f"{SAND}.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ImageError, match=r"Sand/2_824\.npy"):
        TerraSARX(root, "val")[0]
