"""Data sets of images with a mask for each: SL-SSDD, SARBake and Sen1Floods11, as their files lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from sarhub_models.datasets import SARBake, Sen1Floods11, SlSsdd
from sarhub_models.datasets.check import index_dataset
from sarhub_models.datasets.segmentation.base import NO_LABEL
from sarhub_models.errors import DataError, IncompleteError, OptionError
from tests.datasets.scenes import pixels

MASK = np.array([[0, 255, 255], [0, 0, 255]], np.uint8)


def save(file: Path, array: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)
    return file


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    rgb = np.stack([np.full((2, 3), value, np.uint8) for value in (10, 20, 33)], axis=-1)
    save(tmp_path / "JPEGImages" / "000001.png", np.full((2, 3), 7, np.uint8))
    save(tmp_path / "JPEGImages" / "000002.png", rgb)
    save(tmp_path / "masks" / "test" / "000001.png", MASK)
    save(tmp_path / "masks" / "train" / "000002.png", MASK)
    return tmp_path


def test_land_and_sea(sea: Path) -> None:
    sample = SlSsdd(sea / "JPEGImages", "test", annotations=sea / "masks")[0]
    assert sample.image.tolist() == [[[7] * 3] * 2] and sample.mask.tolist() == [[0, 1, 1], [0, 0, 1]]
    assert sample.name == "000001.png"
    train = SlSsdd(sea, "train", annotations=sea / "masks")  # masks of the same name lie below the root
    with pytest.warns(UserWarning, match=r"000002\.png: a picture whose colors differ"):
        image = train[0].image
    assert image.tolist() == np.asarray(Image.open(sea / "JPEGImages/000002.png").convert("L"))[None].tolist()
    assert SlSsdd(sea, "train", annotations=sea / "masks", band=3)[0].image.tolist() == [[[33] * 3] * 2]
    with pytest.raises(OptionError, match="'train' or 'test'"):
        SlSsdd(sea, "val", annotations=sea / "masks")


def test_masks_that_do_not_fit_are_named(sea: Path) -> None:
    save(sea / "masks" / "test" / "000009.png", MASK)
    with pytest.raises(IncompleteError, match=r"1 of 2 masks have no image below .*, 000009\.png first") as caught:
        SlSsdd(sea / "JPEGImages", "test", annotations=sea / "masks")
    assert caught.value.missing == ("000009.png",)
    (sea / "masks" / "test" / "000009.png").unlink()
    save(sea / "masks" / "test" / "000001.png", MASK // 2)
    with pytest.raises(DataError, match=r"000001\.png: expected the values 0, 255, got 127"):
        SlSsdd(sea / "JPEGImages", "test", annotations=sea / "masks")[0]
    save(sea / "masks" / "test" / "000001.png", MASK[:1])
    with pytest.raises(DataError, match=r"has shape \(1, 3\), its image .* \(2, 3\)"):
        SlSsdd(sea / "JPEGImages", "test", annotations=sea / "masks")[0]


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    for folder, vehicle, name in (
        ("17_DEG/COL2/SCENE1", "2S1", "HB00001.000"),
        ("15_DEG/COL2/SCENE1", "2S1", "HB00002.000"),
        ("17_DEG/COL2/SCENE1", "ZSU_23_4", "HB00003.026"),
    ):
        save(tmp_path / "chips" / folder / vehicle / f"{name}.jpeg", np.full((2, 3), 90, np.uint8))
    for name in ("2S1/HB00001.000", "2S1/HB00002.000", "ZSU_23_4/HB00003.026", "ZIL131/HB00003.026"):
        save(tmp_path / "masks" / f"{name}.png", (MASK % 3 + (MASK > 0)).astype(np.uint8))
    return tmp_path


def test_target_and_shadow_by_depression_angle(chips: Path) -> None:
    train = SARBake(chips / "chips", "train", annotations=chips / "masks")
    assert [Path(name).name for name in train.names] == ["HB00001.000.jpeg", "HB00003.026.jpeg"]
    assert [mask.parent.name for mask in train.masks] == ["2S1", "ZSU_23_4"], "not the stray one of ZIL131"
    assert train[0].mask.tolist() == [[0, 1, 1], [0, 0, 1]] and train[0].image.shape == (1, 2, 3)
    test = SARBake(chips / "chips", "test", annotations=chips / "masks")
    assert len(test) == 1 and test.class_names == ("background", "target", "shadow")
    assert [index.found for index in index_dataset("sarbake", chips / "chips", lists=chips / "masks")] == [2, 1]


def test_masks_as_tables(chips: Path) -> None:
    (chips / "masks" / "2S1" / "HB00002.000.png").unlink()
    file = chips / "masks" / "2S1" / "HB00002.000.csv"
    file.write_text("\ufeff0,1,2\n2,2,0\n")
    test = SARBake(chips / "chips", "test", annotations=chips / "masks")
    assert test[0].mask.tolist() == [[0, 1, 2], [2, 2, 0]]
    file.write_text("0,1,oil\n2,2,0\n")
    with pytest.raises(DataError, match=r"HB00002\.000\.csv is no mask"):
        test[0]


def write_flood(root: Path, chip: str, image: np.ndarray, labels: np.ndarray) -> None:
    for folder, name, array in (("S1Hand", "S1Hand", image), ("LabelHand", "LabelHand", labels[None])):
        (root / folder).mkdir(parents=True, exist_ok=True)
        profile = {"driver": "GTiff", "count": len(array), "height": 8, "width": 8, "dtype": array.dtype.name}
        place = {"crs": "EPSG:4326", "transform": from_origin(10, 50, 1e-4, 1e-4)}
        with rasterio.open(root / folder / f"{chip}_{name}.tif", "w", nodata=None, **profile, **place) as dataset:
            dataset.write(array)


def test_floods_have_two_bands_and_pixels_without_label(tmp_path: Path) -> None:
    image = np.stack([-20 + 10 * pixels(1), -27 + 10 * pixels(2)]).astype(np.float32)
    image[1, 0, 0] = np.nan
    labels = np.zeros((8, 8), np.int16)
    labels[2:, 2:], labels[7, 7] = 1, -1
    write_flood(tmp_path, "Ghana_1", image, labels)
    write_flood(tmp_path, "Spain_2", image, labels)
    sample = Sen1Floods11(tmp_path)[0]
    assert sample.image.shape == (2, 8, 8) and sample.image.dtype == np.float32
    np.testing.assert_array_equal(sample.image[:, 1:], image[:, 1:])
    assert sample.image[:, 0, 0].tolist() == [0, 0]
    expected = labels.astype(np.uint8)
    expected[7, 7] = expected[0, 0] = NO_LABEL
    np.testing.assert_array_equal(sample.mask, expected)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "flood_valid_data.csv").write_text("Spain_2_S1Hand.tif,Spain_2_LabelHand.tif\n")
    assert Sen1Floods11(tmp_path, "val").names == ("S1Hand/Spain_2_S1Hand.tif",)
    with pytest.raises(DataError, match=r"no flood_train_data\.csv there or below"):
        Sen1Floods11(tmp_path, "train")
    (tmp_path / "splits" / "flood_test_data.csv").write_text("India_3_S1Hand.tif,India_3_LabelHand.tif\n")
    with pytest.raises(IncompleteError, match=r"India_3_S1Hand\.tif first"):
        Sen1Floods11(tmp_path, "test")
