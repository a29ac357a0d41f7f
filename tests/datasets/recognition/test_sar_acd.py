"""SAR-ACD: chips of one aircraft stay on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarhub_models.datasets import SARACD
from sarhub_models.datasets.groups import read_groups
from sarhub_models.errors import DataError, OptionError

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
    groups = [set(part.groups.tolist()) for part in parts.values()]
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
    assert own.names == ("A220/new.jpg",) and own.groups.tolist() == [-1]
    with pytest.raises(OptionError, match="expected the split train, val, test"):
        SARACD(aircraft, "mine")
