"""Maps of scenes: classes, clusters and similarity in the right place, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tracemalloc
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from rio_cogeo.cogeo import cog_validate

import sarhub_models as sarhub
from sarhub_models.cli import main
from sarhub_models.errors import OptionError
from sarhub_models.features.predict import Predictor
from sarhub_models.io.georeference import Georeference
from sarhub_models.scenes.classify import NO_CLASS, Thinned, map_classes, write_map
from sarhub_models.scenes.cluster import cluster_scene
from sarhub_models.scenes.embed import embed_scenes
from sarhub_models.scenes.models import WindowModel
from sarhub_models.scenes.mosaic import Grid
from sarhub_models.scenes.session import Reading, Running, Windows
from sarhub_models.scenes.similar import find_similar
from sarhub_models.weights import write_weights
from sarhub_models.zoo.description import to_metadata

from .safe import Measurement, grd, write_safe
from .test_products import write_tif

MODEL = "mobilenetv3_dsn"
SIDE = 128
QUIET = Running(quicklook=False, progress=False)
OPTIONS = {"reading": Reading(full_scale=65535), "running": QUIET}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark speckle with a bright grid of points in one place, and a strip without data at the left."""
    rng = np.random.default_rng(0)
    array = rng.gamma(2, 400, (3 * SIDE, 5 * SIDE))
    array[SIDE : 2 * SIDE : 16, 3 * SIDE : 4 * SIDE : 16] = 60000
    array = array.clip(1, 65535).astype(np.uint16)
    array[:, : SIDE // 2] = 0
    return write_tif(tmp_path_factory.mktemp("scenes") / "scene.tif", array, nodata=0)


@pytest.mark.slow
def test_a_map_of_classes_agrees_with_the_windows_and_lies_in_the_right_place(scene: Path, tmp_path: Path) -> None:
    found = map_classes(scene, weights=MODEL, out=tmp_path / "map.tif", **OPTIONS)
    assert cog_validate(tmp_path / "map.tif")[0]
    assert cog_validate(found.probabilities)[0]
    assert (found.windows, found.skipped) == (6 * 9, 6)
    with rasterio.open(tmp_path / "map.tif") as dataset, rasterio.open(found.probabilities) as beside:
        classes, probabilities = dataset.read(1), beside.read()
        names = dataset.tags()["CLASSES"].split(";")
        assert beside.descriptions == tuple(names)
        assert dataset.transform * (1, 1) == pytest.approx((5e5 + 640, 5e6 - 640))
        assert dataset.colormap(1)[0][:3] != dataset.colormap(1)[1][:3]
    assert (classes.shape, dataset.nodata) == ((6, 10), NO_CLASS)
    assert (classes[:, 0] == NO_CLASS).all()
    assert np.isnan(probabilities[:, :, 0]).all()
    np.testing.assert_allclose(probabilities[:, :, 1:].sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities[:, :, 1:].argmax(axis=0), classes[:, 1:])
    with rasterio.open(scene) as dataset:  # the window of the cell in row 2, column 5
        chip = dataset.read(1, window=((96, 224), (288, 416)))
    expected = sarhub.Predictor(MODEL, full_scale=65535).predict(chip)
    assert names[classes[2, 5]] == expected.label
    np.testing.assert_allclose(probabilities[:, 2, 5], expected.probabilities, atol=1e-4)
    assert sum(found.shares.values()) == pytest.approx(1)


def test_similar_finds_the_place_that_it_was_given(scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as dataset:
        x, y = dataset.transform * (3.5 * SIDE, 1.5 * SIDE)
        longitude, latitude = rasterio.warp.transform(dataset.crs, "EPSG:4326", [x], [y])
    like = [(longitude[0], latitude[0])]
    windows = Windows(overlap=0)
    found = find_similar(scene, like=like, weights=MODEL, out=tmp_path / "p.geojson", top=3, windows=windows, **OPTIONS)
    best = found.places[0]
    assert (best["row"], best["column"], best["rank"]) == (SIDE, 3 * SIDE, 1)
    assert best["similarity"] == pytest.approx(1, abs=1e-4)
    assert (best["longitude"], best["latitude"]) == pytest.approx((longitude[0], latitude[0]), abs=1e-6)
    table = geopandas.read_file(tmp_path / "p.geojson")
    assert table.crs.to_epsg() == 4326
    assert all(outline.exterior.is_ccw for outline in table.geometry)  # RFC 7946
    assert found.coordinates == "EPSG:4326, by the transform of the scene"
    assert table.geometry[0].contains(geopandas.points_from_xy(longitude, latitude)[0])
    with rasterio.open(found.map) as dataset:
        values = dataset.read(1)
        assert np.unravel_index(np.nanargmax(values), values.shape) == dataset.index(x, y)
    assert cog_validate(found.map)[0]


@pytest.mark.slow
def test_a_map_on_another_grid_says_its_coordinates(scene: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "running": Running(quicklook=False, progress=False, to_grid="EPSG:4326")}
    classes = map_classes(scene, weights=MODEL, out=tmp_path / "map.tif", windows=Windows(overlap=0), **options)
    vectors = embed_scenes(scene, weights=MODEL, out=tmp_path / "dense.tif", windows=Windows(overlap=0), **options)
    assert classes.coordinates == vectors.coordinates == "EPSG:4326, by the transform of the scene"


@pytest.mark.slow
def test_the_band_of_the_fine_tuning_is_that_of_the_scene(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with rasterio.open(scene) as dataset:
        second = dataset.read(1)
    two = write_tif(tmp_path / "two.tif", np.stack([second[::-1], second]), nodata=0)
    info = dataclasses.replace(sarhub.model_info(MODEL), training={"images": {"full_scale": 65535.0, "band": [2]}})
    weights = tmp_path / "run.safetensors"
    write_weights(sarhub.create_model(MODEL, pretrained=True).state_dict(), weights, info=to_metadata(info))
    maps = []
    for file in (two, scene):
        map_classes(file, weights=weights, out=tmp_path / "map.tif", windows=Windows(overlap=0), running=QUIET)
        with rasterio.open(tmp_path / "map.tif") as dataset:
            maps.append(dataset.read(1))
    np.testing.assert_array_equal(*maps)

    arguments = ["predict", MODEL, str(two), "--out", str(tmp_path / "none.tif"), "--full-scale", "65535"]
    assert main(arguments) == 1
    assert "two.tif: the weights take one band, the scene has 2 (?, ?); say which" in capsys.readouterr().err
    assert main([*arguments, "--bands", "VV,VH"]) == 1
    assert "has 2 (VV, VH); say which one to read with band=1 to 2 or its name (--band" in capsys.readouterr().err


@pytest.mark.slow
def test_products_are_not_calibrated_for_weights_of_stored_numbers(tmp_path: Path) -> None:
    product = write_safe(tmp_path, [Measurement("VV", grd((130, 160)))])
    info = dataclasses.replace(sarhub.model_info(MODEL), training={"images": {"full_scale": 65535.0}})
    weights = tmp_path / "run.safetensors"
    write_weights(sarhub.create_model(MODEL, pretrained=True).state_dict(), weights, info=to_metadata(info))
    with pytest.raises(OptionError, match=r"numbers of which 65535 are amplitude 1: say radiometry='dn'"):
        map_classes(product, weights=weights, out=tmp_path / "map.tif", running=QUIET)
    map_classes(
        product,
        weights=weights,
        out=tmp_path / "map.tif",
        running=QUIET,
        reading=Reading(radiometry="dn", full_scale=65535),
    )
    assert main(["predict", str(weights), str(product), "--out", str(tmp_path / "masks")]) == 2


@pytest.mark.slow
def test_windows_that_show_one_place_are_listed_once(scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as dataset:
        x, y = dataset.transform * (3.5 * SIDE, 1.5 * SIDE)
        point = rasterio.warp.transform(dataset.crs, "EPSG:4326", [x], [y])
    windows = Windows(overlap=0.75)
    found = find_similar(
        scene, like=[(point[0][0], point[1][0])], weights=MODEL, out=tmp_path / "p.json", windows=windows, **OPTIONS
    )
    boxes = [shapely.box(row["column"], row["row"], row["column"] + SIDE, row["row"] + SIDE) for row in found.places]
    shared = [one.intersection(other).area / one.union(other).area for one, other in combinations(boxes, 2)]
    assert 0 < max(shared) <= 0.3


@pytest.mark.parametrize(("point", "said"), [((0.0, 0.0), "lies outside of"), ((15.0025, 45.14), "has no data around")])
def test_a_point_without_pixels_is_refused_with_where_it_fell(
    scene: Path, tmp_path: Path, point: tuple[float, float], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        find_similar(
            scene, like=[point], weights=MODEL, out=tmp_path / "p.geojson", windows=Windows(size=64), **OPTIONS
        )
    assert not list(tmp_path.iterdir())


def test_clusters_tell_what_differs_apart(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def contrast(self: WindowModel, x: torch.Tensor) -> torch.Tensor:
        values = x.flatten(1)
        return torch.stack([values.std(1), values.mean(1), torch.ones(len(x))], 1)[..., None, None]

    monkeypatch.setattr(WindowModel, "compute", contrast)
    out = tmp_path / "c.tif"
    cluster_scene(scene, weights=MODEL, out=out, clusters=2, windows=Windows(overlap=0, max_nodata=0.1), **OPTIONS)
    with rasterio.open(out) as dataset:
        classes = dataset.read(1)
    assert classes[1, 3] == 1
    assert (classes == 1).sum() == 1
    assert (classes == 0).sum() == 11
    assert (classes[:, 0] == NO_CLASS).all()


@pytest.mark.slow
def test_pictures_are_drawn_with_a_legend(scene: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "running": Running(progress=False), "windows": Windows(overlap=0)}
    found = map_classes(scene, weights=MODEL, out=tmp_path / "map.tif", **options)
    assert found.quicklook == tmp_path / "map.quicklook.png"
    assert found.quicklook.stat().st_size > 10_000


@pytest.mark.slow
def test_the_commands_write_what_they_print(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ["--full-scale", "65535", "--no-quicklook", "--overlap", "0", "--json"]
    assert main(["predict", MODEL, str(scene), "--out", str(tmp_path / "map.tif"), *shared]) == 0
    assert json.loads(capsys.readouterr().out)["windows"] == 15
    out = ["--model", MODEL, "--out"]
    assert main(["scene", "embed", str(scene), *out, str(tmp_path / "e.parquet"), *shared]) == 0
    assert json.loads(capsys.readouterr().out)["features"] == 1024
    assert main(["scene", "cluster", str(scene), *out, str(tmp_path / "c.tif"), "--clusters", "2", *shared]) == 0
    capsys.readouterr()
    similar = ["scene", "similar", str(scene), *out, str(tmp_path / "p.geojson"), *shared]
    assert main([*similar, "--like", "12.41"]) == 2
    assert "expected --like as two numbers" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are of POSIX")
def test_a_full_disk_leaves_nothing_half_written_and_the_next_run_resumes(scene: Path, tmp_path: Path) -> None:
    """The process may write files up to a size that the groups have and the map of probabilities has not."""
    out = tmp_path / "map.tif"
    code = (
        "import resource, signal, sys; from sarhub_models.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["predict", MODEL, str(scene), "--out", str(out), "--full-scale", "65535", "--overlap", "0"]
    arguments += ["--no-quicklook", "--batch-size", "1"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "map.probabilities.tif" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.tif.partial"]
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "map.tif.partial").glob("*.safetensors")}
    assert len(kept) == 4
    assert main(arguments) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.probabilities.tif", "map.tif"]


def test_answers_for_each_pixel_become_a_map_of_finer_cells(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that answers for blocks of four by four pixels: the bright place is where its pixels are."""

    def answers(self: WindowModel, x: torch.Tensor) -> torch.Tensor:
        bright = torch.nn.functional.avg_pool2d(x[:, :1], 4) > 3
        return torch.cat([~bright, bright, torch.zeros(len(x), 11, 32, 32)], dim=1).float()

    monkeypatch.setattr(WindowModel, "compute", answers)
    found = map_classes(scene, weights=MODEL, out=tmp_path / "map.tif", **OPTIONS)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        classes = dataset.read(1)
        assert (dataset.shape, dataset.res) == ((96, 160), (40, 40))
        assert dataset.transform * (0, 0) == pytest.approx((5e5, 5e6))
    assert (classes[:, :16] == NO_CLASS).all()
    assert (classes[:, 16:] != NO_CLASS).all()
    with rasterio.open(found.probabilities) as dataset:
        assert dataset.dtypes[0] == "float32"
        np.testing.assert_allclose(dataset.read()[:, :, 16:].sum(axis=0), 1, atol=2e-3)


def test_a_map_is_thinned_out_for_its_picture_without_all_of_it_in_memory() -> None:
    thin = Thinned(4100)
    tracemalloc.start()
    for _ in range(41):
        thin.add(np.tile(np.arange(4100) % 5 - 1, (100, 1)))
    found = thin.rows()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all strips are 134 MB
    np.testing.assert_array_equal(found, np.tile((np.arange(4100) % 5 - 1)[::3], (1367, 1)))


def test_shares_are_those_of_all_cells(tmp_path: Path) -> None:
    """Of a map that is thinned out to every third cell for its picture, where the others have another class."""
    side = 4100
    session: Any = SimpleNamespace(
        grid=lambda: Grid(side, side, 1, 100),
        places=(Georeference(),),
        seen=lambda: 9,
        plan=lambda: range(10),
        groups=SimpleNamespace(remove=lambda: None),
        write=lambda target, strips, **_: list(strips),
        running=QUIET,
        coordinates="",
    )
    rows = (np.tile((np.arange(side) % 3 > 0).astype(int), (100, 1)) for _ in range(41))
    found = write_map(session, tmp_path / "map.tif", rows, ("a", "b"), tags={})
    assert found.shares == pytest.approx({"a": 1367 / side, "b": 2733 / side})
    assert (found.windows, found.skipped) == (9, 1)


@pytest.mark.slow
def test_weights_for_masks_map_the_pixels_of_a_scene(tmp_path: Path) -> None:
    """From fine-tuning to a map of the scene's own pixels."""
    from tests.engine.finetuning.test_masks import start, write_pairs, write_tif

    start(write_pairs(tmp_path / "data"), tmp_path / "run")
    rng = np.random.default_rng(0)
    write_tif(tmp_path / "s.tif", rng.integers(1, 240, (1, 160, 224)).astype(np.uint16), crs="EPSG:32632")
    found = map_classes(tmp_path / "s.tif", weights=tmp_path / "run", out=tmp_path / "m.tif", running=QUIET)
    with rasterio.open(tmp_path / "m.tif") as dataset, rasterio.open(found.probabilities) as beside:
        assert dataset.shape == beside.shape == (160, 224)
        assert set(np.unique(dataset.read(1))) <= {0, 1}
        np.testing.assert_allclose(beside.read().sum(axis=0), 1, atol=5e-3)
    assert cog_validate(tmp_path / "m.tif")[0]
    assert sum(found.shares.values()) == pytest.approx(1)


@pytest.mark.slow
def test_larger_windows_of_masks_show_more_in_the_same_detail(tmp_path: Path) -> None:
    from tests.engine.finetuning.test_masks import start, write_pairs, write_tif

    start(write_pairs(tmp_path / "data"), tmp_path / "run")
    rng = np.random.default_rng(0)
    write_tif(tmp_path / "s.tif", rng.integers(1, 240, (1, 160, 224)).astype(np.uint16), crs="EPSG:32632")
    size = Predictor(tmp_path / "run").transform.size
    seen: list[tuple[int, ...]] = []
    compute = WindowModel.compute
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WindowModel, "compute", lambda self, x: seen.append(tuple(x.shape[-2:])) or compute(self, x))
        larger = Windows(size=2 * size)
        map_classes(tmp_path / "s.tif", weights=tmp_path / "run", out=tmp_path / "m.tif", running=QUIET, windows=larger)
    assert set(seen) == {(2 * size, 2 * size)}
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.shape == (160, 224)


def test_windows_that_a_network_cannot_take_are_said(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: WindowModel, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Got: 96 Expected: 128\nmore")  # as ONNX Runtime does

    monkeypatch.setattr(WindowModel, "compute", refuse)
    options = {**OPTIONS, "windows": Windows(size=96)}
    with pytest.raises(OptionError, match=r"of 96 pixels \(Got: 96 Expected: 128\); its own have 128"):
        map_classes(scene, weights=MODEL, out=tmp_path / "map.tif", **options)
    assert not list(tmp_path.iterdir())
