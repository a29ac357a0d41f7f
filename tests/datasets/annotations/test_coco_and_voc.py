from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarhub_models.datasets import SSDD
from sarhub_models.datasets.annotations.coco import read_coco, write_coco
from sarhub_models.datasets.annotations.voc import read_voc, read_voc_files
from sarhub_models.errors import DataError, IncompleteError
from tests.datasets.ships import coco, write_coco_file, write_image, write_voc

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested lists and dicts with one value replaced."""
    copy = json.loads(json.dumps(content))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("categories",), [{"id": 1, "name": "plane"}], r"expected the one category 'ship', got \['plane'\]"),
        (("categories",), [], r"expected the one category 'ship', got \[\]"),
        (("images", 1, "id"), 0, "two images have the same id"),
        (("categories",), [{"id": 1, "name": "ship"}, {"id": 1, "name": "buoy"}], "two categories have the same id"),
        (("images", 0, "height"), 0, "'a.jpg' has the size 0 by 30"),
        (("annotations", 0, "image_id"), 7, "the annotation 0 is of an image or category that is not listed"),
        (("annotations", 0, "category_id"), 2, "the annotation 0 is of an image or category that is not listed"),
        (("annotations", 0, "bbox"), [1, 2, 3], "not enough values"),
        (("images", 0), {"id": 0}, "no 'height'"),
        (("annotations", 0, "bbox"), [1, 2, 3, "4"], "expected coordinates in pixels, got '4'"),
        (("annotations", 0, "bbox"), [1, 2, 3, float("nan")], "expected coordinates in pixels, got 'nan'"),
        (("annotations", 0, "bbox"), [1, 2, 3, float("inf")], "expected coordinates in pixels, got 'inf'"),
        (("annotations", 0, "bbox"), [True, 2, 3, 4], "expected coordinates in pixels, got 'True'"),
        (("images", 0, "width"), "30", "expected coordinates in pixels, got '30'"),
    ],
)
def test_a_damaged_coco_file_is_named(tmp_path: Path, path: tuple[Any, ...], value: Any, message: str) -> None:
    content = coco({"a.jpg": [[1, 2, 3, 4]], "b.jpg": []})
    assert [len(annotation.boxes) for annotation in read_coco(write_coco_file(tmp_path / "a.json", content))] == [1, 0]
    with pytest.raises(DataError, match=rf"a\.json is no COCO file of ships: .*{message}"):
        read_coco(write_coco_file(tmp_path / "a.json", changed(content, path, value)))


def test_crowds_are_no_single_ships(tmp_path: Path) -> None:
    content = changed(coco({"a.jpg": [[1, 2, 3, 4], [5, 6, 7, 8]]}), ("annotations", 0, "iscrowd"), 1)
    (annotation,) = read_coco(write_coco_file(tmp_path / "a.json", content))
    assert annotation.boxes.tolist() == [[5, 6, 12, 14]] and annotation.size == (20, 30)


@settings(max_examples=60)
@given(JSON, st.sampled_from([(), ("images",), ("annotations",), ("categories",), ("annotations", 0, "bbox", 2)]))
def test_any_json_is_read_or_refused(value: Any, path: tuple[Any, ...]) -> None:
    content = changed(coco({"a.jpg": [[1, 2, 3, 4]]}), path, value) if path else value
    with tempfile.TemporaryDirectory() as folder:
        file = write_coco_file(Path(folder) / "a.json", content)
        try:
            annotations = read_coco(file)
        except DataError as err:
            assert "a.json is no COCO file of ships" in str(err)
        else:
            assert all(annotation.boxes.shape[1:] == (4,) for annotation in annotations)


@settings(max_examples=60)
@given(st.integers(0, 330), st.integers(0, 20), st.binary(max_size=12))
def test_any_change_of_a_voc_file_is_read_or_refused(start: int, length: int, patch: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = write_voc(Path(folder) / "000001.xml", [[1, 2, 3, 4]])
        data = file.read_bytes()
        file.write_bytes(data[:start] + patch + data[start + length :])
        try:
            annotation = read_voc(file)
        except DataError as err:
            assert "000001.xml is no VOC file of ships" in str(err)
        else:
            assert annotation.image == "000001" and annotation.boxes.shape[1:] == (4,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no element found"),
        ("<a/>", "expected <annotation>, got <a>"),
        ("<annotation><object><name>harbour</name></object></annotation>", "objects called 'ship', got 'harbour'"),
        (
            "<annotation><object><name>ship</name></object></annotation>",
            "expected <bndbox><xmin> in <object>, found none",
        ),
        ("<annotation><size><width>x</width></size></annotation>", "a number of pixels in <size><width>, got 'x'"),
        *(
            (f"<annotation><size><width>{text}</width></size></annotation>", "a number of pixels")
            for text in ("inf", "nan", "1_000", "1e999", "0x10", "٣", "9" * 5000)
        ),
    ],
)
def test_a_damaged_voc_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "000001.xml").write_text(text)
    with pytest.raises(DataError, match=rf"000001\.xml is no VOC file of ships: .*{message}"):
        read_voc(tmp_path / "000001.xml")


def test_all_damaged_voc_files_are_told(tmp_path: Path) -> None:
    files = [write_voc(tmp_path / f"{number}.xml", []) for number in range(3)]
    assert [annotation.image for annotation in read_voc_files(files)] == ["0", "1", "2"]
    for file in files[1:]:
        file.write_text("<annotation>")
    with pytest.raises(IncompleteError, match=r"2 of 3 annotations are damaged; .*1\.xml") as failure:
        read_voc_files(files)
    assert list(failure.value.damaged) == files[1:]


@pytest.fixture
def ships(tmp_path: Path) -> SSDD:
    write_image(tmp_path / "images/train/000002.jpg")
    write_image(tmp_path / "images/train/000003.jpg", 40, 24)
    write_voc(tmp_path / "xml/000002.xml", [[1, 2, 6.5, 8], [28, 3, 38, 7], [9, 9, 9, 12]])
    write_voc(tmp_path / "xml/000003.xml", [], size=None)
    return SSDD(tmp_path, "train")


def test_what_is_written_is_read(ships: SSDD, tmp_path: Path) -> None:
    file = write_coco(ships, tmp_path / "new/folder/ships.json")
    content = json.loads(file.read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "images/train/000002.jpg", "height": 20, "width": 30},
        {"id": 2, "file_name": "images/train/000003.jpg", "height": 40, "width": 24},
    ]
    assert content["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1.0, 2.0, 5.5, 6.0],
        "area": 33.0,
        "iscrowd": 0,
    }
    again = SSDD(tmp_path, "train", annotations=file)
    assert again.names == ships.names and again.sizes.tolist() == ships.sizes.tolist()
    for old, new in zip(ships.boxes, again.boxes, strict=True):
        np.testing.assert_array_equal(old, new)
    assert [file.name for file in file.parent.iterdir()] == ["ships.json"]


def test_pycocotools_scores_perfect_boxes_as_perfect(ships: SSDD, tmp_path: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    truth = coco_module.COCO(str(write_coco(ships, tmp_path / "ships.json")))
    found = [
        {"image_id": entry["image_id"], "category_id": 1, "bbox": entry["bbox"], "score": 0.9}
        for entry in truth.loadAnns(truth.getAnnIds())
    ]
    assert len(found) == 2
    score = evaluation.COCOeval(truth, truth.loadRes(found), "bbox")
    score.evaluate()
    score.accumulate()
    score.summarize()
    assert score.stats[0] == pytest.approx(1)
