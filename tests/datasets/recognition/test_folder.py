from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets import FolderDataset, ListDataset, SceneDataset
from sarhub_models.errors import DataError, ImageError
from tests.datasets.scenes import pixels, write_npy, write_png, write_tif


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_png(tmp_path / "Tanker/b.png", 1)
    write_npy(tmp_path / "Cargo/deep/er/a.npy", 2)
    write_tif(tmp_path / "Cargo/c.tif", pixels(3))
    (tmp_path / "Cargo/notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_class_folders(root: Path) -> None:
    data = FolderDataset(root)
    assert data.class_names == ("Cargo", "Tanker") and not data.multilabel
    assert data.names == ("Cargo/c.tif", "Cargo/deep/er/a.npy", "Tanker/b.png")
    assert data.labels.tolist() == [0, 0, 1] and data.labels.dtype == np.int64
    assert data.counts().tolist() == [2, 1]
    assert len(data) == len(list(data)) == 3
    image, label, name = data[-1]
    assert (label, name) == (1, "Tanker/b.png") and isinstance(label, int)
    np.testing.assert_array_equal(image, (255 * pixels(1)).astype(np.uint8))
    np.testing.assert_array_equal(data[0].image, pixels(3))


def test_chosen_classes_are_numbered_in_their_order(root: Path) -> None:
    write_npy(root / "Fishing/d.npy")
    data = FolderDataset(root, class_names=("Tanker", "Cargo"))
    assert data.class_names == ("Tanker", "Cargo") and data.counts().tolist() == [1, 2]
    with pytest.raises(DataError, match="Tug: no such folder"):
        FolderDataset(root, class_names=("Tanker", "Tug"))


def test_a_list_chooses_and_orders(root: Path) -> None:
    (root / "test.txt").write_text("/m/x/Tanker/b.jpg 1\nCargo/c 0\n")
    data = FolderDataset(root, "test")
    assert data.names == ("Tanker/b.png", "Cargo/c.tif") and data.labels.tolist() == [1, 0]


def test_a_list_of_other_classes_is_refused(root: Path) -> None:
    (root / "test.txt").write_text("Tanker/b 0\n")
    with pytest.raises(DataError, match=r"'Tanker/b' is class 0 \(Cargo\), but it is .*Tanker/b\.png"):
        FolderDataset(root, "test")


def test_folders_without_classes_or_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; expected one with a sub-folder for each class"):
        FolderDataset(tmp_path / "none")
    with pytest.raises(DataError, match="expected a sub-folder for each class, found none"):
        FolderDataset(tmp_path)
    (tmp_path / "Cargo").mkdir()
    with pytest.raises(DataError, match="Cargo: no images"):
        FolderDataset(tmp_path)


def test_a_damaged_image_is_named(root: Path) -> None:
    whole = (root / "Cargo/c.tif").read_bytes()
    (root / "Cargo/c.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"Cargo/c\.tif"):
        FolderDataset(root)[0]


def test_images_of_a_list(root: Path, tmp_path: Path) -> None:
    lists = tmp_path / "all.txt"
    lists.write_text("Tanker/b.png 0,2\nc.tif 1\n")
    data = ListDataset(root, lists, ("x", "y", "z"), multilabel=True)
    assert data.names == ("Tanker/b.png", "Cargo/c.tif")
    assert data.multilabel and data.counts().tolist() == [1, 1, 1]
    label = data[0].label
    assert isinstance(label, np.ndarray) and label.dtype == np.uint8 and label.tolist() == [1, 0, 1]
    label[:] = 0
    assert data.labels[0].tolist() == [1, 0, 1]


def test_a_loader_makes_batches(root: Path) -> None:
    import torch
    from torch.utils.data import DataLoader

    write_npy(root / "Tanker/b.npy", 4)
    (root / "Tanker/b.png").unlink()
    batch = next(iter(DataLoader(FolderDataset(root), batch_size=3)))  # type: ignore[arg-type]
    assert batch.image.shape == (3, 8, 8) and batch.image.dtype == torch.float32
    assert batch.label.tolist() == [0, 0, 1] and batch.name[2] == "Tanker/b.npy"


def test_readers_do_not_import_torch() -> None:
    code = "import sys, sarhub_models.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_counts_include_classes_without_images(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy")
    data = SceneDataset(tmp_path, [tmp_path / "a.npy"], np.array([1]), ("x", "y", "z"))
    assert data.counts().tolist() == [0, 1, 0]
