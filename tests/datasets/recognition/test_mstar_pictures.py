"""MSTAR as pictures in the folders of the CDs, unpacked or in a .zip archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarhub_models.datasets import MSTAR
from sarhub_models.errors import DataError, ImageError
from tests.datasets.chips import write_chip

FOLDERS = (
    "CHIPS_T72_BMP2_BTR70_SLICY/{}_DEG/BMP2/SN_9563",
    "CHIPS_T72_BMP2_BTR70_SLICY/{}_DEG/BMP2/SN_C21",
    "CHIPS_T72_BMP2_BTR70_SLICY/{}_DEG/T72/SN_132",
    "CHIPS_T72_BMP2_BTR70_SLICY/{}_DEG/SLICY",
    "MIXED_TARGETS_CD1/{}_DEG/COL2/SCENE1/ZSU_23_4",
    "MIXED_TARGETS_CD1/{}_DEG/COL2/SCENE1/SLICY",
    "PUBLIC_T_72_VARIANTS_CD1/{}_DEG/COL2/SCENE1/A04",
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two chips of each vehicle at both angles; the name tells neither."""
    root, rng = tmp_path / "pictures", np.random.default_rng(0)
    for depression in (15, 17):
        for folder in FOLDERS:
            for number in range(2):
                file = root / folder.format(depression) / f"HB1000{number}.000.jpeg"
                file.parent.mkdir(parents=True, exist_ok=True)
                chip = rng.integers(0, 256, (20, 24 + number), dtype=np.uint8)
                Image.fromarray(chip).save(file)
    return root


def test_folders_tell_vehicle_and_angle(pictures: Path) -> None:
    for split, depression in (("train", "17_DEG"), ("test", "15_DEG")):
        data = MSTAR(pictures, split)
        found = {
            (data.class_names[label], name.split("/")[-2]) for label, name in zip(data.labels, data.names, strict=True)
        }
        assert found == {("BMP-2", "SN_9563"), ("T-72", "SN_132"), ("ZSU-234", "ZSU_23_4")}
        assert len(data) == 6 and all(depression in name for name in data.names)


def test_variants_are_other_vehicles_of_a_type(pictures: Path) -> None:
    data = MSTAR(pictures, "train", variants=True)
    assert len(data) == 10
    assert {data.class_names[data.labels[i]] for i, name in enumerate(data.names) if "/A04/" in name} == {"T-72"}


def test_images_are_magnitudes_over_their_maximum(pictures: Path) -> None:
    data = MSTAR(pictures, "train")
    stored = np.asarray(Image.open(data.files[1]))
    assert data[1].image.dtype == np.float32 and data.size(1) == stored.shape
    np.testing.assert_array_equal(data[1].image, stored.astype(np.float32) / 255)


def test_an_archive_holds_the_same(pictures: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed" / "mstar.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(pictures.rglob("*.jpeg")):
            packed.write(file, file.relative_to(pictures))
    expected, found = MSTAR(pictures, "test"), MSTAR(archive.parent, "test")
    assert found.names == tuple(f"mstar.zip/{name}" for name in expected.names)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert [found.size(index) for index in range(6)] == [expected.size(index) for index in range(6)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_lists_of_other_suffixes_name_pictures(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("/old/BMP2/HB10001.000_Mag.npy 1\nZSU234/HB10000.000_Mag.npy 9\n")
    one_angle = pictures / "MIXED_TARGETS_CD1/15_DEG"
    for file in [*one_angle.rglob("*.jpeg"), *pictures.glob("CHIPS*/15_DEG/*/*/*.jpeg")]:
        file.unlink()
    data = MSTAR(pictures, "few", lists=tmp_path)
    assert [name.split("/")[-2:] for name in data.names] == [
        ["SN_9563", "HB10001.000.jpeg"],
        ["ZSU_23_4", "HB10000.000.jpeg"],
    ]


def test_phoenix_files_come_before_pictures(pictures: Path) -> None:
    write_chip(pictures / "17_DEG/HB20000.000", target="2s1_gun", serial="b01", depression=17)
    assert [Path(name).name for name in MSTAR(pictures, "train").names] == ["HB20000.000"]


def test_what_is_no_gray_picture_is_named(pictures: Path) -> None:
    data = MSTAR(pictures, "train")
    data.files[0].write_bytes(data.files[0].read_bytes()[:100])
    Image.new("CMYK", (8, 8)).save(data.files[1])
    for index in (0, 1):
        with pytest.raises(ImageError, match=data.files[index].name):
            data[index]


def test_an_angle_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "30_DEG/2S1/HB10000.000.png"
    file.parent.mkdir(parents=True)
    Image.new("L", (8, 8)).save(file)
    with pytest.raises(DataError, match="expected chips at 17°, found 30°"):
        MSTAR(tmp_path, "train")
