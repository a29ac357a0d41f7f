"""SAR-ACD: chips of one aircraft stay on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarhub_models.datasets import SARACD
from sarhub_models.datasets.groups import read_groups
from sarhub_models.errors import DataError, OptionError
from training.groups import split_groups

GROUPS = read_groups("sar_acd")


@pytest.fixture
def aircraft(tmp_path: Path) -> Path:
    for name in list(GROUPS)[::20]:
        file = tmp_path / f"{name}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), len(name), np.uint8)).save(file)
    return tmp_path


def test_no_aircraft_is_in_two_splits(aircraft: Path) -> None:
    parts = {split: SARACD(aircraft, split) for split in ("train", "val", "test")}
    groups = [set(part.groups) for part in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) > 30
    assert sum(map(len, parts.values())) == len(SARACD(aircraft))
    assert len(parts["train"]) > len(parts["test"]) > 0
    assert parts["train"].class_names == ("A220", "A320321", "A330", "ARJ21", "Boeing737", "Boeing787")


def test_the_split_of_a_chip_does_not_depend_on_the_others(aircraft: Path) -> None:
    before = set(SARACD(aircraft, "test").names)
    for name in list(SARACD(aircraft).names)[::3]:
        (aircraft / name).unlink()
    assert set(SARACD(aircraft, "test").names) <= before


def test_unknown_chips_need_lists(aircraft: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(aircraft / "A220" / "new.jpg")
    with pytest.raises(DataError, match=r"the aircraft of 1 of \d+ chips are not known here, .*new\.jpg first"):
        SARACD(aircraft, "train")
    assert len(SARACD(aircraft)) > 0
    (aircraft / "mine.txt").write_text("A220/new.jpg 0\n")
    own = SARACD(aircraft, "mine", lists=aircraft)
    assert own.names == ("A220/new.jpg",) and own.groups == ("",)
    with pytest.raises(OptionError, match="expected the split train, val, test"):
        SARACD(aircraft, "mine")


@pytest.mark.slow
def test_splits_are_those_of_the_lists_that_weights_were_trained_on(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,group\n" + "".join(f"{name}.jpg,{group}\n" for name, group in GROUPS.items()))
    split_groups(table, tmp_path / "lists")
    for name in GROUPS:
        (tmp_path / "chips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "chips" / f"{name}.jpg").touch()
    for split in ("train", "val", "test"):
        lines = (tmp_path / "lists" / f"{split}.txt").read_text().splitlines()
        assert {line.rpartition(" ")[0] for line in lines} == set(SARACD(tmp_path / "chips", split).names)
