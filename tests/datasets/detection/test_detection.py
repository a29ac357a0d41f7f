from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sarhub_models.datasets import HRSID, SSDD, DetectionDataset, LsSsdd
from sarhub_models.datasets.annotations.boxes import fit_boxes
from sarhub_models.datasets.detection.ssdd import DATASET
from sarhub_models.datasets.groups import read_groups
from sarhub_models.errors import DataError, ImageError, IncompleteError, OptionError
from tests.datasets.ships import coco, write_coco_file, write_image, write_voc

EDGES = st.floats(-50, 50, width=32)


@given(st.lists(st.tuples(EDGES, EDGES, EDGES, EDGES), max_size=8), st.integers(1, 40), st.integers(1, 40))
def test_boxes_lie_within_the_image_and_have_an_area(corners: list[tuple[float, ...]], height: int, width: int) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    fitted = fit_boxes(np.array(boxes), (height, width))
    assert fitted.dtype == np.float32 and fitted.shape[1] == 4
    assert (fitted >= 0).all() and (fitted[:, [0, 2]] <= width).all() and (fitted[:, [1, 3]] <= height).all()
    assert (fitted[:, 2:] > fitted[:, :2]).all()
    inside = [box for box in boxes if 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height]
    assert all((fitted == np.float32(box)).all(axis=1).any() for box in inside)


def test_boxes_are_clipped_and_those_without_area_left_out() -> None:
    boxes = np.array([[-4, 2, 5, 6], [25, 15, 99, 99], [30, 0, 40, 5], [3, 3, 3, 9], [1, 1, 2, 2]])
    assert fit_boxes(boxes, (20, 30)).tolist() == [[0, 2, 5, 6], [25, 15, 30, 20], [1, 1, 2, 2]]


@pytest.mark.parametrize("box", [[5, 2, 4, 6], [1, 6, 3, 2], [0, 0, np.nan, 4], [0, 0, np.inf, 4]])
def test_what_is_no_box_is_an_error(box: list[float]) -> None:
    with pytest.raises(DataError, match="expected a box with x1 ≤ x2 and y1 ≤ y2 in pixels, got"):
        fit_boxes(np.array([[0, 0, 1, 1], box]), (20, 30))


@pytest.fixture
def ssdd_coco(tmp_path: Path) -> Path:
    for number in (2, 3, 11, 19):
        write_image(tmp_path / f"images/{'test' if str(number)[-1] in '19' else 'train'}/{number:06}.jpg")
    train = {"000002.jpg": [[1, 2, 5, 6], [28, 3, 10, 4]], "000003.jpg": []}
    write_coco_file(tmp_path / "annotations/train.json", coco(train, category=0))
    write_coco_file(tmp_path / "annotations/test.json", coco({"000011.jpg": [[0, 0, 30, 20]], "000019.jpg": []}))
    return tmp_path


@pytest.fixture
def ssdd_voc(tmp_path: Path) -> Path:
    boxes = {2: [[1, 2, 6, 8], [28, 3, 38, 7]], 3: [], 11: [[0, 0, 30, 20]], 19: []}
    for number in boxes:
        write_image(tmp_path / f"JPEGImages/{number:06}.jpg")
        write_voc(tmp_path / f"Annotations/{number:06}.xml", boxes[number])
    return tmp_path


