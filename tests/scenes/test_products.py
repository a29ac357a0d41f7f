"""Scenes as they are delivered: windows, masks, calibration, places, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, from_origin
from scipy.interpolate import RegularGridInterpolator

from sarhub_models.errors import ImageError, OptionError
from sarhub_models.scenes.plan import Window
from sarhub_models.scenes.products import find_scenes, open_scene

from .safe import Measurement, grd, write_safe, zip_safe

ALL = Window(0, 0, 130, 160)


def write_tif(file: Path, array: np.ndarray, **options: object) -> Path:
    bands = array if array.ndim == 3 else array[None]
    profile = {"driver": "GTiff", "crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10), **options}
    count, height, width = bands.shape
    with rasterio.open(file, "w", height=height, width=width, count=count, dtype=bands.dtype, **profile) as out:
        out.write(bands)
    return file


def independent(one: Measurement, name: str) -> np.ndarray:
    """The factors of all pixels by SciPy's interpolator, from the numbers that the vectors were written from."""
    pixels = np.array(one.pixels)
    values = np.stack([one.factor(name, line, pixels) for line in one.lines])
    height, width = one.numbers.shape
    rows, columns = np.clip(np.arange(height), 0, one.lines[-1]), np.clip(np.arange(width), 0, one.pixels[-1])
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    return RegularGridInterpolator((one.lines, one.pixels), values)(grid)


@pytest.mark.parametrize("options", [{}, {"driver": "COG"}, {"BIGTIFF": "YES", "tiled": True, "blockxsize": 64}])
def test_geotiff_windows_are_the_pixels_and_what_lies_beyond_has_no_data(tmp_path: Path, options: dict) -> None:
    array = np.arange(200 * 300, dtype=np.float32).reshape(200, 300)
    with open_scene(write_tif(tmp_path / "s.tif", array, **options)) as scene:
        pixels, valid = scene.read(Window(150, 250, 80, 80))
        assert scene.shape == (200, 300)
        np.testing.assert_array_equal(pixels[0, :50, :50], array[150:, 250:])
        assert valid[:50, :50].all()
        assert not valid[50:].any()
        assert not valid[:, 50:].any()


def test_nodata_nan_and_masks_are_no_data(tmp_path: Path) -> None:
    array = np.ones((40, 40), np.float32)
    array[0, 0], array[1, 1] = -99, np.nan
    with open_scene(write_tif(tmp_path / "s.tif", array, nodata=-99)) as scene:
        valid = scene.read(Window(0, 0, 40, 40))[1]
    assert not valid[0, 0]
    assert not valid[1, 1]
    assert valid.sum() == 1598


@pytest.mark.parametrize("nodata", [0, np.nan])
def test_a_complex_pixel_is_no_data_only_where_all_of_it_says_so(tmp_path: Path, nodata: float) -> None:
    """A real part of 0 beside an imaginary one is a measurement."""
    array = np.full((1, 8, 8), 3 + 4j, np.complex64)
    array[0, 0], array[0, 1], array[0, 2] = 5j, nodata, 5
    with open_scene(write_tif(tmp_path / "s.tif", array, nodata=nodata)) as scene:
        valid = scene.read(Window(0, 0, 8, 8))[1]
    assert valid.all(axis=1).tolist() == [True, False, True, True, True, True, True, True]
    assert not valid[1].any()


def test_the_last_band_without_a_name_is_the_mask_of_those_with_names(tmp_path: Path) -> None:
    array = np.full((2, 8, 8), 40, np.uint8)
    array[1] = np.where(np.arange(8) < 3, 0, 255)
    file = write_tif(tmp_path / "s.tif", array, alpha="YES")
    with rasterio.open(file, "r+") as dataset:
        dataset.descriptions = ("VV", None)
    with open_scene(file) as scene:
        pixels, valid = scene.read(Window(0, 0, 8, 8))
        assert scene.bands == ("VV",)
    assert (pixels == 40).all()
    assert (valid == (np.arange(8) >= 3)).all()


