"""Fine-tuning from images with boxes to boxes, on images made up so that a network learns them within seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
import torch
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin

import sarhub_models as sarhub
from sarhub_models import engine
from sarhub_models.datasets.windows.boxes import BoxWindows
from sarhub_models.engine.finetuning.boxed import Boxed, divide_boxed
from sarhub_models.engine.tasks.detection import average_precision, box_scores, move_boxes
from sarhub_models.errors import DataError, ImageError, OptionError
from sarhub_models.features.boxes import BoxPredictor
from sarhub_models.features.predict import Predictor
from sarhub_models.transforms import Geometry
from tests.engine.finetuning.test_masks import PLACE, QUICK, rows, write_tif


def write_boxes(root: Path, *, count: int = 12, side: int = 64) -> Path:
    """Write speckle with bright rectangles, upright ones of one class and flat ones of another, and their COCO file."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(count):
        image = rng.integers(1, 60, (1, side, side)).astype(np.uint16)
        for label, (height, width) in enumerate(((24, 10), (10, 24))):
            top, left = rng.integers(0, side - height), rng.integers(0, side - width)
            image[0, top : top + height, left : left + width] = 220
            box = [int(left), int(top), width, height]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": index, "category_id": label + 5, "bbox": box, "iscrowd": 0}
            )
        write_tif(root / "images" / f"{index}.tif", image, crs="EPSG:32632", transform=PLACE)
        images.append({"id": index, "file_name": f"{index}.tif", "height": side, "width": side})
    categories = [{"id": 5, "name": "ship"}, {"id": 6, "name": "pier"}]
    write_coco(root, {"images": images, "annotations": annotations, "categories": categories})
    return root


def write_coco(root: Path, content: dict[str, object]) -> None:
    (root / "coco.json").write_text(json.dumps(content))


def read_coco(root: Path) -> dict[str, list[dict[str, object]]]:
    return json.loads((root / "coco.json").read_text())


