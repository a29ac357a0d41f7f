from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from sarhub_models.datasets import SpaceNet6
from sarhub_models.datasets.segmentation.spacenet6 import building_mask
from sarhub_models.errors import DataError, ImageError, IncompleteError
from tests.weights.loopback import FileServer

UTM = "urn:ogc:def:crs:EPSG::32631"
TILES = ("20190822072817_20190822073109_tile_10131", "20190823151559_20190823151919_tile_5600", "20190804_tile_1")
TRANSFORM = from_origin(592_000, 5_752_000, 0.5, 0.5)  # half a metre a pixel, in Rotterdam


def square(x: int, y: int, size: int) -> list[list[list[float]]]:
    """The ring of a square whose corners are those of pixels."""
    left, top = 592_000 + x / 2, 5_752_000 - y / 2
    right, bottom = left + size / 2, top - size / 2
    return [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]]


def footprints(*geometries: Any, crs: str | None = UTM) -> dict[str, Any]:
    features = [{"type": "Feature", "properties": {"TileBuildingId": 1}, "geometry": item} for item in geometries]
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    return {"type": "FeatureCollection", **named, "features": features}


def polygon(coordinates: Any, kind: str = "Polygon") -> dict[str, Any]:
    return {"type": kind, "coordinates": coordinates}


def write_tile(folder: Path, tile: str, content: Any = None, bands: int = 4, **profile: Any) -> np.ndarray:
    """Write the image of a tile, and its footprints where there is content; return the image, (bands, 12, 16)."""
    image = np.random.default_rng(len(tile)).normal(20, 5, (bands, 12, 16)).astype(np.float32)
    file = folder / f"SAR-Intensity/SN6_Train_AOI_11_Rotterdam_SAR-Intensity_{tile}.tif"
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"crs": "EPSG:32631", "transform": TRANSFORM, **profile}
    with rasterio.open(
        file, "w", driver="GTiff", count=bands, height=12, width=16, dtype="float32", **options
    ) as dataset:
        dataset.write(image)
    if content is not None:
        write_footprints(folder, tile, content)
    return image


def write_footprints(folder: Path, tile: str, content: Any) -> Path:
    file = folder / f"geojson_buildings/SN6_Train_AOI_11_Rotterdam_Buildings_{tile}.geojson"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def mask_of(folder: Path, content: Any) -> np.ndarray:
    return building_mask(write_footprints(folder, "tile_1", content), (12, 16), TRANSFORM, "EPSG:32631")


def rectangle(*squares: Sequence[int]) -> np.ndarray:
    mask = np.zeros((12, 16), dtype=np.uint8)
    for x, y, size in squares:
        mask[y : y + size, x : x + size] = 1
    return mask


@pytest.fixture
def rotterdam(tmp_path: Path) -> Path:
    root = tmp_path / "train/AOI_11_Rotterdam"
    write_tile(root, TILES[0], footprints(polygon(square(3, 2, 4)), polygon(square(10, 6, 5))))
    write_tile(root, TILES[1], footprints())
    (root / "PS-RGB").mkdir()
    (root / f"PS-RGB/SN6_Train_AOI_11_Rotterdam_PS-RGB_{TILES[0]}.tif").write_bytes(b"optical")
    return tmp_path


def test_tiles_and_their_masks(rotterdam: Path) -> None:
    data = SpaceNet6(rotterdam)
    assert len(data) == 2 and data.class_names == ("background", "building")
    image, mask, name = data[0]
    assert image.shape == (4, 12, 16) and image.dtype == np.float32 and name == data.names[0]
    assert name == f"train/AOI_11_Rotterdam/SAR-Intensity/SN6_Train_AOI_11_Rotterdam_SAR-Intensity_{TILES[0]}.tif"
    np.testing.assert_array_equal(mask, rectangle((3, 2, 4), (10, 6, 5)))
    assert mask.dtype == np.uint8
    assert [sample.mask.sum() for sample in data] == [41, 0]


