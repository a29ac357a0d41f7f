from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets import MSTAR
from sarhub_models.datasets.recognition.mstar.reader import CLASS_NAMES
from sarhub_models.errors import DataError, ImageError, IncompleteError, OptionError
from tests.datasets.chips import write_chip
from tests.datasets.scenes import write_npy

TYPES = (
    ("2s1_gun", "b01"),
    ("bmp2_tank", "9563"),
    ("brdm2_truck", "E-71"),
    ("btr60_transport", "k10yt7532"),
    ("btr70_transport", "c71"),
    ("d7_bulldozer", "92v13015"),
    ("t62_tank", "A51"),
    ("t72_tank", "132"),
    ("zil131_truck", "E12"),
    ("zsu23-4_gun", "d08"),
)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """Two archives, unpacked: a chip of each vehicle at each angle, in folders whose names tell nothing."""
    for seed, (target, serial) in enumerate(TYPES):
        shape = (8 + seed, 6)
        write_chip(tmp_path / f"CD2/17_DEG/COL2/S{seed}/HB1{seed:04}.000", seed, shape, target=target, serial=serial)
        write_chip(
            tmp_path / f"CD1/15_DEG/COL2/S{seed}/HB2{seed:04}.025",
            seed + 50,
            shape,
            target=target,
            serial=serial,
            depression=15,
        )
    return tmp_path


def test_splits_by_the_depression_angle_and_classes_by_the_header(archives: Path) -> None:
    train, test = MSTAR(archives, "train"), MSTAR(archives, "test")
    assert train.class_names == CLASS_NAMES and train.labels.tolist() == test.labels.tolist() == list(range(10))
    assert train.names[0] == "CD2/17_DEG/COL2/S0/HB10000.000" and test.names[9] == "CD1/15_DEG/COL2/S9/HB20009.025"
    assert [sample.image.shape for sample in train] == [(8 + row, 6) for row in range(10)]


def test_images_are_magnitudes(archives: Path) -> None:
    magnitude = write_chip(archives / "CD2/17_DEG/COL2/S0/HB10000.000", seed=7)
    image, label, name = MSTAR(archives, "train")[0]
    np.testing.assert_array_equal(image, magnitude)
    assert image.dtype == np.float32 and label == 0 and name.endswith("HB10000.000")


def test_other_vehicles_of_a_type_are_left_out_unless_asked_for(archives: Path) -> None:
    for serial, seed in (("812", 1), ("A04", 2)):
        write_chip(archives / f"SN_{serial}/HB03333.016", seed, target="t72_tank", serial=serial)
    write_chip(archives / "SN_C21/HB03333.001", target="bmp2_tank", serial="c21")
    write_chip(archives / "A32/HB03333.005", target="zil131_truck", serial="E12", depression=30)
    assert len(MSTAR(archives, "train")) == 10
    variants = MSTAR(archives, "train", variants=True)
    assert variants.counts().tolist() == [1, 2, 1, 1, 1, 1, 1, 3, 1, 1]


def test_what_is_no_vehicle_is_passed_over(archives: Path) -> None:
    write_chip(archives / "SLICY/HB14973.015", target="slicey")
    file = archives / "CLUTTER/HB06157.000"
    write_chip(file, target=None, native=bytes(512))
    file.write_bytes(file.read_bytes()[: -4 * 8 * 6])  # 16-bit values
    (archives / "CD1/15_DEG/HB20000.025.JPG").write_bytes(b"a quick look")
    (archives / "CD1/README.TXT").write_text("about")
    (archives / ".trash").mkdir()
    (archives / ".trash/HB10000.000").write_bytes(b"deleted")
    assert len(MSTAR(archives, "train")) == len(MSTAR(archives, "test")) == 10


def test_lists_pick_phoenix_files_by_name_and_class(archives: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train_10.txt").write_text("/train/T-72/HB10007.000_Mag.npy 7\n/train/2S1/HB10000.000_Mag.npy 0\n")
    chips = MSTAR(archives, "train_10", lists=lists)
    assert chips.labels.tolist() == [7, 0] and chips.names[0].endswith("S7/HB10007.000")
    (lists / "train.txt").write_text("HB10003.000 3\n/train/T-72/HB10000.000_Mag.npy 7\nnotes 1\n")
    with pytest.raises(IncompleteError, match=r"2 of 3 listed chips are not below .*'/train/T-72/HB10000") as failure:
        MSTAR(archives, "train", lists=lists)
    assert failure.value.missing == ("/train/T-72/HB10000.000_Mag.npy", "notes")
    assert [file.name for file in failure.value.found] == ["HB10003.000"]


def test_npy_files_and_lists(tmp_path: Path) -> None:
    image = write_npy(tmp_path / "train/2S1/HB19868.000_Mag.npy", 1)
    write_npy(tmp_path / "train/BTR-60/HB03923.003_Mag.npy", 2)
    (tmp_path / "train_30.txt").write_text("/train/BTR-60/HB03923.003_Mag.npy 3\n/train/2S1/HB19868.000_Mag.npy 0\n")
    chips = MSTAR(tmp_path, "train_30")
    assert chips.labels.tolist() == [3, 0]
    np.testing.assert_array_equal(chips[1].image, image)
    with pytest.raises(DataError, match=r"expected the list of the split 'train'"):
        MSTAR(tmp_path, "train")


def test_damaged_headers_are_all_told(archives: Path) -> None:
    first, second = archives / "CD2/17_DEG/COL2/S3/HB10003.000", archives / "CD2/17_DEG/COL2/S4/HB10004.000"
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(second.read_bytes().replace(b"DesiredDepression= 17", b"DesiredDepression= ??"))
    with pytest.raises(IncompleteError, match=r"2 of 20 Phoenix files .* damaged; .*HB10003\.000: expected") as failure:
        MSTAR(archives, "test")
    assert list(failure.value.damaged) == [first, second] and len(failure.value.found) == 10
    assert "DesiredDepression= and degrees, got '??'" in failure.value.damaged[second]


def test_a_chip_damaged_after_opening_is_named(archives: Path) -> None:
    chips = MSTAR(archives, "train")
    chips.files[2].write_bytes(b"")
    with pytest.raises(ImageError, match=r"HB10002\.000: no Phoenix file"):
        chips[2]


def test_a_chip_that_lies_there_twice(archives: Path) -> None:
    copy = archives / "copy/HB10000.000"
    copy.parent.mkdir()
    copy.write_bytes((archives / "CD2/17_DEG/COL2/S0/HB10000.000").read_bytes())
    with pytest.raises(DataError, match=r"S0/HB10000\.000 and .*copy/HB10000\.000 are the same chip"):
        MSTAR(archives, "train")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        MSTAR(tmp_path / "none", "train")
    write_chip(tmp_path / "17/HB1.000")
    with pytest.raises(DataError, match="expected chips at 15°, found 17°"):
        MSTAR(tmp_path / "17", "test")
    (tmp_path / "17/HB1.000").unlink()
    write_chip(tmp_path / "HB1.000", target="slicey")
    with pytest.raises(DataError, match=r"1 Phoenix files, but none of 2S1, BMP-2"):
        MSTAR(tmp_path, "train")
    with pytest.raises(OptionError, match="a list names its chips"):
        MSTAR(tmp_path, "train_10", variants=True)
