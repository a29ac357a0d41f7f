"""Maps that are warped to a grid: in the right place, without data beside them, and refused where nothing says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform
from rio_cogeo.cogeo import cog_validate

from sarhub_models.errors import OptionError
from sarhub_models.io.georeference import Georeference
from sarhub_models.scenes.classify import map_classes
from sarhub_models.scenes.embed import embed_scenes
from sarhub_models.scenes.session import Running
from sarhub_models.scenes.sinks.cog import write_cog

from .safe import Measurement, grd, write_safe
from .test_products import write_tif

HEIGHT, WIDTH = 300, 400
GRID = "EPSG:32633"


def place(row: float, column: float, west: float = 12.0) -> tuple[float, float]:
    """Longitude and latitude, bent as no polynomial of low order is."""
    x = west + 1.5e-4 * column + 1e-5 * row + 3e-4 * np.sin(column / 60)
    return float((x + 180) % 360 - 180), float(55.5 - 1e-4 * row + 2e-5 * column + 3e-4 * np.sin(row / 50))


def points(west: float = 12.0) -> Georeference:
    grid = [
        GroundControlPoint(row=row, col=column, x=place(row, column, west)[0], y=place(row, column, west)[1], z=0)
        for row in np.linspace(0, HEIGHT, 7)
        for column in np.linspace(0, WIDTH, 9)
    ]
    return Georeference(CRS.from_epsg(4326), None, tuple(grid))


def write(target: Path, array: np.ndarray, georeference: Georeference, **options: object) -> None:
    strips = (array[:, row : row + 37] for row in range(0, array.shape[1], 37))
    write_cog(target, strips, shape=array.shape, dtype=array.dtype.name, georeference=georeference, **options)


@pytest.mark.parametrize(("west", "system"), [(12.0, GRID), (179.98, "EPSG:32601")])
def test_a_map_lies_on_the_grid_where_its_points_say(tmp_path: Path, west: float, system: str) -> None:
    array = np.full((1, HEIGHT, WIDTH), 5, np.uint8)
    array[0, 100:110, 200:210], array[0, :20] = 200, 255
    options = {"nodata": 255, "names": ("class",), "palette": [(index, 0, 0) for index in range(201)]}
    write(tmp_path / "m.tif", array, points(west), tags={"CLASSES": "a"}, to_grid=system, **options)
    assert cog_validate(tmp_path / "m.tif")[0]
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert (dataset.crs, dataset.gcps[0], dataset.nodata) == (CRS.from_user_input(system), [], 255)
        assert (dataset.descriptions, dataset.tags()["CLASSES"]) == (("class",), "a")
        assert dataset.colormap(1)[200][:3] == (200, 0, 0)
        found = dataset.read(1)
        rows, columns = np.nonzero(found == 200)
        x, y = dataset.transform * (columns.mean() + 0.5, rows.mean() + 0.5)
        longitude, latitude = place(105, 205, west)
        [east], [north] = transform("EPSG:4326", system, [longitude], [latitude])
        assert (x, y) == pytest.approx((east, north), abs=dataset.res[0])
        assert set(np.unique(found)) == {5, 200, 255}
        assert np.hypot(*dataset.res) == pytest.approx(np.hypot(9.4, 9.4), rel=0.2)
    assert [file.name for file in tmp_path.iterdir()] == ["m.tif"]


@pytest.mark.parametrize("system", ["EPSG:32633", "EPSG:32634", "EPSG:4326"])
def test_a_rotated_map_keeps_the_size_of_its_cells(tmp_path: Path, system: str) -> None:
    turned = Affine.translation(6e5, 6.1e6) * Affine.rotation(30) * Affine.scale(640, -640)
    array = np.full((1, HEIGHT, WIDTH), 5, np.uint8)
    array[0, 100:110, 200:210] = 9
    write(tmp_path / "m.tif", array, Georeference(CRS.from_epsg(32633), turned), nodata=255, to_grid=system)
    with rasterio.open(tmp_path / "m.tif") as dataset:
        found = dataset.read(1)
        rows, columns = np.nonzero(found == 9)
        x, y = dataset.transform * (columns.mean() + 0.5, rows.mean() + 0.5)
        [east], [north] = transform(system, "EPSG:32633", [x], [y])
        assert np.hypot(*(np.array([east, north]) - turned * (205, 105))) < 640
        height, width = (
            (640, 640) if dataset.crs.is_projected else (640 / 111.3e3, 640 / 111.3e3 / np.cos(np.radians(55)))
        )
        assert height / 1.1 < dataset.res[0] < width * 1.1
        area = dataset.res[0] ** 2 / (height * width)
        assert (found != 255).sum() == pytest.approx(HEIGHT * WIDTH / area, rel=0.05)


def test_probabilities_are_interpolated_and_nan_stays(tmp_path: Path) -> None:
    array = np.repeat(np.linspace(0, 1, WIDTH, dtype=np.float32)[None, None], HEIGHT, axis=1)
    array = np.concatenate([array, 1 - array])
    array[:, :, :50] = np.nan
    georeference = Georeference(CRS.from_epsg(4326), from_origin(12, 55, 1e-4, 1e-4))
    write(tmp_path / "m.tif", array, georeference, nodata=float("nan"), to_grid=GRID)
    with rasterio.open(tmp_path / "m.tif") as dataset:
        values = dataset.read()
        [x], [y] = transform("EPSG:4326", GRID, [12 + 200.5e-4], [55 - 100.5e-4])
        row, column = dataset.index(x, y)
        assert values[0, row, column] == pytest.approx(200 / (WIDTH - 1), abs=0.004)
    known = np.isfinite(values).all(axis=0)
    assert 0.6 < known.mean() < 0.9
    np.testing.assert_allclose(values.sum(axis=0)[known], 1, atol=1e-5)


@pytest.mark.slow
def test_a_product_with_points_becomes_a_map_on_a_grid(tmp_path: Path) -> None:
    product = write_safe(tmp_path, [Measurement("VV", grd((260, 300)))])
    running = Running(progress=False, quicklook=False, to_grid=GRID)
    found = map_classes(product, weights="mobilenetv3_dsn", out=tmp_path / "m.tif", running=running)
    for file in (found.file, found.probabilities):
        with rasterio.open(file) as dataset:
            assert (dataset.crs.to_epsg(), dataset.gcps[0]) == (32633, [])
            [x], [y] = transform("EPSG:4326", GRID, [12 + 1.5e-4 * 150], [55.5 - 1e-4 * 130])
            row, column = dataset.index(x, y)
            assert 0 < row < dataset.height
            assert 0 < column < dataset.width
            assert np.isfinite(dataset.read(1, masked=True)[row, column])


def test_a_grid_is_refused_where_it_has_no_effect(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 60000, (128, 128), dtype=np.uint16)
    file = write_tif(tmp_path / "s.tif", array, crs=None, transform=None)
    running = Running(progress=False, to_grid=GRID)
    with pytest.raises(OptionError, match="does not say where it lies"):
        map_classes(file, weights="mobilenetv3_dsn", out=tmp_path / "m.tif", running=running)
    far = write_tif(tmp_path / "f.tif", array, crs="EPSG:32601", transform=from_origin(2.7e5, 6e6, 640, 640))
    degrees = Running(progress=False, to_grid="EPSG:4326")
    with pytest.raises(OptionError, match=r"f\.tif: its map crosses the antimeridian"):
        map_classes(far, weights="mobilenetv3_dsn", out=tmp_path / "m.tif", running=degrees)
    with pytest.raises(OptionError, match=r"e\.parquet is none: leave to_grid out"):
        embed_scenes(file, weights="mobilenetv3_dsn", out=tmp_path / "e.parquet", running=running)
    with pytest.raises(OptionError, match="such as EPSG:32633, got 'nowhere'"):
        Running(to_grid="nowhere")


def test_a_grid_that_cannot_be_is_no_full_disk(tmp_path: Path) -> None:
    lost = Georeference(CRS.from_user_input("+proj=longlat +a=1737400 +b=1737400"), from_origin(12, 55, 1e-4, 1e-4))
    with pytest.raises(OptionError, match=f"cannot be warped to {GRID}"):
        write(tmp_path / "m.tif", np.zeros((1, 40, 40), np.uint8), lost, nodata=255, to_grid=GRID)
