from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sarhub_models.datasets import FolderDataset
from sarhub_models.errors import DataError
from training import chips, groups

VOC = """<annotation><filename>{name}.jpg</filename><size><width>{side}</width><height>{side}</height><depth>1</depth>
</size>{objects}</annotation>"""
OBJECT = (
    "<object><name>ship</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


@pytest.fixture
def ssdd(tmp_path: Path) -> Path:
    """Three images to train on, dark but for two ships in the first, and one for the test."""
    root = tmp_path / "ssdd"
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    for number, boxes in (("2", [(10, 20, 30, 40), (150, 160, 190, 180)]), ("3", []), ("4", []), ("1", [(5, 5, 9, 9)])):
        name, image = f"{number:0>6}", np.full((200, 200), 10, dtype=np.uint8)
        for left, top, right, bottom in boxes:
            image[top:bottom, left:right] = 250
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        text = VOC.format(name=name, side=200, objects="".join(OBJECT.format(*box) for box in boxes))
        (root / "Annotations" / f"{name}.xml").write_text(text)
    return root


def test_chips_of_objects_and_of_background(ssdd: Path, tmp_path: Path) -> None:
    out = tmp_path / "chips"
    count = chips.cut("ssdd", ssdd, out, side=64)
    data = FolderDataset(out)
    assert data.class_names == ("background", "ship") and len(data) == count
    assert data.counts()[1] == 2 and 1 <= data.counts()[0] <= 2
    for sample in data:
        assert sample.image.shape == (64, 64) and sample.name.rpartition("/")[2].startswith("000002")
        assert (sample.image.max() > 200) == (data.class_names[int(sample.label)] == "ship")


def test_tiles_of_scenes_lie_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    scene = np.random.default_rng(0).integers(0, 256, (100, 70), dtype=np.uint8)
    Image.fromarray(scene).save(tmp_path / "scenes" / "a.png")
    arguments = ["scenes", str(tmp_path / "scenes"), "--out", str(tmp_path / "out"), "--side", "32"]
    result = CliRunner().invoke(chips.app, arguments)
    assert result.exit_code == 0 and "6 chips" in result.output
    data = FolderDataset(tmp_path / "out")
    assert data.class_names == ("scene",)
    assert sorted(data.names) == sorted(f"scene/a_{x}_{y}.png" for x in (0, 32) for y in (0, 32, 64))
    assert np.array_equal(data[data.names.index("scene/a_32_64.png")].image, scene[64:96, 32:64])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["nothing", "."], "expected a side"), (["scenes", "."], "is there already"), (["ssdd", "missing"], "missing")],
)
def test_what_cannot_be_cut_is_one_line(arguments: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    out = tmp_path / ("there" if "already" in text else "new")
    result = CliRunner().invoke(chips.app, [*arguments, "--out", str(out)])
    assert result.exit_code == 1 and text in result.output and len(result.output.strip().splitlines()) == 1


def test_groups_stay_together_and_classes_keep_their_shares(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), ["image,group"]
    for label in ("A", "B"):
        for group in range(40):
            rows += [f"{label}/{group}_{index}.jpg,{label}-{group}" for index in range(int(rng.integers(1, 9)))]
    file = tmp_path / "groups.csv"
    file.write_text("\n".join(rows))
    counts = groups.split_groups(file, tmp_path / "lists")
    assert sum(counts.values()) == len(rows) - 1
    owners: dict[str, set[str]] = {}
    group_of = dict(row.split(",") for row in rows[1:])
    for split in counts:
        lines = [line.split() for line in (tmp_path / "lists" / f"{split}.txt").read_text().splitlines()]
        assert all(int(label) == "AB".index(image[0]) for image, label in lines)
        for label in "AB":
            share = sum(image[0] == label for image, _ in lines) / sum(image[0] == label for image in group_of)
            assert share == pytest.approx(groups.SHARES[split], abs=0.05)
        for image, _ in lines:
            owners.setdefault(group_of[image], set()).add(split)
    assert all(len(splits) == 1 for splits in owners.values())


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "image,group\nplain.jpg,1\n"])
def test_files_that_name_no_groups_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text(text)
    with pytest.raises(DataError, match="expected"):
        groups.split_groups(file, tmp_path / "lists")