def start(data: Path, out: Path, **options: object) -> engine.Trained:
    values: dict[str, object] = {
        "model": "mobilenetv3_dsn", "boxes": data / "coco.json", "steps": 4, "batch_size": 4, "full_scale": 255,
        "say": lambda line: None, "assignments": QUICK,
    }  # fmt: skip
    return engine.finetune_boxes(data / "images", out=out, **{**values, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("boxes") / "boxes")


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> engine.Trained:
    return start(data, tmp_path_factory.mktemp("run") / "run")


@pytest.mark.slow
def test_the_score_of_the_report_is_that_of_the_written_boxes(done: engine.Trained, data: Path, tmp_path: Path) -> None:
    held = [row["image"] for row in rows(done.folder / "boxes.csv") if row["split"] == "test"]
    Predictor(done.folder).predict_files(
        [data / "images" / name for name in held], names=held, out=tmp_path / "found.json"
    )
    found, true = json.loads((tmp_path / "found.json").read_text()), read_coco(data)
    metric = average_precision()
    for name in held:
        image = next(one["id"] for one in found["images"] if one["file_name"] == name)
        mine = [one for one in found["annotations"] if one["image_id"] == image]
        theirs = [one for one in true["annotations"] if f"{one['image_id']}.tif" == name]
        metric.update(
            [
                {
                    "boxes": _corners(mine),
                    "scores": torch.tensor([one["score"] for one in mine]),
                    "labels": torch.tensor([one["category_id"] - 1 for one in mine]).long(),
                }
            ],
            [{"boxes": _corners(theirs), "labels": torch.tensor([one["category_id"] - 5 for one in theirs])}],
        )
    assert box_scores(metric, 2)[0] == pytest.approx(done.test, abs=1e-6)
    assert set(done.classes) == {"ship", "pier"}


def _corners(annotations: list[dict[str, list[float]]]) -> torch.Tensor:
    boxes = torch.tensor([one["bbox"] for one in annotations], dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


@pytest.mark.slow
def test_the_weights_file_describes_itself_and_polygons_lie_where_the_images_do(
    done: engine.Trained, data: Path, tmp_path: Path
) -> None:
    info = sarhub.model_info(done.weights)
    assert (info.task, info.decoder, info.class_names) == ("detection", "fcos", ("ship", "pier"))
    plain = tmp_path / "plain.npy"
    with rasterio.open(data / "images" / "0.tif") as dataset:
        np.save(plain, dataset.read(1))
    files = [data / "images" / "0.tif", plain]
    found = BoxPredictor(done.folder).predict_files(files, out=tmp_path / "found.geojson", names=["a", "b"])
    features = json.loads((tmp_path / "found.geojson").read_text())["features"]
    assert len(features) == sum(len(one.scores) for one in found.found)
    assert len(found.found[0].scores) == len(found.found[1].scores) > 0
    for feature in features:
        ring = np.array(feature["geometry"]["coordinates"][0])
        x1, y1, x2, y2 = feature["properties"]["box"]
        wanted = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
        if feature["properties"]["image"] == "b":
            assert feature["properties"]["coordinates"] == "pixels"
        else:
            assert feature["properties"]["coordinates"] == "longitude, latitude"
            ring = np.stack(rasterio.warp.transform("EPSG:4326", "EPSG:32632", *ring.T), axis=1)
            wanted = np.array([PLACE * tuple(corner) for corner in wanted])
        apart = np.abs(ring[:, None] - wanted[None]).max(axis=2).min(axis=1)
        assert len(ring) == 5 and apart.max() < 0.05


@pytest.mark.slow
def test_polygons_lie_right_whatever_says_where(done: engine.Trained, data: Path, tmp_path: Path) -> None:
    with rasterio.open(data / "images" / "0.tif") as dataset:
        pixels = dataset.read()
    write_tif(tmp_path / "envi.img", pixels, driver="ENVI", crs="EPSG:32632", transform=PLACE)
    edge = rasterio.warp.transform("EPSG:4326", "EPSG:32660", [180], [60])  # the antimeridian in the middle
    west = from_origin(edge[0][0] - 320, edge[1][0], 10, 10)
    write_tif(tmp_path / "edge.tif", pixels, crs="EPSG:32660", transform=west)
    write_tif(tmp_path / "swath.tif", pixels, crs="EPSG:4326", gcps=[
        GroundControlPoint(row=row, col=column, x=_bent(column), y=55 - 1e-4 * row)
        for row in range(0, 65, 8) for column in range(0, 65, 8)
    ])  # fmt: skip
    write_tif(tmp_path / "plain.tif", pixels, crs="EPSG:32632", transform=PLACE)
    files = [tmp_path / name for name in ("envi.img", "edge.tif", "swath.tif", "plain.tif")]
    BoxPredictor(done.folder).predict_files(files, out=tmp_path / "found.geojson", names=[file.stem for file in files])
    rings: dict[str, list[np.ndarray]] = {file.stem: [] for file in files}
    boxes: dict[str, list[list[float]]] = {file.stem: [] for file in files}
    for feature in json.loads((tmp_path / "found.geojson").read_text())["features"]:
        name, shape = feature["properties"]["image"], feature["geometry"]
        parts = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
        rings[name] += [np.array(part[0]) for part in parts]
        boxes[name].append(feature["properties"]["box"])
    assert len(rings["envi"]) == len(rings["plain"]) > 0
    assert all((one == other).all() for one, other in zip(rings["envi"], rings["plain"], strict=True))
    assert all(np.ptp(ring[:, 0]) < 1 for ring in rings["edge"])
    assert any((ring[:, 0] < 0).all() for ring in rings["edge"]) and any(
        (ring[:, 0] > 0).all() for ring in rings["edge"]
    )
    for ring, (x1, y1, x2, y2) in zip(rings["swath"], boxes["swath"], strict=True):
        (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
        placed = (_bent(x1), 55 - 1e-4 * y2, _bent(x2), 55 - 1e-4 * y1)
        assert (west, south, east, north) == pytest.approx(placed, abs=1e-5)  # a tenth of a pixel


@pytest.mark.slow
def test_what_has_no_data_is_not_found(done: engine.Trained) -> None:
    image = np.ma.masked_less(np.random.default_rng(0).integers(1, 240, (64, 64)), 0)
    image[:, :24] = np.ma.masked
    predictor = BoxPredictor(done.folder)
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [14.0, 0.0, 30.0, 16.0], [16.0, 20.0, 32.0, 36.0]])  # 0, 6/16, 1/2
    answer = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8, 0.7]), "labels": torch.zeros(3)}
    predictor.network = lambda images: [answer for _ in images]  # type: ignore[assignment]
    assert predictor.predict(image).boxes.tolist() == [[16, 20, 32, 36]]