def test_envi_is_read_in_windows(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((60, 50)).astype(np.float32)
    write_tif(tmp_path / "s.img", array, driver="ENVI")
    with open_scene(tmp_path / "s.img") as scene:
        np.testing.assert_array_equal(scene.read(Window(10, 20, 30, 25))[0][0], array[10:40, 20:45])


def test_bands_of_the_fine_tuning_are_read_where_nothing_else_says_which(tmp_path: Path) -> None:
    first, second = np.full((30, 40), 1, np.float32), np.full((30, 40), 2, np.float32)
    two = write_tif(tmp_path / "two.tif", np.stack([first, second]))
    one = write_tif(tmp_path / "one.tif", first)

    def values(file: Path, **options: Any) -> list[float]:
        with open_scene(file, **options) as scene:
            return scene.read(Window(0, 0, 1, 1))[0].ravel().tolist()

    both = ("VV", "VH")
    assert values(two, trained={"band": [2]}) == values(two, wanted=("VH",), trained={"bands": both}) == [2]
    assert values(two, wanted=both, trained={"band": [2, 1]}) == [2, 1]
    assert values(two, wanted=both, trained={"bands": ["VH", "VV"]}) == [2, 1]
    assert values(two, band=1, trained={"band": [2]}) == values(one, trained={"band": [2]}) == [1]
    assert values(two, wanted=both, bands=both, trained={"band": [2, 1]}) == [1, 2]
    with rasterio.open(two, "r+") as dataset:
        dataset.descriptions = both
    assert values(two, wanted=both, trained={"band": [2, 1], "bands": ["VH", "VV"]}) == [1, 2]
    with pytest.raises(ImageError, match=r"two\.tif: has no band 3, only 1 to 2"):
        open_scene(two, trained={"band": [3]})
    with pytest.raises(ImageError, match=r"two\.tif: holds 2 bands, but 1 were named: VV"):
        open_scene(two, bands=("VV",))
    with pytest.raises(OptionError, match="give one of them"):
        open_scene(two, bands=both, band="VH")


def test_one_file_a_polarization_is_one_scene_and_grids_must_agree(tmp_path: Path) -> None:
    vv, vh = np.full((30, 40), 2, np.float32), np.full((30, 40), 1, np.float32)
    write_tif(tmp_path / "scene_VV.tif", vv)
    write_tif(tmp_path / "scene_VH.tif", vh)
    with open_scene(tmp_path / "scene_VH.tif", wanted=("VV", "VH")) as scene:
        assert scene.bands == ("VV", "VH")
        np.testing.assert_array_equal(scene.read(Window(0, 0, 30, 40))[0][:, 0, 0], [2, 1])
    assert find_scenes(tmp_path, wanted=("VV", "VH")) == [tmp_path / "scene_VV.tif"]
    write_tif(tmp_path / "scene_VH.tif", vh, crs="EPSG:32634")
    with pytest.raises(ImageError, match=r"coordinate reference system: EPSG:3263\d and EPSG:3263\d"):
        open_scene(tmp_path / "scene_VV.tif", wanted=("VV", "VH"))


def test_points_of_two_polarizations_must_agree(tmp_path: Path) -> None:
    def write(name: str, shift: float) -> None:
        corners = [(0, 0), (0, 40), (30, 0), (30, 40)]
        gcps = [GroundControlPoint(row=r, col=c, x=12 + 1e-4 * (c + shift), y=55 - 1e-4 * r) for r, c in corners]
        options = {"crs": "EPSG:4326", "transform": None, "gcps": gcps}
        write_tif(tmp_path / f"scene_{name}.tif", np.ones((30, 40), np.float32), **options)

    write("VV", 0)
    write("VH", 0.1)
    with open_scene(tmp_path / "scene_VV.tif", wanted=("VV", "VH")) as scene:
        assert scene.bands == ("VV", "VH")
    write("VH", 7)
    with pytest.raises(ImageError, match=r"points that put the same pixel 7 pixels apart"):
        open_scene(tmp_path / "scene_VV.tif", wanted=("VV", "VH"))


def test_a_truncated_scene_names_the_file_and_the_window(tmp_path: Path) -> None:
    file = write_tif(tmp_path / "s.tif", np.random.default_rng(0).random((200, 300)).astype(np.float32))
    file.write_bytes(file.read_bytes()[:-100_000])
    with open_scene(file) as scene, pytest.raises(ImageError, match=r"s\.tif: the window of 50 x 50 pixels at row 150"):
        scene.read(Window(150, 0, 50, 50))


def test_a_rotated_transform_is_used_as_it_is(tmp_path: Path) -> None:
    turned = Affine.translation(5e5, 5e6) * Affine.rotation(30) * Affine.scale(10, -10)
    with open_scene(write_tif(tmp_path / "s.tif", np.ones((20, 30), np.float32), transform=turned)) as scene:
        place = scene.georeference
        assert scene.spacing == pytest.approx((10, 10))
    x, y = place.coordinates(7, 11)
    assert (x[0], y[0]) == pytest.approx(turned * (11, 7))
    rows, columns = place.pixels(x, y)
    assert (rows[0], columns[0]) == pytest.approx((7, 11))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("radiometry", "name"), [("sigma0", "sigmaNought"), ("beta0", "betaNought"), ("gamma0", "gamma")]
)
def test_sentinel1_is_calibrated_as_an_independent_interpolation_does(
    tmp_path: Path, zipped: bool, radiometry: str, name: str
) -> None:
    one = Measurement("VV", grd())
    expected = one.numbers.astype(np.float64) ** 2 / independent(one, name) ** 2
    with open_scene(write_safe(tmp_path, [one], zipped=zipped), radiometry=radiometry) as scene:
        assert (scene.bands, scene.radiometry, scene.spacing) == (("VV",), radiometry, (10.0, 10.0))
        np.testing.assert_allclose(scene.read(ALL)[0][0], expected, rtol=2e-6)
        window = scene.read(Window(37, 61, 50, 44))[0][0]
    np.testing.assert_allclose(window, expected[37:87, 61:105], rtol=2e-6)


