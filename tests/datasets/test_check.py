from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarhub_models.cli import main
from sarhub_models.datasets.catalog import names
from sarhub_models.datasets.check import SplitIndex, index_dataset, write_index
from sarhub_models.errors import DataError, OptionError, UnknownNameError
from tests.datasets.segmentation.test_spacenet6 import footprints, write_tile

from .chips import write_chip
from .scenes import write_bigearthnet_patch, write_npy
from .ships import coco, write_coco_file, write_image, write_voc


@pytest.fixture
def ssdd(tmp_path: Path) -> Path:
    """A complete download by the numbers: 928 and 232 images, a ship in each."""
    write_image(tmp_path / "images/000001.jpg")
    content = (tmp_path / "images/000001.jpg").read_bytes()
    numbers: dict[str, list[str]] = {"train": [], "test": []}
    for number in range(1, 1161):
        numbers["test" if str(number)[-1] in "19" else "train"].append(f"{number:06}.jpg")
        (tmp_path / f"images/{number:06}.jpg").write_bytes(content)
    for split, listed in numbers.items():
        write_coco_file(tmp_path / f"annotations/{split}.json", coco({name: [[1, 2, 3, 4]] for name in listed}))
    return tmp_path


def by_split(found: list[SplitIndex]) -> dict[str, SplitIndex]:
    return {index.split: index for index in found}


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = main(["index", *map(str, arguments)])
    return (code, *capsys.readouterr())


def test_a_complete_download(ssdd: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "ssdd", ssdd, "--out", tmp_path / "index.csv")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()[:5]]
    assert rows[0] == ["split", "class", "published", "found", "missing", "damaged"]
    assert rows[1:] == [
        ["train", "928", "928", "0", "0", "ok"],
        ["ship", "-", "928"],
        ["test", "232", "232", "0", "0", "ok"],
        ["ship", "-", "232"],
    ]
    with (tmp_path / "index.csv").open() as file:
        entries = list(csv.DictReader(file))
    assert len(entries) == 1160
    assert entries[0] == {
        "split": "train",
        "name": "images/000002.jpg",
        "label": "1",
        "height": "20",
        "width": "30",
        "problem": "",
    }