def test_bands_keep_their_order_and_values(tmp_path: Path) -> None:
    image = write_tile(tmp_path, TILES[0], footprints())
    np.testing.assert_array_equal(SpaceNet6(tmp_path)[0].image, image)


def test_lists_name_tiles_by_their_tail(rotterdam: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "test.txt").write_text(
        f"SN6_Train_AOI_11_Rotterdam_SAR-Intensity_{TILES[1]}\n\n/DATA/x/SN6_{TILES[0]}.tif\n"
    )
    data = SpaceNet6(rotterdam, "test", lists=lists)
    assert [Path(name).stem.partition("Intensity_")[2] for name in data.names] == [TILES[1], TILES[0]]
    (lists / "train.txt").write_text(f"{TILES[0]}\n20190822000000_20190822000001_tile_7\n")
    with pytest.raises(IncompleteError, match=r"1 images or footprints of 2 tiles .*_tile_7\.tif first") as failure:
        SpaceNet6(rotterdam, "train", lists=lists)
    assert failure.value.missing == ("20190822000000_20190822000001_tile_7.tif",) and len(failure.value.found) == 1
    (lists / "train.txt").write_text("tile\n")
    with pytest.raises(DataError, match=r"expected names that end in tile_<number>, got 'tile'"):
        SpaceNet6(rotterdam, "train", lists=lists)
    (lists / "train.txt").write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        SpaceNet6(rotterdam, "train", lists=lists)


def test_missing_footprints_are_all_told(rotterdam: Path) -> None:
    for file in rotterdam.rglob("*.geojson"):
        file.unlink()
    with pytest.raises(IncompleteError, match=r"2 images or footprints of 2 tiles are not below") as failure:
        SpaceNet6(rotterdam)
    assert failure.value.missing == (f"{TILES[0]}.geojson", f"{TILES[1]}.geojson")


def test_what_is_not_there(tmp_path: Path, rotterdam: Path) -> None:
    with pytest.raises(DataError, match=r"expected tiles SAR-Intensity/\*_tile_<number>\.tif"):
        SpaceNet6(tmp_path / "none")
    write_tile(tmp_path / "again", TILES[0], footprints())
    with pytest.raises(DataError, match="are the same tile"):
        SpaceNet6(tmp_path)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"bands": 3}, r"tile_1\.tif: expected 4 bands, HH, HV, VH, VV, got 3"),
        ({"crs": None}, r"tile_1\.tif: expected a georeferenced image"),
        ({"transform": rasterio.Affine.identity()}, r"tile_1\.tif: expected a georeferenced image"),
    ],
)
@pytest.mark.filterwarnings("ignore:The given matrix is equal to:rasterio.errors.NotGeoreferencedWarning")
def test_images_that_do_not_fit_are_named(tmp_path: Path, profile: dict[str, Any], message: str) -> None:
    write_tile(tmp_path, TILES[2], footprints(polygon(square(1, 1, 2))), **profile)
    with pytest.raises(ImageError, match=message):
        SpaceNet6(tmp_path)[0]


def test_images_that_are_damaged_are_named(tmp_path: Path) -> None:
    write_tile(tmp_path, TILES[2], footprints())
    data = SpaceNet6(tmp_path)
    with rasterio.open(data.files[0], "r+") as dataset:
        dataset.write(np.full((12, 16), np.nan, dtype=np.float32), 2)
    with pytest.raises(ImageError, match=r"tile_1\.tif: 192 of 768 values are NaN"):
        data[0]
    data.files[0].write_bytes(data.files[0].read_bytes()[:300])
    with pytest.raises(ImageError, match=r"tile_1\.tif: cannot be read as \.tif"):
        data[0]


@pytest.mark.parametrize("content", ["", "  \n", footprints(), footprints(crs=None), footprints(None, polygon([]))])
def test_without_footprints_the_mask_is_empty(tmp_path: Path, content: Any) -> None:
    mask = mask_of(tmp_path, content)
    assert mask.shape == (12, 16) and mask.dtype == np.uint8 and not mask.any()