def _bent(column: float) -> float:
    """Return the longitude of a column of an image that no polynomial places."""
    return 12 + 1e-4 * column + 1e-4 * float(np.sin(column / 10))


@pytest.mark.slow
def test_an_image_that_nothing_leads_from_is_said_before_the_next_one(
    done: engine.Trained, data: Path, tmp_path: Path
) -> None:
    with rasterio.open(data / "images" / "0.tif") as dataset:
        write_tif(tmp_path / "moon.tif", dataset.read(), crs="+proj=longlat +a=1737400 +b=1737400", transform=PLACE)
    with pytest.raises(OptionError, match=r"moon\.tif: nothing leads from coordinates of .* \.json of images"):
        BoxPredictor(done.folder).predict_files([tmp_path / "moon.tif"], out=tmp_path / "found.geojson")
    assert not (tmp_path / "found.geojson").exists()


@pytest.mark.slow
def test_retinanet_learns_and_large_images_are_seen_in_windows(data: Path, tmp_path: Path) -> None:
    done = start(data, tmp_path / "run", decoder="retinanet", steps=2)
    large = np.random.default_rng(0).integers(1, 240, (150, 100)).astype(np.uint16)
    found = Predictor(done.folder).predict(large)
    assert found.size == (150, 100) and (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= 100).all() and (found.boxes[:, 3] <= 150).all()


@pytest.mark.slow
def test_all_boxes_of_an_image_count() -> None:
    places = torch.tensor([[20.0 * x, 20.0 * y] for x in range(20) for y in range(15)])
    boxes, labels = torch.cat([places, places + 10], dim=1), torch.zeros(300, dtype=torch.long)
    metric = average_precision()
    metric.update([{"boxes": boxes, "scores": torch.linspace(1, 0.5, 300), "labels": labels}],
                  [{"boxes": boxes, "labels": labels}])  # fmt: skip
    scores, detail = box_scores(metric, 2)
    assert scores == pytest.approx({"ap": 1, "ap50": 1, "ap75": 1})
    assert detail[0] == pytest.approx(1) and detail[1].isnan()


def test_scores_of_boxes_that_are_too_large_fall_with_the_overlap() -> None:
    one = torch.tensor([0])
    metric = average_precision()
    metric.update([{"boxes": torch.tensor([[0.0, 0, 10, 13]]), "scores": torch.ones(1), "labels": one}],
                  [{"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": one}])  # fmt: skip
    assert box_scores(metric, 1)[0] == pytest.approx({"ap": 0.6, "ap50": 1, "ap75": 1})  # IoU 0.77: 0.5 to 0.75
    empty = average_precision()
    empty.update([{"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": one[:0]}],
                 [{"boxes": torch.zeros(0, 4), "labels": one[:0]}])  # fmt: skip
    scores, detail = box_scores(empty, 1)
    assert scores == {"ap": 0, "ap50": 0, "ap75": 0} and detail.isnan().all()


def test_images_without_a_box_need_not_be_in_the_training_split() -> None:
    box, splits = (0.0, 0.0, 5.0, 5.0, 0.0), ("train", "train", "val", "test")
    images = [Boxed(f"{i}.tif", (box,), (9, 9), split) for i, split in enumerate(splits)]
    images += [Boxed("val.tif", (), (9, 9), "val"), Boxed("test.tif", (), (9, 9), "test")]
    divided = divide_boxed(images, ["ship"], val=0.15, test=0.15, seed=0)
    assert [one.split for one in divided] == [*splits, "val", "test"]


