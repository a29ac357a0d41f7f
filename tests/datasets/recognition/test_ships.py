from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarhub_models.datasets import FUSARShip, OpenSARShip
from sarhub_models.datasets.recognition import fusar
from sarhub_models.datasets.recognition.opensarship import reader as opensarship
from sarhub_models.errors import DataError, IncompleteError, OptionError
from tests.datasets.scenes import pixels, write_npy, write_tif


def write_jpg(file: Path, size: int = 12) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels(1, size)).astype(np.uint8)).save(file)


@pytest.fixture
def ships(tmp_path: Path) -> Path:
    write_jpg(tmp_path / "Cargo/16016_9986_146_21_vv.jpg", 20)
    write_jpg(tmp_path / "Cargo/16016_9986_146_21_vh.jpg")
    write_jpg(tmp_path / "Tanker/11520_13606_61_10_vv.jpg")
    write_jpg(tmp_path / "Tug/52541_7198_74_18_vv.jpg")
    write_jpg(tmp_path / "Search and Rescue vessel/1_2_3_4_vv.jpg")
    write_jpg(tmp_path / "preview/Cargo_vv.jpg")
    return tmp_path


def test_opensarship_by_folder(ships: Path) -> None:
    chips = OpenSARShip(ships)
    assert chips.class_names == opensarship.CLASS_NAMES and len(chips.class_names) == 14
    assert dict(zip(chips.names, chips.labels.tolist(), strict=True)) == {
        "Cargo/16016_9986_146_21_vv.jpg": 11,
        "Search and Rescue vessel/1_2_3_4_vv.jpg": 3,
        "Tanker/11520_13606_61_10_vv.jpg": 12,
        "Tug/52541_7198_74_18_vv.jpg": 0,
    }
    assert chips[0].image.shape == (20, 20) and chips[0].image.dtype == np.uint8
    assert OpenSARShip(ships, polarization="vh").names == ("Cargo/16016_9986_146_21_vh.jpg",)


def test_opensarship_numbers_the_classes_of_a_size(ships: Path) -> None:
    folder = "/DATA/someone/OpenSARShip_uint8"
    (ships / "large_train.txt").write_text(f"{folder}/Tanker/11520_13606_61_10_vv.jpg 12\n")
    with pytest.raises(DataError, match=r"large_test\.txt"):
        OpenSARShip(ships, "large_train")
    (ships / "large_test.txt").write_text(
        f"{folder}/Cargo/16016_9986_146_21_vv.jpg 11\n{folder}/Tug/52541_7198_74_18_vv.jpg 0\n"
    )
    train, test = OpenSARShip(ships, "large_train"), OpenSARShip(ships, "large_test")
    assert train.class_names == test.class_names == ("Tug", "Cargo", "Tanker")
    assert train.labels.tolist() == [2] and test.labels.tolist() == [1, 0]
    assert train.counts().tolist() == [0, 0, 1]
    (ships / "mine.txt").write_text("Tanker/11520_13606_61_10_vv 12\n")
    own = OpenSARShip(ships, "mine")
    assert own.class_names == opensarship.CLASS_NAMES and own.labels.tolist() == [12]


def test_opensarship_says_what_is_wrong(ships: Path) -> None:
    with pytest.raises(OptionError, match="'vv' or 'vh'"):
        OpenSARShip(ships, polarization="hh")
    (ships / "low_train.txt").write_text("Cargo/16016_9986_146_21_vv.jpg 12\n")
    with pytest.raises(DataError, match=r"is class 12 \(Tanker\), but it is .*Cargo/16016_9986_146_21_vv\.jpg"):
        OpenSARShip(ships, "low_train")
    (ships / "low_train.txt").write_text("Cargo/1_1_1_1_vv.jpg 11\n")
    with pytest.raises(IncompleteError, match=r"1 of 1 listed images are not below") as failure:
        OpenSARShip(ships, "low_train")
    assert failure.value.missing == ("Cargo/1_1_1_1_vv.jpg",)
    write_npy(ships / "Cargo/16016_9986_146_21_vv.npy")
    with pytest.raises(DataError, match=r"_vv\.jpg and .*_vv\.npy are the same image"):
        OpenSARShip(ships)


def test_fusar_in_the_folders_of_the_archive(tmp_path: Path) -> None:
    root = tmp_path / "FUSAR_Ship1.0"
    write_tif(root / "Cargo/BulkCarrier/Ship_C01S02N0001.tiff", (255 * pixels(1)).astype(np.uint8))
    write_tif(root / "Tug/Tug/Ship_C13S07N0017.tiff", (255 * pixels(2)).astype(np.uint8))
    write_tif(root / "Unspecified/Tug/../Ship_C14S01N0001.tiff", (255 * pixels(3)).astype(np.uint8))
    chips = FUSARShip(root)
    assert chips.class_names == fusar.CLASS_NAMES and chips.labels.tolist() == [0, 5]
    (tmp_path / "FuSAR_test6.txt").write_text(
        "/DATA/a/data_npy/data5/Tug/Ship_C13S07N0017.npy 5\n/DATA/a/data_npy/data1/Cargo/Ship_C01S02N0001.npy 0\n"
    )
    test = FUSARShip(root, "test6", lists=tmp_path)
    assert test.labels.tolist() == [5, 0] and test.names[1] == "Cargo/BulkCarrier/Ship_C01S02N0001.tiff"
    np.testing.assert_array_equal(test[1].image, (255 * pixels(1)).astype(np.uint8))


def test_fusar_as_npy(tmp_path: Path) -> None:
    write_npy(tmp_path / "data1/Cargo/Ship_C01S07N1121.npy")
    write_npy(tmp_path / "data3/Dredger/Ship_C03S02N0005.npy")
    (tmp_path / "train6.txt").write_text("/DATA/data_npy/data3/Dredger/Ship_C03S02N0005.npy 1\n")
    assert FUSARShip(tmp_path, "train6").names == ("data3/Dredger/Ship_C03S02N0005.npy",)
    (tmp_path / "train6.txt").write_text("/DATA/data_npy/data3/Dredger/Ship_C03S02N0005.npy 0\n")
    with pytest.raises(DataError, match=r"is class 0 \(Cargo\), but it is .*Dredger"):
        FUSARShip(tmp_path, "train6")
    with pytest.raises(DataError, match=r"expected images in folders called Cargo, Dredger"):
        FUSARShip(tmp_path / "data1/Cargo")