def test_holes_parts_and_heights(tmp_path: Path) -> None:
    courtyard = polygon([*square(1, 1, 8), *square(3, 3, 2)])
    expected = rectangle((1, 1, 8)) - rectangle((3, 3, 2))
    np.testing.assert_array_equal(mask_of(tmp_path, footprints(courtyard)), expected)
    parts = polygon([square(0, 0, 2), square(14, 10, 9)], "MultiPolygon")  # the second reaches over the edge
    np.testing.assert_array_equal(mask_of(tmp_path, footprints(parts)), rectangle((0, 0, 2), (14, 10, 9)))
    high = polygon([[[*corner, 4.5] for corner in square(2, 2, 3)[0]]])
    np.testing.assert_array_equal(mask_of(tmp_path, footprints(high)), rectangle((2, 2, 3)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            footprints(polygon(square(1, 1, 2)), crs="EPSG:32632"),
            "coordinates are in EPSG:32632, but those of the image",
        ),
        (footprints(polygon(square(1, 1, 2)), crs=None), "coordinates are in EPSG:4326, but those of the image"),
        (footprints(polygon(square(1, 1, 2)), crs="nowhere"), "expected the code .* such as EPSG:32631, got 'nowhere'"),
        (footprints(polygon(square(1, 1, 2)), crs="EPSG:999999"), "unknown coordinate system 'EPSG:999999'"),
        (footprints(polygon([[[0, 0], [0, float("nan")], [9, 9], [0, 0]]])), "expected coordinates, got 'nan'"),
        (footprints(polygon([[[0, 0], [0, 10**400], [9, 9], [0, 0]]])), "too large"),
        (footprints(polygon([[[0, 0], [0, "9"], [9, 9], [0, 0]]])), "expected (coordinates|polygons), got .*9"),
        (footprints(polygon([[[0, 0], [0, True], [9, 9], [0, 0]]])), "expected coordinates, got 'True'"),
        (footprints({"type": "Point", "coordinates": [1, 2]}), "expected polygons, got .*Point"),
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ({"type": "FeatureCollection"}, "no 'features'"),
    ],
)
def test_footprints_that_do_not_fit_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"tile_1\.geojson holds no footprints for this tile: .*{message}"):
        mask_of(tmp_path, content)


@pytest.mark.parametrize("place", ["{url}/crs", "/vsicurl/{url}/crs", "{folder}/wkt.txt", "file://{folder}/wkt.txt"])
def test_the_name_of_a_coordinate_system_is_never_fetched_or_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "wkt.txt").write_text(rasterio.crs.CRS.from_string("EPSG:32631").to_wkt())
    with FileServer() as server:
        name = place.format(url=server.url, folder=tmp_path)
        with pytest.raises(DataError, match="expected the code of a coordinate system"):
            mask_of(tmp_path / "tile", footprints(polygon(square(1, 1, 2)), crs=name))
        assert server.log == []


@pytest.mark.parametrize(
    "name", ["EPSG:32631", "epsg:32631", "urn:ogc:def:crs:EPSG::32631", "urn:ogc:def:crs:EPSG:9.8:32631"]
)
def test_a_code_is_known_in_every_spelling(tmp_path: Path, name: str) -> None:
    assert mask_of(tmp_path, footprints(polygon(square(1, 1, 2)), crs=name)).sum() == 4


NUMBERS = st.recursive(
    st.none() | st.integers(-9, 9) | st.floats() | st.text(max_size=2), lambda inner: st.lists(inner, max_size=5)
)


@pytest.mark.slow
@settings(max_examples=80)
@given(st.sampled_from(["Polygon", "MultiPolygon", "LineString", None]), NUMBERS)
def test_any_geometry_gives_a_mask_or_an_error(kind: Any, coordinates: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            mask = mask_of(Path(folder), footprints(polygon(coordinates, kind)))
        except DataError as err:
            assert "tile_1.geojson holds no footprints" in str(err)
        else:
            assert mask.shape == (12, 16) and set(np.unique(mask)) <= {0, 1}
