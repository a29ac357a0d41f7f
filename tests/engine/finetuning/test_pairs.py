"""Which mask belongs to which image, and what splits and groups they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarhub_models.engine.finetuning.pairs import find_pairs
from sarhub_models.errors import DataError

from .test_masks import write_pairs


def test_a_table_names_pairs_and_splits(tmp_path: Path) -> None:
    data = write_pairs(tmp_path, count=3)
    lines = ["image,mask,split", *(f"images/{i}.tif,masks/{i}.png,{s}" for i, s in enumerate(("train", "val", "test")))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    found = find_pairs(data, tmp_path / "pairs.csv")
    assert [(pair.mask, pair.split) for pair in found] == [
        ("masks/0.png", "train"), ("masks/1.png", "val"), ("masks/2.png", "test")
    ]  # fmt: skip


def write_blank(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(file)


def test_an_image_gets_no_mask_of_another_folder(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    write_blank(images / "A" / "1.png", images / "B" / "1.png", masks / "A" / "1.png")
    with pytest.raises(DataError, match=r"1 of 2 images .* have no mask of their name .*: B/1"):
        find_pairs(images, masks)
    write_blank(masks / "B" / "1.png")
    assert [pair.mask for pair in find_pairs(images, masks)] == ["../masks/A/1.png", "../masks/B/1.png"]


def test_folders_that_look_like_splits_are_not_shared_out(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    write_blank(*(folder / split / "1.png" for folder in (images, masks) for split in ("Train", "Test")))
    with pytest.raises(DataError, match="the folders Test, Train look like splits"):
        find_pairs(images, masks)


def test_two_images_get_one_mask_only_if_they_are_polarizations_of_one(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    write_blank(images / "A" / "1_vv.png", images / "A" / "1_vh.png", images / "A" / "2.png")
    write_blank(masks / "1.png", masks / "2.png")
    groups = {Path(pair.image).stem: pair.group for pair in find_pairs(images, masks)}
    assert groups["1_vv"] == groups["1_vh"] != "" and groups["2"] == ""
    write_blank(images / "B" / "2.png")
    with pytest.raises(DataError, match=r"A/2 and B/2 would both get the mask .*2\.png"):
        find_pairs(images, masks)


def test_images_of_a_table_with_the_same_mask_are_in_one_group(tmp_path: Path) -> None:
    write_blank(*(tmp_path / f"{name}.png" for name in "abcdm"), tmp_path / "n.png")
    lines = ["image,mask,pass", "a.png,m.png,1", "b.png,m.png,2", "c.png,n.png,2", "d.png,d.png,3"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    groups = [pair.group for pair in find_pairs(tmp_path, tmp_path / "pairs.csv", group_by="pass")]
    assert groups[0] == groups[1] == groups[2] != groups[3] == "3"
    plain = [pair.group for pair in find_pairs(tmp_path, tmp_path / "pairs.csv")]
    assert plain[0] == plain[1] != "" and plain[2:] == ["", ""]