@pytest.mark.parametrize("layout", ["ssdd_coco", "ssdd_voc"])
def test_ssdd_reads_both_kinds_of_annotations(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    train, test = SSDD(root, "train"), SSDD(root, "test")
    assert [Path(name).name for name in train.names] == ["000002.jpg", "000003.jpg"]
    assert [Path(name).name for name in test.names] == ["000011.jpg", "000019.jpg"]
    image, boxes, labels, name = train[0]
    assert image.shape == (20, 30) and image.dtype == np.uint8 and name == train.names[0]
    assert boxes.tolist() == [[1, 2, 6, 8], [28, 3, 30, 7]] and boxes.dtype == np.float32
    assert labels.tolist() == [0, 0] and labels.dtype == np.int64
    assert train[1].boxes.shape == (0, 4) and train[1].labels.shape == (0,)
    assert train.counts().tolist() == [2] and train.class_names == ("ship",) and train.left_out == ()
    assert train.sizes.tolist() == [[20, 30], [20, 30]]


def test_ssdd_annotations_may_lie_elsewhere(ssdd_voc: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    file = write_coco_file(other / "ours.json", coco({"JPEGImages/000003.jpg": [[1, 1, 2, 2]]}))
    assert SSDD(ssdd_voc, "train", annotations=file).names == ("JPEGImages/000003.jpg",)
    write_voc(other / "xml/000011.xml", [])
    write_voc(other / "xml/000019.xml", [[1, 1, 3, 3]])
    assert SSDD(ssdd_voc, "test", annotations=other / "xml").counts().tolist() == [1]
    with pytest.raises(DataError, match=r"expected annotations in .*none\.json"):
        SSDD(ssdd_voc, "test", annotations=other / "none.json")


def test_ssdd_says_what_is_missing(ssdd_voc: Path) -> None:
    (ssdd_voc / "JPEGImages/000011.jpg").unlink()
    with pytest.raises(IncompleteError, match=r"1 of 2 listed images are not below .*'000011' first") as failure:
        SSDD(ssdd_voc, "test")
    assert failure.value.missing == ("000011",)
    (ssdd_voc / "Annotations/000003.xml").unlink()
    with pytest.raises(
        IncompleteError, match=r"1 of 2 images of the train split have no VOC file, 000003 first"
    ) as failure:
        SSDD(ssdd_voc, "train")
    assert failure.value.missing == ("000003.xml",)


def test_ssdd_says_what_is_ambiguous_or_absent(ssdd_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'train' or 'test', got 'val'"):
        SSDD(ssdd_coco, "val")
    write_coco_file(tmp_path / "rotated/train.json", coco({}))
    with pytest.raises(DataError, match=r"annotations/train\.json or .*rotated/train\.json\?"):
        SSDD(ssdd_coco, "train")
    with pytest.raises(DataError, match="no such folder"):
        SSDD(tmp_path / "none", "train")
    with pytest.raises(DataError, match=r"expected a COCO file train\.json, or the VOC file of each image"):
        SSDD(tmp_path / "images", "train")
    for kind in ("a", "b"):
        write_voc(tmp_path / f"images/{kind}/000002.xml", [])
    with pytest.raises(DataError, match=r"a/000002\.xml or .*b/000002\.xml\?"):
        SSDD(tmp_path / "images", "train")


def test_hrsid(tmp_path: Path) -> None:
    write_image(tmp_path / "JPEGImages/P0001_0_800_7200_8000.jpg")
    write_image(tmp_path / "JPEGImages/P0001_1200_2000_4200_5000.jpg")
    write_coco_file(
        tmp_path / "annotations/train2017.json", coco({"P0001_0_800_7200_8000.jpg": [[1, 2, 3, 4], [0, 0, 0, 5]]})
    )
    train = HRSID(tmp_path, "train")
    assert train.boxes[0].tolist() == [[1, 2, 4, 6]]
    assert train.left_out == ("JPEGImages/P0001_0_800_7200_8000.jpg",)
    with pytest.raises(DataError, match=r"expected a COCO file test2017\.json in this folder or below"):
        HRSID(tmp_path, "test")


def test_ls_ssdd_by_the_number_of_the_scene(tmp_path: Path) -> None:
    write_image(tmp_path / "JPEGImages/01.jpg")
    write_voc(tmp_path / "Annotations/01.xml", [[1, 1, 9, 9]])
    for stem in ("01_1_1", "10_20_30", "11_1_1", "15_20_30"):
        folder = f"JPEGImages_sub_{'train' if stem < '11' else 'test'}"
        write_image(tmp_path / folder / f"{stem}.jpg")
        write_voc(tmp_path / f"Annotations_sub/{stem}.xml", [[4, 5, 6, 7]], size=None)
    train, test = LsSsdd(tmp_path, "train"), LsSsdd(tmp_path, "test")
    assert train.names == ("JPEGImages_sub_train/01_1_1.jpg", "JPEGImages_sub_train/10_20_30.jpg")
    assert test.names == ("JPEGImages_sub_test/11_1_1.jpg", "JPEGImages_sub_test/15_20_30.jpg")
    assert train.sizes.tolist() == [[20, 30]] * 2 and train[0].boxes.tolist() == [[4, 5, 6, 7]]


def test_ls_ssdd_from_coco_whose_ids_are_text(tmp_path: Path) -> None:
    write_image(tmp_path / "JPEGImages_sub/11_1_2.jpg")
    file = write_coco_file(tmp_path / "test.json", coco({"11_1_2.jpg": [[4, 5, 6, 7]]}, category="1"))
    assert LsSsdd(tmp_path, "test").boxes[0].tolist() == [[4, 5, 10, 12]]
    write_coco_file(file, coco({"11_1_2.jpg": [[4, 5, -6, 7]]}))
    with pytest.raises(DataError, match=r"test\.json, image '11_1_2\.jpg': expected a box .* got 4, 5, -2, 12"):
        LsSsdd(tmp_path, "test")


def test_an_image_of_another_size_is_named(ssdd_coco: Path) -> None:
    write_image(ssdd_coco / "images/train/000002.jpg", 21, 30)
    with pytest.raises(ImageError, match=r"000002\.jpg: expected 20 by 30 pixels as annotated, got 21 by 30"):
        SSDD(ssdd_coco, "train")[0]
    (ssdd_coco / "images/train/000003.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"000003\.jpg"):
        SSDD(ssdd_coco, "train")[1]


def test_an_image_annotated_twice(ssdd_coco: Path) -> None:
    write_coco_file(ssdd_coco / "annotations/train.json", coco({"000002.jpg": [], "train/000002.jpg": []}))
    with pytest.raises(DataError, match=r"'000002\.jpg' and 'train/000002\.jpg' are both images/train/000002\.jpg"):
        SSDD(ssdd_coco, "train")


def test_the_base_is_iterated_like_a_list(ssdd_coco: Path) -> None:
    data: DetectionDataset = SSDD(ssdd_coco, "test")
    assert len(data) == 2 and [sample.name for sample in data] == list(data.names)
    with pytest.raises(IndexError):
        data[2]


def test_pictures_whose_colors_differ_become_one_band(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    write_voc(tmp_path / "000001.xml", [[1, 2, 5, 6]])
    write_voc(tmp_path / "000009.xml", [[1, 2, 5, 6]])
    for name in ("000001", "000009"):
        Image.fromarray(colors).save(tmp_path / f"{name}.png")
    ships = SSDD(tmp_path, "test")
    with pytest.warns(UserWarning, match=r"000001\.png: a picture whose colors differ") as said:
        images = [ship.image for ship in ships]
    assert len(said) == 1, "it is said once"
    for image in images:
        np.testing.assert_array_equal(image, np.asarray(Image.fromarray(colors).convert("L")))
    np.testing.assert_array_equal(SSDD(tmp_path, "test", band=2)[1].image, colors[..., 1])


@pytest.mark.slow
def test_splits_of_ssdd_that_share_no_pixel(tmp_path: Path) -> None:
    groups = read_groups("ssdd")
    assert len(groups) == 1160
    for split in ("train", "test"):
        names = [name for name in groups if SSDD.split_of(name) == split]
        write_coco_file(tmp_path / f"{split}.json", coco({f"{name}.jpg": [] for name in names}))
    for name in groups:
        (tmp_path / f"{name}.jpg").touch()
    splits = {split: SSDD(tmp_path, split) for split in ("train", "test", "clean_test", "group_train", "group_test")}
    named = {split: {Path(name).stem for name in data.names} for split, data in splits.items()}
    of = {split: {groups[name] for name in names} for split, names in named.items()}
    assert {split: len(names) for split, names in named.items()} == {"train": 928, "test": 232, **DATASET.subsets}
    assert named["clean_test"] < named["test"] and not of["clean_test"] & of["train"]
    assert {groups[name] for name in named["test"] - named["clean_test"]} <= of["train"], "no more were left out"
    assert named["group_train"] | named["group_test"] == set(groups) and not of["group_train"] & of["group_test"]
    with pytest.raises(OptionError, match="needs a folder with the annotations of train and test"):
        SSDD(tmp_path, "group_test", annotations=tmp_path / "test.json")