def test_thermal_noise_is_subtracted_on_request_and_nothing_is_negative(tmp_path: Path) -> None:
    one = Measurement("VH", np.full((130, 160), 12, np.uint16))
    noise = np.stack([one.noise(line, np.array(one.pixels)) for line in one.lines])
    rows, columns = np.clip(np.arange(130), 0, 120), np.clip(np.arange(160), 0, 150)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    level = RegularGridInterpolator((one.lines, one.pixels), noise)(grid)
    level[:, :80] *= np.linspace(1, 2, 130)[:, None]
    expected = np.maximum(144.0 - level, 0) / independent(one, "sigmaNought") ** 2
    with open_scene(write_safe(tmp_path, [one]), denoise=True) as scene:
        found = scene.read(Window(20, 50, 90, 60))[0][0]
    assert (found == 0).any()
    np.testing.assert_allclose(found, expected[20:110, 50:110], rtol=1e-4, atol=1e-9)


def test_border_noise_and_zeros_are_no_data_in_any_window(tmp_path: Path) -> None:
    numbers = grd()
    numbers[:, :13] = 3  # below the noise of about 10
    numbers[117:] = 0
    numbers[40, 5] = 500  # the noise on this line ends here
    numbers[60, 90] = 3  # dark, but not at the border
    with open_scene(write_safe(tmp_path, [Measurement("VV", numbers)])) as scene:
        whole = scene.read(ALL)[1]
        part = scene.read(Window(30, 4, 60, 100))[1]
    assert not whole[:40, :13].any()
    assert not whole[117:].any()
    assert not whole[40, :5].any()
    assert whole[40, 5]
    assert whole[60, 13:].all()
    np.testing.assert_array_equal(part, whole[30:90, 4:104])


def test_ground_control_points_are_kept_and_interpolated(tmp_path: Path) -> None:
    one = Measurement("VV", grd())
    with open_scene(write_safe(tmp_path, [one])) as scene:
        place = scene.georeference
        assert (place.kind, len(place.gcps), place.crs.to_epsg()) == ("gcps", 20, 4326)
        x, y = place.coordinates([10, 77], [20, 101])
        np.testing.assert_allclose(x, [one.longitude(10, 20), one.longitude(77, 101)], atol=1e-7)
        rows, columns = place.locate(x, y)
    np.testing.assert_allclose([rows, columns], [[10, 77], [20, 101]], atol=1e-2)


def test_an_outline_across_the_antimeridian_is_split(tmp_path: Path) -> None:
    one = Measurement("VV", grd(), extra={"longitude": "179.99"})
    product = write_safe(tmp_path, [one])
    for file in (product / "annotation").glob("*.xml"):  # as products have it: from -180 to 180
        text = file.read_text()
        for line in np.linspace(0, 130, 4).astype(int):
            for pixel in np.linspace(0, 160, 5).astype(int):
                value = one.longitude(line, pixel)
                if value > 180:
                    text = text.replace(f"<longitude>{value:.9f}<", f"<longitude>{value - 360:.9f}<")
        file.write_text(text)
    with open_scene(product) as scene:
        outline = scene.georeference.footprint(0, 0, 130, 160)
        rows, columns = scene.georeference.locate(-179.995, 55.49)
    assert outline.geom_type == "MultiPolygon"
    assert outline.bounds[0] == pytest.approx(-180)
    assert outline.bounds[2] == pytest.approx(180)
    assert sum(part.area for part in outline.geoms) == pytest.approx(0.024 * 0.013, rel=0.02)
    assert 0 < columns[0] < 160
    assert 0 < rows[0] < 130


