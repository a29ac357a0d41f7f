"""Boxes in scenes: each thing once and in the right place, whatever window saw it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from rasterio.transform import from_origin
from torch import Tensor, nn

from sarhub_models.cli import main
from sarhub_models.errors import OptionError
from sarhub_models.scenes import models
from sarhub_models.scenes.detect import detect_boxes
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.scenes.session import Reading, Running, Windows

from .test_products import write_tif

NAMES = ("small", "large")
SHIPS = {(100, 130): 20, (60, 60): 12, (64, 200): 12, (5, 300): 12, (150, 310): 20}
"""Side of each square by the row and the column of its middle: some on the borders of cells, one at the margin."""


class Bright(nn.Module):
    """A detector of bright things, as torchvision's answer: boxes around what is connected."""

    detections_per_img = 7

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        from scipy.ndimage import find_objects, label

        found = []
        for image in images:
            parts = find_objects(label((image[0] > image[0].median() + 2).numpy())[0])
            boxes = [[part[1].start, part[0].start, part[1].stop, part[0].stop] for part in parts]
            boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
            area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
            found.append({"boxes": boxes, "scores": area / 1000, "labels": (area > 200).long()})
        return found


class Everywhere(nn.Module):
    """A detector that answers with boxes of 16 pixels side by side, whatever it sees."""

    detections_per_img = 64

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        firsts = torch.cartesian_prod(torch.arange(0, 128, 16), torch.arange(0, 128, 16)).float()
        boxes = torch.cat([firsts, firsts + 16], dim=1)
        return [{"boxes": boxes, "scores": torch.ones(64), "labels": torch.zeros(64)} for _ in images]


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights for boxes, which are the bundled ones but for what they find."""
    original = WindowModel.__init__

    def changed(self: WindowModel, spec: ModelSpec) -> None:
        monkeypatch.setattr(models, "_check_task", lambda spec: None)
        original(self, spec)
        self.network, self.names = Bright(), NAMES

    monkeypatch.setattr(WindowModel, "__init__", changed)


def scene(folder: Path, **options: Any) -> Path:
    array = np.random.default_rng(0).integers(300, 400, (200, 320)).astype(np.uint16)
    for (row, column), side in SHIPS.items():
        half = side // 2
        array[max(row - half, 0) : row + half, column - half : column + half] = 60000
    return write_tif(folder / "scene.tif", array, **options)


def detect(file: Path, out: Path, **options: Any) -> Any:
    settings = {
        "min_score": 0.01,
        "windows": Windows(size=128, stride=64),
        "reading": Reading(full_scale=65535),
        "running": Running(quicklook=False, progress=False),
        **options,
    }
    return detect_boxes(file, weights="mobilenetv3_dsn", out=out, **settings)


def test_each_thing_is_found_once_and_lies_where_it_is(detector: None, tmp_path: Path) -> None:
    file = scene(tmp_path)
    found = detect(file, tmp_path / "b.parquet")
    table = geopandas.read_parquet(tmp_path / "b.parquet")
    assert (len(table), found.boxes, found.windows) == (len(SHIPS), {"small": 3, "large": 2}, 20)
    assert table.crs.to_epsg() == 32633
    assert table.score.is_monotonic_decreasing
    assert set(table.scene) == {"scene.tif"}
    for _, row in table.iterrows():
        top, left = row.row, row.column
        middle = np.array([top + row.height / 2, left + row.width / 2])
        place = min(SHIPS, key=lambda there: np.abs(middle - there).sum())
        half = SHIPS[place] // 2
        box = (max(place[0] - half, 0), place[1] - half, place[0] + half, place[1] + half)
        assert (top, left, top + row.height, left + row.width) == pytest.approx(box, abs=0.02)
        assert row["class"] == NAMES[half == 10]
        with rasterio.open(file) as dataset:
            x, y = row.geometry.centroid.coords[0]
            assert dataset.index(x, y) == (int(top + row.height / 2), int(left + row.width / 2))
    assert not list(tmp_path.glob("*.partial"))


def test_boxes_in_degrees_and_a_least_score(detector: None, tmp_path: Path) -> None:
    found = detect(scene(tmp_path), tmp_path / "b.geojson", min_score=0.3)
    assert found.boxes == {"small": 0, "large": 2}
    assert found.coordinates == "EPSG:4326, by the transform of the scene"
    assert json.loads((tmp_path / "b.geojson").read_text())["note"] == found.coordinates
    table = geopandas.read_file(tmp_path / "b.geojson")
    assert table.crs.to_epsg() == 4326
    assert table.to_crs(32633).geometry[0].area == pytest.approx(200**2, rel=1e-3)


@pytest.mark.slow
def test_a_scene_of_the_moon_has_outlines_of_its_own_and_none_in_degrees_of_the_earth(
    detector: None, tmp_path: Path
) -> None:
    file = scene(tmp_path, crs="+proj=longlat +a=1737400 +b=1737400", transform=from_origin(10, 50, 1e-3, 1e-3))
    with pytest.raises(OptionError, match=r"\.tif: nothing leads from .*: .parquet of scenes"):
        detect(file, tmp_path / "b.geojson")
    assert sum(detect(file, tmp_path / "b.parquet").boxes.values())
    assert geopandas.read_parquet(tmp_path / "b.parquet").crs.ellipsoid.semi_major_metre == 1737400


def test_pixels_are_said_where_there_is_no_georeference(detector: None, tmp_path: Path) -> None:
    file = scene(tmp_path, crs=None, transform=None)
    assert detect(file, tmp_path / "b.parquet").coordinates.startswith("pixels (column, row)")
    table = geopandas.read_parquet(tmp_path / "b.parquet")
    assert table.crs is None
    assert table.geometry[0].bounds[:2] == pytest.approx((table.column[0], table.row[0]))
    detect(file, tmp_path / "b.geojson")
    assert json.loads((tmp_path / "b.geojson").read_text())["coordinates"] == "pixels"


def test_a_transform_without_a_system_gives_no_degrees(detector: None, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"do not say their coordinate system: write \.parquet"):
        detect(scene(tmp_path, crs=None), tmp_path / "b.geojson")


@pytest.mark.slow
def test_a_scene_with_nothing_in_it_gives_a_table_without_rows(detector: None, tmp_path: Path) -> None:
    found = detect(scene(tmp_path), tmp_path / "b.parquet", min_score=1.0, running=Running(progress=False))
    assert found.boxes == {"small": 0, "large": 0}
    table = geopandas.read_parquet(tmp_path / "b.parquet")
    assert (len(table), table.crs.to_epsg()) == (0, 32633)
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "b.parquet")}
    assert (kinds["class"], kinds["row"], kinds["score"]) == ("string", "double", "float")


def test_windows_at_another_resolution_give_boxes_in_pixels_of_the_scene(detector: None, tmp_path: Path) -> None:
    windows = Windows(size=128, stride=64, resolution=20)
    detect(scene(tmp_path), tmp_path / "b.parquet", windows=windows)
    table = geopandas.read_parquet(tmp_path / "b.parquet")
    middle = table.row + table.height / 2, table.column + table.width / 2
    assert min(np.hypot(middle[0] - 100, middle[1] - 130)) < 2


@pytest.mark.slow
def test_a_picture_of_boxes(detector: None, tmp_path: Path) -> None:
    found = detect(scene(tmp_path), tmp_path / "b.parquet", running=Running(progress=False))
    assert found.quicklook.stat().st_size > 10_000


def test_weights_of_another_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"gives classes and no boxes: write a map, \.tif"):
        detect(scene(tmp_path), tmp_path / "b.parquet")


@pytest.mark.slow
def test_a_run_for_boxes_finds_them_in_a_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From fine-tuning to a file: the boxes of a scene as large as an image are those of the image."""
    from sarhub_models.features.predict import Predictor
    from tests.engine.finetuning.test_boxes import start, write_boxes

    data = write_boxes(tmp_path / "data")
    start(data, tmp_path / "run")
    capsys.readouterr()
    image = data / "images" / "0.tif"
    arguments = ["predict", str(tmp_path / "run"), str(image), "--no-quicklook", "--json"]
    assert main([*arguments, "--min-score", "0", "--overlap", "0", "--out", str(tmp_path / "b.parquet")]) == 0
    said = json.loads(capsys.readouterr().out)
    table = geopandas.read_parquet(tmp_path / "b.parquet")
    expected = Predictor(tmp_path / "run").predict(image)
    assert sum(said["boxes"].values()) == len(table) == len(expected.scores)
    np.testing.assert_allclose(table.score, expected.scores, atol=1e-4)
    np.testing.assert_allclose(table.column, expected.boxes[:, 0], atol=0.05)
    assert main([*arguments, "--out", str(tmp_path / "map.tif")]) == 2
    assert "finds boxes, and a map holds classes" in capsys.readouterr().err


def test_what_has_no_data_is_not_found(detector: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bright, "forward", Everywhere.forward)
    monkeypatch.setattr(Bright, "detections_per_img", Everywhere.detections_per_img)
    array = np.random.default_rng(0).integers(300, 400, (256, 384)).astype(np.uint16)
    array[:, :104] = 0  # a box from 96 on has half of its pixels
    array[:100, 200:] = 0  # one from row 96 on has 12 of 16 rows
    file = write_tif(tmp_path / "scene.tif", array, nodata=0)
    windows = Windows(size=128, stride=128, max_nodata=0.99)
    found = geopandas.read_parquet(detect(file, tmp_path / "found.parquet", windows=windows).file)
    known = {(row, column) for row in range(0, 256, 16) for column in range(0, 384, 16)
             if column >= 96 and (row >= 96 or column <= 192)}  # fmt: skip
    assert set(zip(found.row.astype(int), found.column.astype(int), strict=True)) == known