@pytest.mark.slow
def test_what_is_missing_or_damaged_is_named(ssdd: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number in range(11, 131, 10):
        (ssdd / f"images/{number:06}.jpg").unlink()
    (ssdd / "images/000002.jpg").write_bytes(b"\xff\xd8\xff")
    write_image(ssdd / "images/000003.jpg", 21, 30)
    code, out, err = run(capsys, "ssdd", ssdd, "--out", tmp_path / "index.csv")
    assert code == 1 and err == f"sarhub: ssdd in {ssdd} differs from what was published\n"
    assert ["train", "928", "928", "0", "2", "NOT", "OK"] in [line.split() for line in out.splitlines()]
    assert ["test", "232", "220", "12", "0", "NOT", "OK"] in [line.split() for line in out.splitlines()]
    assert "000002.jpg: cannot be read as .jpg" in out
    assert "000003.jpg: expected 20 by 30 pixels as annotated, got 21 by 30" in out
    assert "test, missing:\n  000011.jpg\n" in out and "… and 2 more; --out FILE lists all" in out
    with (tmp_path / "index.csv").open() as file:
        problems = [entry for entry in csv.DictReader(file) if entry["problem"]]
    assert len(problems) == 14 and sum(entry["problem"] == "missing" for entry in problems) == 12
    assert run(capsys, "ssdd", ssdd, "--quick", "--split", "train")[0] == 0  # opens nothing


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stem, boxes in (("01_1_1", [[1, 1, 2, 2], [3, 3, 3, 9]]), ("15_20_30", [])):
        write_image(tmp_path / f"JPEGImages_sub/{stem}.jpg")
        write_voc(tmp_path / f"Annotations_sub/{stem}.xml", boxes)
    code, out, _ = run(capsys, "ls-ssdd", tmp_path, "--json")
    train, test = json.loads(out)
    assert code == 1 and train["published"] == 6000 and train["found"] == 1 and train["classes"] == {"ship": 1}
    assert train["notes"] == ["1 boxes without area were left out, in JPEGImages_sub/01_1_1.jpg first"]
    assert test == {**test, "split": "test", "ok": False, "published": 3000, "missing": [], "damaged": {}}


def test_mstar_by_split_and_class(tmp_path: Path) -> None:
    for number in range(3):
        write_chip(tmp_path / f"17/HB{number:05}.000", number)
    write_chip(tmp_path / "17/HB00009.015", 9, target="t72_tank", serial="132")
    write_chip(tmp_path / "15/HB00008.015", 8, target="t72_tank", serial="132", depression=15)
    found = by_split(index_dataset("mstar", tmp_path))
    assert list(found) == ["train", "test"]
    assert (found["train"].expected, found["train"].found, found["train"].ok) == (2747, 4, False)
    assert found["train"].classes[0] == ("2S1", 3, 299) and found["train"].classes[7] == ("T-72", 1, 232)
    assert found["train"].entries[0].label == "2S1" and found["train"].entries[0].size == (8, 6)
    (tmp_path / "17/HB00001.000").write_bytes(b"\n[Phoenix")
    damaged = by_split(index_dataset("mstar", tmp_path, depth="names"))
    assert [entry.name for entry in damaged["test"].damaged] == ["17/HB00001.000"]
    assert damaged["train"].found == 3 and damaged["test"].found == 1
    assert [entry.name for entry in damaged["train"].entries if entry.problem] == ["17/HB00001.000"]


def test_mstar_in_its_archive_is_counted_alike(tmp_path: Path) -> None:
    for number, depression in ((0, 17), (1, 17), (2, 15)):
        write_chip(tmp_path / f"chips/{depression}/HB{number:05}.000", number, depression=depression)
    unpacked = by_split(index_dataset("mstar", tmp_path))
    with zipfile.ZipFile(tmp_path / "chips.zip", "w") as archive:
        for file in sorted((tmp_path / "chips").rglob("*.000")):
            archive.write(file, file.relative_to(tmp_path / "chips"))
    shutil.rmtree(tmp_path / "chips")
    for depth in ("headers", "pixels"):
        packed = by_split(index_dataset("mstar", tmp_path, depth=depth))
        for split, index in unpacked.items():
            assert packed[split].classes == index.classes and not packed[split].damaged
            assert [entry.size for entry in packed[split].entries] == [entry.size for entry in index.entries]


def test_mstar_lists_are_counted_too(tmp_path: Path) -> None:
    write_npy(tmp_path / "train/2S1/HB19868.000_Mag.npy")
    (tmp_path / "train_10.txt").write_text("/train/2S1/HB19868.000_Mag.npy 0\n/train/D7/HB1.005_Mag.npy 5\n")
    (index,) = index_dataset("mstar", tmp_path, splits=["train_10"])
    assert (index.expected, index.found) == (268, 1)
    assert [entry.name for entry in index.missing] == ["/train/D7/HB1.005_Mag.npy"]
    (train, _) = index_dataset("mstar", tmp_path)
    assert not train.ok and "expected the list of the split 'train'" in train.problems[0]


def test_opensarship_counts_the_classes_of_a_size(tmp_path: Path) -> None:
    write_npy(tmp_path / "Cargo/1_1_1_1_vv.npy")
    (whole,) = index_dataset("opensarship", tmp_path)
    assert whole.split == "all" and whole.ok and whole.found == 1
    for part in ("train", "test"):
        (tmp_path / f"large_{part}.txt").write_text("Cargo/1_1_1_1_vv.jpg 11\n")
    found = by_split(index_dataset("opensarship", tmp_path))
    assert len(found) == 6
    assert found["large_train"].problems == ("expected 7 classes in the lists of this size, found 1",)
    assert "low_train.txt" in found["low_train"].problems[0]


def test_pixels_bring_up_what_headers_hide(tmp_path: Path) -> None:
    write_npy(tmp_path / "Cargo/1_1_1_1_vv.npy")
    np.save(tmp_path / "Cargo/1_1_1_2_vv.npy", np.full((4, 4), np.nan))
    headers, pixels = (index_dataset("opensarship", tmp_path, depth=depth)[0] for depth in ("headers", "pixels"))
    assert headers.ok and not pixels.ok
    assert [entry.name for entry in pixels.damaged] == ["Cargo/1_1_1_2_vv.npy"]


def test_a_total_where_splits_were_not_published(tmp_path: Path) -> None:
    for split, name in (("train", "P1.jpg"), ("test", "P2.jpg")):
        write_image(tmp_path / f"JPEGImages/{name}")
        write_coco_file(tmp_path / f"annotations/{split}2017.json", coco({name: []}))
    found = by_split(index_dataset("hrsid", tmp_path))
    assert found["train"].ok and found["test"].ok
    assert (found["all"].expected, found["all"].found, found["all"].ok) == (5604, 2, False)
    assert len(index_dataset("hrsid", tmp_path, splits=["test"])) == 1


def test_chips_of_ones_own_have_the_splits_that_are_listed(tmp_path: Path) -> None:
    for name in ("ship/1.npy", "tank/2.npy"):
        write_npy(tmp_path / name)
    (tmp_path / "train.txt").write_text("ship/1.npy 0\n")
    (tmp_path / "val.txt").write_text("tank/2.npy 1\n")
    assert {split: one.found for split, one in by_split(index_dataset("folder", tmp_path)).items()} == {
        "train": 1,
        "val": 1,
    }


def test_spacenet6_misses_footprints(tmp_path: Path) -> None:
    write_tile(tmp_path, "20190822072817_20190822073109_tile_1", footprints())
    write_tile(tmp_path, "20190822072817_20190822073109_tile_2")
    (index,) = index_dataset("spacenet6", tmp_path)
    assert (index.expected, index.found) == (3401, 2)
    assert [entry.name for entry in index.missing] == ["20190822072817_20190822073109_tile_2.geojson"]
    (tmp_path / "test.txt").write_text("tile_1\n20190822072817_20190822073109_tile_1\n")
    test = by_split(index_dataset("spacenet6", tmp_path))["test"]
    assert [entry.name for entry in test.missing] == ["tile_1.tif"]


def test_scene_data_sets(tmp_path: Path) -> None:
    patch = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39"
    write_bigearthnet_patch(tmp_path / "ben", patch, ["Pastures", "Water bodies"])
    other = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_40"
    write_bigearthnet_patch(tmp_path / "ben", other, ["Airports"])
    (whole,) = index_dataset("ben", tmp_path / "ben")
    assert whole.entries[0].label == "Pastures;Inland waters" and whole.entries[0].size == (120, 120)
    assert whole.notes == (f"1 patches keep none of the classes and were left out, {other} first",)
    (tmp_path / "ben/ben_test.txt").write_text(f"{patch}_VV.npy 4,17\nS1A_IW_GRDH_1SDV_20170613T165043_1_1 0\n")
    test = by_split(index_dataset("ben", tmp_path / "ben"))["test"]
    assert test.found == 1 and [entry.name for entry in test.missing] == ["S1A_IW_GRDH_1SDV_20170613T165043_1_1"]
    write_npy(tmp_path / "own/a/1.npy")
    (own,) = index_dataset("folder", tmp_path / "own")
    assert own.ok and own.classes == (("a", 1, None),)
    write_npy(tmp_path / "tsx/x.npy")
    (tmp_path / "tsx/tsx_train.txt").write_text("x 3\n")
    tsx = by_split(index_dataset("tsx", tmp_path / "tsx"))
    assert tsx["train"].ok and not tsx["val"].ok


@pytest.mark.slow
def test_packed_patches(test_data: Path) -> None:
    found = by_split(index_dataset("dsn", test_data / "data/dsn"))
    assert list(found) == ["train", "val", "test"] and all(index.ok for index in found.values())
    assert all(entry.size == (64, 64) for entry in found["val"].entries)


def test_wrong_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownNameError, match="no data set is called 'mstr'; did you mean 'mstar'"):
        index_dataset("mstr", tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        index_dataset("mstar", tmp_path / "none")
    with pytest.raises(OptionError, match="leave the lists out"):
        index_dataset("dsn", tmp_path, lists=tmp_path)
    assert run(capsys, "ssdd", tmp_path, "--split", "val")[0] == 2
    assert run(capsys, "ssdd", tmp_path, "--quick", "--full")[0] == 2
    code, out, _ = run(capsys, "ssdd", tmp_path)
    assert code == 1 and "train: " in out and "expected a COCO file train.json" in out


def test_the_help_names_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    assert all(f"{name}," in out or f"{name}." in out for name in names())


def test_writing_nothing_still_writes_the_header(tmp_path: Path) -> None:
    write_index([], tmp_path / "deep/index.csv")
    assert (tmp_path / "deep/index.csv").read_text() == "split,name,label,height,width,problem\n"


def test_images_that_share_pixels_are_told_by_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = (40 * np.random.default_rng(0).rayleigh(size=(80, 100))).clip(0, 255).astype(np.uint8)
    for name, image in {"a": scene[:60, :70], "b": scene[15:, 20:], "c": scene[::-1, ::-1]}.items():
        write_npy(tmp_path / "ship" / f"{name}.npy")
        np.save(tmp_path / "ship" / f"{name}.npy", image)
    (tmp_path / "train.txt").write_text("ship/a.npy 0\nship/c.npy 0\n")
    (tmp_path / "test.txt").write_text("ship/b.npy 0\n")
    command = ["folder", tmp_path, "--leaks", "--split", "train", "--split", "test"]
    code, said, _ = run(capsys, *command, "--out", tmp_path / "groups.csv")
    assert code == 0
    assert "test: 1 of 1 images share pixels with images of train" in said
    assert "train: 0 of 2 images share pixels with others of train" in said
    with (tmp_path / "groups.csv").open() as file:
        assert [(row["split"], row["name"], row["group"]) for row in csv.DictReader(file)] == [
            ("train", "ship/a.npy", "0"),
            ("train", "ship/c.npy", "1"),
            ("test", "ship/b.npy", "0"),
        ]
    assert json.loads(run(capsys, *command, "--json")[1])[1]["shared"] == {"train": 1, "test": 0}