def test_slc_needs_a_swath_and_its_power_is_calibrated(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    slc = (rng.integers(-90, 90, (130, 160)) + 1j * rng.integers(1, 90, (130, 160))).astype(np.complex64)
    images = [Measurement("VV", slc, swath=swath, kind="SLC") for swath in ("IW1", "IW2")]
    product = write_safe(tmp_path, images)
    with pytest.raises(OptionError, match="holds the swaths IW1, IW2"):
        open_scene(product)
    with open_scene(product, swath="IW2") as scene:
        expected = np.abs(slc.astype(np.complex128)) ** 2 / independent(images[1], "sigmaNought") ** 2
        np.testing.assert_allclose(scene.read(ALL)[0][0], expected, rtol=2e-6)
    with open_scene(product, swath="IW1", radiometry="dn") as scene:
        np.testing.assert_array_equal(scene.read(ALL)[0][0], slc)


def test_a_polarization_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected the bands VV, VH; it holds 1 and calls them VV"):
        open_scene(write_safe(tmp_path, [Measurement("VV", grd())]), wanted=("VV", "VH"))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_missing_or_foreign_calibration_is_refused(tmp_path: Path, zipped: bool) -> None:
    one = Measurement("VV", grd())
    product = write_safe(tmp_path, [one])
    file = product / "annotation" / "calibration" / f"calibration-{one.stem}.xml"
    file.write_text(file.read_text().replace("04A1B2", "0FFFFF"))
    with pytest.raises(ImageError, match="belongs to another product or image: its missionDataTakeId is 0FFFFF"):
        open_scene(zip_safe(product) if zipped else product)
    file.unlink()
    with pytest.raises(ImageError, match=r"the calibration annotation/calibration/calibration-s1a.* is missing"):
        open_scene(zip_safe(product) if zipped else product)


def test_a_measurement_of_another_size_than_its_annotation_says_is_refused(tmp_path: Path) -> None:
    one = Measurement("VV", grd())
    product = write_safe(tmp_path, [one])
    write_tif(product / "measurement" / f"{one.stem}.tiff", grd((100, 160)))
    with pytest.raises(ImageError, match="has 100 x 160 pixels, its annotation says 130 x 160"):
        open_scene(product)


def test_what_is_no_scene_is_refused_with_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"a\.jpg: expected a scene"):
        open_scene(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="no such file"):
        open_scene(tmp_path / "b.tif")
    with pytest.raises(OptionError, match="no Sentinel-1 product"):
        open_scene(write_tif(tmp_path / "s.tif", np.ones((4, 4), np.float32)), denoise=True)


@pytest.mark.filterwarnings("ignore:The given matrix")
def test_an_identity_transform_is_none_though_a_crs_is_said(tmp_path: Path) -> None:
    with open_scene(write_tif(tmp_path / "s.tif", grd(), transform=Affine.identity())) as scene:
        assert (scene.georeference.kind, scene.georeference.crs, scene.spacing) == ("pixels", None, None)


def test_a_place_beyond_the_antimeridian_is_found_in_a_transform(tmp_path: Path) -> None:
    file = write_tif(tmp_path / "s.tif", grd(), crs="EPSG:4326", transform=from_origin(170, 10, 0.125, 0.125))
    with open_scene(file) as scene:
        rows, columns = scene.georeference.locate([-175, 175, 169.5], [5, 5, 5])
        width = scene.shape[1]
    np.testing.assert_allclose(columns[:2], [120, 40], atol=1e-6)
    np.testing.assert_allclose(rows, 40, atol=1e-6)
    assert not 0 <= columns[2] < width


@pytest.mark.parametrize("west", [0.0, -190.0, -540.0, 180.0])
def test_degrees_of_any_turn_are_places_on_the_earth(tmp_path: Path, west: float) -> None:
    """Grids of 0° to 360° are common in oceanography, and scenes west of -180° where a mosaic crosses it."""
    file = write_tif(tmp_path / "s.tif", grd(), crs="EPSG:4326", transform=from_origin(west, 65, 2, 0.5))
    with open_scene(file) as scene:
        place = scene.georeference
        x, y = place.coordinates([10, 10, 10], [0.25, 60, 93])
        rows, columns = place.locate((x + 180) % 360 - 180, y)
        outline = place.footprint(0, 80, 10, 90)
    np.testing.assert_allclose(columns, [0.25, 60, 93], atol=1e-6)
    np.testing.assert_allclose(rows, 10, atol=1e-6)
    bounds = outline.bounds
    assert -180 <= bounds[0] < bounds[2] <= 180
    assert outline.area == pytest.approx(180 * 5)