@pytest.mark.parametrize("kind", ["none", "flip", "dihedral"])
def test_boxes_move_as_their_images_do(kind: str) -> None:
    numbers = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    images, boxes = torch.zeros(8, 1, 20, 20), torch.tensor([[3.0, 5.0, 7.0, 14.0, 1.0], [-1.0] * 5]).repeat(8, 1, 1)
    images[:, :, 5:14, 3:7] = 1
    moved = Geometry(kind).train()(images, numbers=numbers)
    for image, (box, spare) in zip(moved, move_boxes(boxes, numbers, side=20, kind=kind), strict=True):
        x1, y1, x2, y2, label = box.int().tolist()
        assert image[0, y1:y2, x1:x2].sum() == image.sum() == (x2 - x1) * (y2 - y1)
        assert label == 1 and spare[4] == -1


def test_windows_hold_the_boxes_that_lie_in_them_by_half_or_more(tmp_path: Path) -> None:
    write_tif(tmp_path / "1.tif", np.ones((1, 64, 96), np.uint8))
    boxes = [[10, 10, 20, 20, 0], [50, 30, 70, 40, 1], [60, 0, 96, 10, 0]]
    (tmp_path / "boxes.csv").write_text(
        f'image,split,group,height,width,boxes\n1.tif,val,,64,96,"{json.dumps(boxes)}"\n'
    )
    split = BoxWindows(tmp_path, "val", lists=tmp_path, window=64, class_names=["a", "b"])
    assert [(one.top, one.left) for one in split.windows] == [(0, 0), (0, 32)]
    first, second = (split[index].label for index in range(2))
    assert first.tolist() == [[10, 10, 20, 20, 0], [50, 30, 64, 40, 1]]
    assert second.tolist() == [[18, 30, 38, 40, 1], [28, 0, 64, 10, 0]]


def _no_boxes(root: Path) -> dict[str, object]:
    write_coco(root, {**read_coco(root), "annotations": []})
    return {}


def _outside(root: Path) -> dict[str, object]:
    content = read_coco(root)
    content["annotations"][4]["bbox"] = [70, 10, 5, 5]
    write_coco(root, content)
    return {}


def _another_size(root: Path) -> dict[str, object]:
    write_tif(root / "images" / "2.tif", np.ones((1, 50, 64), np.uint8))
    return {}


def _no_image(root: Path) -> dict[str, object]:
    (root / "images" / "2.tif").unlink()
    return {}


def _other_bands(root: Path) -> dict[str, object]:
    write_tif(root / "images" / "2.tif", np.ones((4, 64, 64), np.uint16))
    return {}


def _no_coco(root: Path) -> dict[str, object]:
    (root / "coco.json").write_text("[]")
    return {}


def _masks_decoder(root: Path) -> dict[str, object]:
    return {"decoder": "unet"}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (_no_boxes, DataError, "has no boxes at all, only 4 images"),
        (_outside, DataError, r"2\.tif: the box 70, 10, 75, 15 lies outside of its 64 x 64 pixels"),
        (_another_size, DataError, r"2\.tif has 50 x 64 pixels, its annotation says 64 x 64"),
        (_no_image, DataError, r"2\.tif"),
        (_other_bands, ImageError, r"2\.tif: holds 4 bands"),
        (_no_coco, DataError, r"coco\.json is no COCO file"),
        (_masks_decoder, OptionError, "a decoder for boxes of fcos, retinanet, got 'unet'"),
    ],
)
def test_bad_input_is_one_error_that_says_what_is_wrong(tmp_path: Path, make: object, error: type, text: str) -> None:
    write_boxes(tmp_path / "boxes", count=4)
    options = make(tmp_path / "boxes")  # type: ignore[operator]
    with pytest.raises(error, match=text):
        start(tmp_path / "boxes", tmp_path / "run", **options)


@pytest.mark.slow
def test_boxes_need_a_file_that_says_their_format(done: engine.Trained, data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends in \.json or \.geojson"):
        BoxPredictor(done.folder).predict_files([data / "images" / "0.tif"], out=tmp_path / "boxes.csv")
