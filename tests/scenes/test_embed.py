"""Features of scenes: rows and dense maps in the right place, resumed, and in files that others open."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate
from shapely.geometry import box

import sarhub_models as sarhub
from sarhub_models.errors import ImageError, OptionError
from sarhub_models.models.export import export_named
from sarhub_models.scenes import quicklook, runner
from sarhub_models.scenes.embed import embed_scenes
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.scenes.mosaic import Grid
from sarhub_models.scenes.session import Reading, Running, Windows, open_session
from sarhub_models.scenes.similar import find_similar
from sarhub_models.scenes.sinks.geoparquet import write_geoparquet

from .safe import Measurement, grd, write_safe
from .test_products import write_tif

MODEL = "mobilenetv3_dsn"
SIDE = 128
QUIET = Running(quicklook=False, progress=False)


def test_a_system_in_other_words_is_found_by_its_code(tmp_path: Path) -> None:
    """Files of Capella say a datum "unknown" on the ellipsoid of WGS 84, and no code."""
    words = re.sub(r',AUTHORITY\["EPSG","\d+"\]', "", CRS.from_epsg(32631).to_wkt()).replace("WGS_1984", "unknown")
    words = words.replace("WGS 84 / UTM zone 31N", "UTM Zone 31, Northern Hemisphere")
    rows = {"row": [0], "geometry": [box(0, 0, 1, 1)]}
    write_geoparquet(tmp_path / "e.parquet", [rows], crs=CRS.from_wkt(words), note="")
    geo = json.loads(pq.read_schema(tmp_path / "e.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["crs"]["id"] == {"authority": "EPSG", "code": 32631}
    assert geopandas.read_parquet(tmp_path / "e.parquet").crs.to_string() == "EPSG:32631"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three by four windows: speckle of another brightness in each, the first window without data."""
    rng = np.random.default_rng(0)
    levels = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((SIDE, SIDE)))
    array = (rng.gamma(2, 100, levels.shape) * levels).clip(1, 60000).astype(np.uint16)
    array[:SIDE, :SIDE] = 0
    return write_tif(tmp_path_factory.mktemp("scenes") / "scene.tif", array, nodata=0)


def embed(scene: Path, out: Path, **options: object):
    settings = {"reading": Reading(full_scale=65535), "running": QUIET, **options}
    return embed_scenes(scene, weights=MODEL, out=out, **settings)


def test_a_scene_is_not_replaced_by_its_map(scene: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copy(scene, tmp_path / "mine.tif"))
    (tmp_path / "link.tif").symlink_to(mine)
    for out in ("mine.tif", "link.tif"):
        with pytest.raises(OptionError, match=f"{out} is read, and would be replaced by the result"):
            embed(mine, tmp_path / out)
    assert mine.read_bytes() == scene.read_bytes() and not list(tmp_path.glob("*.partial"))


def test_a_scene_is_not_replaced_by_a_map_beside_the_output(scene: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copy(scene, tmp_path / "mine.similarity.tif"))
    with pytest.raises(OptionError, match=r"mine\.similarity\.tif is read, and would be replaced"):
        find_similar(
            mine,
            weights=MODEL,
            like=[(501000.0, 4998000.0)],
            out=tmp_path / "mine.geojson",
            reading=Reading(full_scale=65535),
            running=QUIET,
        )
    assert mine.read_bytes() == scene.read_bytes()