def test_noise_along_azimuth_without_bounds_is_of_the_whole_image(tmp_path: Path) -> None:
    slc = np.full((130, 160), 40 + 30j, np.complex64)
    one = Measurement("VV", slc, kind="SLC", swath="IW1")
    product = write_safe(tmp_path, [one])
    file = product / "annotation" / "calibration" / f"noise-{one.stem}.xml"
    text = file.read_text()
    for name in ("firstAzimuthLine", "firstRangeSample", "lastAzimuthLine", "lastRangeSample"):
        text = re.sub(f"<{name}>.*?</{name}>", "", text)
    file.write_text(text)
    with open_scene(product, denoise=True) as scene:
        found = scene.read(ALL)[0][0]
    lines, pixels = np.meshgrid(np.minimum(np.arange(130), 120), np.minimum(np.arange(160), 150), indexing="ij")
    noise = one.noise(lines, pixels) * np.linspace(1, 2, 130)[:, None]
    expected = np.maximum(2500 - noise, 0) / independent(one, "sigmaNought") ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_the_stamp_changes_with_each_file_that_is_read(tmp_path: Path) -> None:
    def stamp(path: Path, **options: Any) -> object:
        with open_scene(path, **options) as scene:
            return scene.stamp()

    def touched(file: Path) -> None:
        file.touch()
        os.utime(file, ns=(1, 1))

    product = write_safe(tmp_path, [Measurement("VV", grd())])
    pair = [write_tif(tmp_path / f"s_{name}.tif", grd()) for name in ("vv", "vh")]
    envi = write_tif(tmp_path / "e.img", grd(), driver="ENVI")
    for path, file, options in (
        (product, next((product / "measurement").iterdir()), {}),
        (pair[0], pair[1], {"wanted": ("VV", "VH")}),
        (envi, envi.with_suffix(".hdr"), {}),
    ):
        before = stamp(path, **options)
        assert stamp(path, **options) == before
        touched(file)
        assert stamp(path, **options) != before, file
    before = stamp(pair[0])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(pair[0], "r+") as dataset:
        dataset.write_mask(np.ones(dataset.shape, bool))
    assert pair[0].with_name("s_vv.tif.msk").exists()
    assert [name for name, *_ in stamp(pair[0])] == [str(pair[0]), f"{pair[0]}.msk"]
    assert stamp(pair[0]) != before


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((40, 50), {"crs": "EPSG:32632"}, "another coordinate reference system"),
        ((40, 50), {"transform": from_origin(5e5 + 10, 5e6, 10, 10)}, "another transform"),
        ((20, 25), {}, r"another size: \(20, 25\), and the image \(40, 50\)"),
    ],
)
def test_a_mask_beside_a_scene_that_is_of_another_place_is_refused(
    tmp_path: Path, shape: tuple[int, int], options: dict, said: str
) -> None:
    file = write_tif(tmp_path / "s.tif", np.ones((40, 50), np.float32))
    write_tif(tmp_path / "mask.tif", np.full(shape, 255, np.uint8), **options).rename(tmp_path / "s.tif.msk")
    with pytest.raises(ImageError, match=rf"s\.tif: the mask s\.tif\.msk beside it has {said}"):
        open_scene(file)


def test_a_mask_beside_a_scene_says_what_has_data(tmp_path: Path) -> None:
    file = write_tif(tmp_path / "s.tif", np.ones((40, 50), np.float32))
    mask = np.full((40, 50), 255, np.uint8)
    mask[:10] = 0
    with rasterio.open(write_tif(tmp_path / "mask.tif", mask), "r+") as dataset:
        dataset.update_tags(INTERNAL_MASK_FLAGS_1=2)  # as GDAL writes it: one for all bands
    (tmp_path / "mask.tif").rename(tmp_path / "s.tif.msk")
    with open_scene(file) as scene:
        valid = scene.read(Window(0, 0, 40, 50))[1]
    assert not valid[:10].any()
    assert valid[10:].all()