def test_rows_are_the_features_of_the_windows_with_their_outlines(scene: Path, tmp_path: Path) -> None:
    found = embed(scene, tmp_path / "e.parquet")
    assert (found.windows, found.skipped, found.features) == (11, 1, 1024)
    table = geopandas.read_parquet(tmp_path / "e.parquet")
    assert table.crs.to_epsg() == 32633
    row = table[(table.row == 2 * SIDE) & (table.column == SIDE)].iloc[0]
    assert row.geometry.bounds == pytest.approx((501280, 4996160, 502560, 4997440))
    with rasterio.open(scene) as dataset:
        x, y = row.geometry.centroid.coords[0]
        assert dataset.index(x, y) == (2 * SIDE + 64, SIDE + 64)
        chip = dataset.read(1, window=((2 * SIDE, 3 * SIDE), (SIDE, 2 * SIDE)))
    model = sarhub.create_model(MODEL, pretrained=True).eval()
    inputs = sarhub.create_transform(MODEL)(sarhub.normalize_amplitude(chip, full_scale=65535))
    expected = model.forward_head(model.forward_features(inputs[None]), pre_logits=True)[0].detach().numpy()
    np.testing.assert_allclose(row.features, expected, rtol=1e-3, atol=1e-4)
    geo = json.loads(pq.read_schema(tmp_path / "e.parquet").metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")


@pytest.mark.slow
def test_a_dense_map_is_a_valid_cog_in_half_precision_in_the_right_place(scene: Path, tmp_path: Path) -> None:
    embed(scene, tmp_path / "e.tif")
    assert cog_validate(tmp_path / "e.tif")[0]
    with rasterio.open(tmp_path / "e.tif") as dataset:
        assert dataset.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "16"
        assert (dataset.shape, dataset.count, dataset.crs.to_epsg()) == ((12, 16), 576, 32633)
        assert dataset.transform * (0, 0) == pytest.approx((5e5, 5e6))
        assert dataset.res == (320, 320)
        values = dataset.read()
    assert np.isnan(values[:, :3, :3]).all()
    assert np.isfinite(values[:, 4:, 4:]).all()
    # neighbors in brightness are neighbors in the features: no other geometry of the map would do
    means = values[:, 4:, 4:].reshape(576, 2, 4, 3, 4).mean(axis=(2, 4)).reshape(576, -1)
    assert np.linalg.norm(means[:, 0] - means[:, 1]) < np.linalg.norm(means[:, 0] - means[:, 5])


@pytest.mark.slow
def test_a_run_that_was_stopped_resumes_and_gives_the_same(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Windows(batch_size=1)  # groups of four
    embed(scene, tmp_path / "whole.parquet", windows=windows)
    done: list[int] = []
    original = runner._computed

    def stops(job, unit, scene, model, batch):
        if len(done) == 6:
            raise KeyboardInterrupt
        done.append(batch.indices[0])
        return original(job, unit, scene, model, batch)

    monkeypatch.setattr(runner, "_computed", stops)
    with pytest.raises(KeyboardInterrupt):
        embed(scene, tmp_path / "e.parquet", windows=windows)
    assert not (tmp_path / "e.parquet").exists()
    with pytest.raises(OptionError, match=r"other arguments \(max_nodata\)"):
        embed(scene, tmp_path / "e.parquet", windows=Windows(batch_size=1, max_nodata=0.1))
    again: list[int] = []
    monkeypatch.setattr(runner, "_computed", lambda *a: (again.append(a[-1].indices[0]), original(*a))[1])
    embed(scene, tmp_path / "e.parquet", windows=windows)
    assert again == list(range(4, 12))  # the first group, whose first window has no data, was kept
    assert not list(tmp_path.glob("*.partial"))
    assert geopandas.read_parquet(tmp_path / "e.parquet").equals(geopandas.read_parquet(tmp_path / "whole.parquet"))


@pytest.mark.slow
def test_sentinel1_goes_to_the_network_as_backscatter_and_keeps_its_control_points(tmp_path: Path) -> None:
    product = write_safe(tmp_path, [Measurement("VV", grd((260, 300)))], zipped=True)
    found = embed(product, tmp_path / "e.parquet", reading=Reading())
    assert found.coordinates == "EPSG:4326, by ground control points of the scene"
    table = geopandas.read_parquet(tmp_path / "e.parquet")
    assert table.total_bounds[0] == pytest.approx(12, abs=1e-6)
    embed(product, tmp_path / "e.tif", reading=Reading())
    with rasterio.open(tmp_path / "e.tif") as dataset:
        points, system = dataset.gcps
        assert (len(points), system.to_epsg()) == (20, 4326)
        far = max(points, key=lambda point: (point.row, point.col))
        assert (far.row, far.col) == pytest.approx((260 / 32, 300 / 32))


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    product = write_safe(tmp_path, [Measurement("VV", grd((130, 160)))])
    with pytest.raises(OptionError, match="calibrated already: leave full_scale out"):
        embed(product, tmp_path / "e.parquet", reading=Reading(full_scale=65535))
    with pytest.raises(OptionError, match="is that of a Ray cluster: add engine='ray'"):
        Running(address="ray://head:10001")
    assert not list(tmp_path.glob("*.partial"))


def test_without_a_georeference_coordinates_are_pixels_and_the_files_say_so(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 60000, (SIDE, 2 * SIDE), dtype=np.uint16)
    file = write_tif(tmp_path / "s.tif", array, crs=None, transform=None)
    assert embed(file, tmp_path / "e.parquet").coordinates.startswith("pixels (column, row)")
    table = geopandas.read_parquet(tmp_path / "e.parquet")
    assert table.crs is None
    assert table.geometry[1].bounds == (SIDE, 0, 2 * SIDE, SIDE)
    embed(file, tmp_path / "e.tif")
    with rasterio.open(tmp_path / "e.tif") as dataset:
        assert dataset.crs is None
        assert dataset.tags()["COORDINATES"] == "pixels"


def test_values_that_contradict_the_radiometry_are_refused_before_the_run(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"scene\.tif: expected decibels, between -100 and 60, got values from 1 to"):
        embed(scene, tmp_path / "e.parquet", reading=Reading(radiometry="db"))
    assert not list(tmp_path.iterdir())


def test_a_truncated_scene_keeps_what_was_done(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cut.tif"
    file.write_bytes(scene.read_bytes()[: -SIDE * SIDE * 4])
    monkeypatch.setattr("sarhub_models.scenes.session.check_radiometry", lambda *_: None)
    with pytest.raises(ImageError, match=r"cut\.tif: the window of 128 x 512 pixels at row 256, column 0"):
        embed(file, tmp_path / "e.parquet", windows=Windows(batch_size=1))
    assert len(list((tmp_path / "e.parquet.partial").glob("*.safetensors"))) == 2


def test_a_window_that_gives_nan_is_named(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sarhub_models.scenes.models import WindowModel

    monkeypatch.setattr(WindowModel, "compute", lambda self, x: np.nan * x.mean((1, 2, 3))[:, None, None, None])
    with pytest.raises(ImageError, match=r"window at row 0, column 128: the network gives NaN"):
        embed(scene, tmp_path / "e.parquet")


def test_windows_of_integers_at_another_resolution_go_to_the_network(scene: Path, tmp_path: Path) -> None:
    found = embed(scene, tmp_path / "e.parquet", reading=Reading(), windows=Windows(resolution=20))
    assert found.windows == 4


def test_scenes_of_one_name_are_told_apart(scene: Path, tmp_path: Path) -> None:
    places = [tmp_path / "in" / name / "vv.tif" for name in ("a", "b")]
    for place in places:
        place.parent.mkdir(parents=True)
        shutil.copy(scene, place)
    embed(tmp_path / "in", tmp_path / "e.parquet")
    table = geopandas.read_parquet(tmp_path / "e.parquet")
    assert table.scene.value_counts().to_dict() == {"a/vv.tif": 11, "b/vv.tif": 11}


@pytest.mark.slow
def test_a_job_holds_absolute_paths(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers on a cluster have another working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(scene, "s.tif")
    options = {"kind": "features", "out": Path("e.parquet"), "windows": Windows(), "reading": Reading(full_scale=65535)}
    job = open_session("s.tif", weights=MODEL, **options).job
    assert (job.scenes[0].path, job.folder) == (tmp_path / "s.tif", tmp_path / "e.parquet.partial")
    assert job.model.weights == MODEL
    export_named(MODEL, "own.safetensors", format="safetensors")
    options["out"] = Path("other.parquet")
    job = open_session("s.tif", weights="own.safetensors", **options).job
    assert job.model.weights == str(tmp_path / "own.safetensors")


def test_a_run_is_not_resumed_with_a_scene_that_changed(scene: Path, tmp_path: Path) -> None:
    options = {"kind": "features", "windows": Windows(), "reading": Reading(full_scale=65535)}
    shutil.copy(scene, tmp_path / "s.tif")
    for _ in range(2):
        open_session(tmp_path / "s.tif", weights=MODEL, out=tmp_path / "e.parquet", **options)
    (tmp_path / "s.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    with pytest.raises(OptionError, match=r"other arguments \(scenes\)"):
        open_session(tmp_path / "s.tif", weights=MODEL, out=tmp_path / "e.parquet", **options)


def test_the_digest_of_a_model_tells_all_that_decides_apart(tmp_path: Path) -> None:
    model = WindowModel(ModelSpec(MODEL, "classes"))
    plain = model.digest()
    model._predictor.temperature = 2.0
    assert model.digest() != plain
    file = tmp_path / "exported.onnx"
    model.network, model.spec = len, replace(model.spec, weights=str(file))  # which has no tensors to look at
    file.write_bytes(b"first")
    first = model.digest()
    assert model.digest() == first
    file.write_bytes(b"other")
    assert model.digest() != first


@pytest.mark.slow
def test_components_are_drawn_without_all_features_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first component is the channel that varies most; 1000 x 1000 vectors of 32 numbers are 128 MB."""

    def rows() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        for _ in range(0, 1000, 20):
            strip = rng.standard_normal((32, 20, 1000), np.float32)
            strip[5] += np.linspace(0, 100, 1000, dtype=np.float32)
            strip[:, :, :100] = np.nan
            yield strip

    session = SimpleNamespace(grid=lambda: Grid(1000, 1000, 1, 20), rows=rows)
    monkeypatch.setattr(quicklook, "_draw", lambda session, out, picture, **_: picture)
    tracemalloc.start()
    picture = quicklook.draw_components(session, tmp_path / "e.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert picture.shape == (1000, 1000, 4)
    assert (picture[:, :100, 3] == 0).all()
    assert (picture[:, 100:, 3] > 0).all()
    assert abs(np.corrcoef(picture[:, 100:, 0].mean(axis=0), np.arange(900))[0, 1]) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("most", "known"), [(0.9, 1.0), (0.71, 0.5)])
def test_sparse_scenes_have_values_as_far_as_was_asked(tmp_path: Path, most: float, known: float) -> None:
    """Of the pixels of a value 60 or 80 % have no data, like black and white on a chessboard: 70 % of a cell."""
    array = np.random.default_rng(0).integers(1, 9000, (SIDE, SIDE)).astype(np.uint16)
    board = np.kron(np.indices((4, 4)).sum(axis=0) % 2, np.ones((32, 32), int))
    array[np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 10 >= np.where(board, 2, 4)] = 0
    file = write_tif(tmp_path / "s.tif", array, nodata=0)
    windows, reading = Windows(max_nodata=most), Reading(full_scale=65535)
    running = Running(progress=False)
    embed_scenes(file, weights=MODEL, out=tmp_path / "e.tif", windows=windows, reading=reading, running=running)
    with rasterio.open(tmp_path / "e.tif") as dataset:
        assert np.isfinite(dataset.read(1)).mean() == known
    assert sorted(file.name for file in tmp_path.iterdir()) == ["e.quicklook.png", "e.tif", "s.tif"]


@pytest.mark.slow
def test_a_map_without_a_value_is_drawn_as_its_scene(scene: Path, tmp_path: Path) -> None:
    options = {"kind": "dense", "windows": Windows(), "reading": Reading(full_scale=65535), "running": QUIET}
    session = open_session(scene, weights=MODEL, out=tmp_path / "e.tif", single=True, **options)
    nothing = [np.full((session.output[0], grid.height, grid.width), np.nan) for grid in [session.grid()]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(session), "rows", lambda self, scene=0: iter(nothing))
        assert quicklook.draw_components(session, tmp_path / "e.tif").stat().st_size > 1000
