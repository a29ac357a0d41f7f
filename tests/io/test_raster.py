"""What a file says of its pixels: which are valid, what the bands are called, how numbers become values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from sarhub_models.errors import BandsWarning, ImageError, NodataError, OptionError
from sarhub_models.io.images import image_of, one_per_image, read_bands, read_image, read_raster
from sarhub_models.io.raster import Raster, fill_nodata, polarization

RAMP = np.arange(1, 49, dtype=np.float32).reshape(6, 8)
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def write_tiff(path: Path, *bands: np.ndarray, names: tuple[str, ...] = (), **profile: Any) -> Path:
    height, width = bands[0].shape
    profile = {"dtype": bands[0].dtype.name, "height": height, "width": width, "count": len(bands), **profile}
    with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
        dataset.write(np.stack(bands))
        if names:
            dataset.descriptions = names
    return path


# ------------------------------------------------------------------------------------------------ pixels without data


@pytest.mark.parametrize(
    ("dtype", "value"), [("float32", -9999), ("float32", np.nan), ("int16", -32768), ("uint8", 0), ("uint16", 65535)]
)
def test_the_nodata_value_of_a_tiff_is_no_pixel(tmp_path: Path, dtype: str, value: float) -> None:
    image = RAMP.astype(dtype)
    image[:, :3] = value
    path = write_tiff(tmp_path / "a.tif", image, nodata=value)
    raster = read_raster(path)
    np.testing.assert_array_equal(raster.mask[0], [False] * 3 + [True] * 5)
    with pytest.raises(NodataError, match=rf"a\.tif: 18 of 48 pixels are nodata \({value:g}, .*nodata='fill'"):
        read_image(path)
    filled = read_image(path, nodata="fill")
    assert filled.dtype == image.dtype
    np.testing.assert_array_equal(filled[:, 3:], image[:, 3:])
    assert set(filled[:, :3].ravel().tolist()) == {24}  # the 15th of the 30 others
    with pytest.raises(NodataError, match="more than 10%"):
        read_image(path, nodata="skip")


def test_a_few_pixels_are_filled_by_skip(tmp_path: Path) -> None:
    image = RAMP.copy()
    image[0, :4] = np.nan
    np.save(tmp_path / "a.npy", image)
    assert read_image(tmp_path / "a.npy", nodata="skip")[0, 0] == 26
    image[0, :5] = np.nan
    np.save(tmp_path / "a.npy", image)
    with pytest.raises(NodataError, match="5 of 48 pixels are NaN or infinite, more than 10%"):
        read_image(tmp_path / "a.npy", nodata="skip")


@pytest.mark.parametrize("internal", [True, False])
def test_the_mask_band_of_a_tiff_is_used(tmp_path: Path, internal: bool) -> None:
    path = tmp_path / "a.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "w", driver="GTiff", dtype="float32", height=6, width=8, count=2) as dataset,
    ):
        dataset.write(np.stack([RAMP, RAMP]))
        dataset.write_mask(RAMP > 8)
    assert Path(f"{path}.msk").exists() != internal
    np.testing.assert_array_equal(read_raster(path).mask, RAMP > 8)
    with pytest.raises(NodataError, match="8 of 48 pixels are masked"):
        read_image(path, band=2)


def test_transparent_pixels_are_no_pixels(tmp_path: Path) -> None:
    gray = RAMP.astype(np.uint8)
    alpha = np.where(gray > 8, 200, 0).astype(np.uint8)
    Image.fromarray(np.dstack([gray, alpha])).save(tmp_path / "la.png")
    Image.fromarray(np.dstack([gray, gray, gray, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.where(gray > 8, gray, 0)).save(tmp_path / "key.png", transparency=0)
    write_tiff(tmp_path / "rgba.tif", gray, gray, gray, alpha, photometric="RGB", alpha="YES")
    for name in ("la.png", "rgba.png", "key.png", "rgba.tif"):
        raster = read_raster(tmp_path / name)
        np.testing.assert_array_equal(raster.mask, gray > 8)
        assert len(raster.array) == 1
        np.testing.assert_array_equal(raster.array[0][gray > 8], gray[gray > 8])
        with pytest.raises(NodataError, match="8 of 48 pixels are"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("key", [0, 1])
def test_either_value_of_one_bit_can_be_transparent(tmp_path: Path, key: int) -> None:
    bits = RAMP % 3 == 0
    Image.fromarray(bits).save(tmp_path / "bits.png", transparency=key)
    np.testing.assert_array_equal(read_raster(tmp_path / "bits.png").mask, bits != bool(key))


def test_every_policy_is_known_and_nothing_is_no_image() -> None:
    valid = RAMP > 8
    with pytest.raises(OptionError, match="'refuse', 'fill' or 'skip'"):
        fill_nodata(RAMP, valid, nodata="ignore")
    with pytest.raises(NodataError, match="no pixel of a band is left"):
        fill_nodata(RAMP, valid & False, nodata="fill")
    both = np.stack([RAMP, RAMP])
    with pytest.raises(NodataError, match="no pixel of a band is left"):
        fill_nodata(both, np.stack([valid, valid & False]), nodata="fill")


def test_the_fill_value_is_that_of_every_radiometry() -> None:
    amplitude = np.random.default_rng(0).rayleigh(0.1, (8, 8))
    valid = amplitude > 0.05
    filled = fill_nodata(amplitude, valid, nodata="fill")
    decibels = fill_nodata(20 * np.log10(amplitude), valid, nodata="fill")
    np.testing.assert_allclose(20 * np.log10(filled), decibels)
    turned = fill_nodata(amplitude * np.exp(1j), valid, nodata="fill")
    np.testing.assert_allclose(np.abs(turned), filled)


# --------------------------------------------------------------------------------------------------------------- bands

VV, VH, ANGLE = RAMP, RAMP + 100, RAMP * 0 + 38


@pytest.mark.parametrize(
    ("names", "planes"),
    [
        (("VV", "VH"), (VV, VH)),
        (("VH", "VV"), (VH, VV)),
        (("angle", "VV", "VH"), (ANGLE, VV, VH)),
        (("Sigma0_VH_db", "Sigma0_VV_db"), (VH, VV)),
    ],
)
def test_bands_are_found_by_name(tmp_path: Path, names: tuple[str, ...], planes: tuple[np.ndarray, ...]) -> None:
    path = write_tiff(tmp_path / "a.tif", *planes, names=names)
    np.testing.assert_array_equal(read_bands(path, ("VV", "VH")), [VV, VH])
    np.testing.assert_array_equal(read_bands(path, ("VH",)), [VH])
    with pytest.raises(ImageError, match=r"a\.tif: expected the bands HH, HV; it holds . and calls them"):
        read_bands(path, ("HH", "HV"))


def test_data_missing_in_other_bands_does_no_harm(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", ANGLE * np.nan, VV, VH, names=("angle", "VV", "VH"))
    np.testing.assert_array_equal(read_bands(path, ("VV", "VH")), [VV, VH])


def test_bands_without_names_are_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([VH, VV]))
    write_tiff(tmp_path / "b.tif", VH, VV)
    write_tiff(tmp_path / "c.tif", VH, VV, names=("Sigma0_VV", "Gamma0_VV"))
    for name in ("a.npy", "b.tif"):
        with pytest.raises(ImageError, match=r"does not say which; name all of them .*--bands"):
            read_bands(tmp_path / name, ("VV", "VH"))
        np.testing.assert_array_equal(read_bands(tmp_path / name, ("VV", "VH"), given=("VH", "VV")), [VV, VH])
        with pytest.raises(ImageError, match="holds 2 bands, but 3 were named"):
            read_bands(tmp_path / name, ("VV", "VH"), given=("VH", "VV", "angle"))
    with pytest.raises(ImageError, match="calls them VV, VV"):
        read_bands(tmp_path / "c.tif", ("VV", "VH"))


def test_names_cannot_contradict_the_file(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", VH, VV, names=("VH", "VV"))
    with pytest.raises(ImageError, match="says that its bands are VH, VV, but they were named HV, HH"):
        read_bands(path, ("HV", "HH"), given=("HV", "HH"))


def test_the_file_knows_the_order_of_its_bands(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", VH, VV, names=("VH", "VV"))
    with pytest.warns(BandsWarning, match=r"its bands are VH, VV, not vv, vh"):
        image = read_bands(path, ("VV", "VH"), given=("vv", "vh"))
    np.testing.assert_array_equal(image, [VV, VH])


def test_one_band_needs_no_name(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", VV)
    np.testing.assert_array_equal(read_bands(path, ("amplitude",)), [VV])
    with pytest.raises(ImageError, match="expected the bands VV, VH; it holds 1"):
        read_bands(path, ("VV", "VH"))


def test_four_polarizations_of_bytes_are_neither_colors_nor_transparency(tmp_path: Path) -> None:
    planes = [np.full((6, 8), value, np.uint8) for value in (5, 5, 5, 0)]
    path = write_tiff(tmp_path / "a.tif", *planes, names=("HH", "HV", "VH", "VV"), photometric="RGB", alpha="YES")
    np.testing.assert_array_equal(read_bands(path, ("VV", "HH")), [planes[3], planes[0]])


@pytest.mark.parametrize(
    ("vv", "vh"),
    [
        ("S1A_IW_20170613_33UUP_87_48_VV.tif", "S1A_IW_20170613_33UUP_87_48_VH.tif"),
        ("s1a-iw-grd-vv-20200101t053502-030601-001.tiff", "s1a-iw-grd-vh-20200101t053502-030601-002.tiff"),
    ],
)
def test_files_of_one_polarization_each_are_one_image(tmp_path: Path, vv: str, vh: str) -> None:
    files = [write_tiff(tmp_path / vv, VV), write_tiff(tmp_path / vh, VH)]
    other = write_tiff(tmp_path / "S1A_IW_20170613_33UUP_87_49_VV.tif", VV)
    for file in files:
        np.testing.assert_array_equal(read_bands(file, ("VV", "VH")), [VV, VH])
        np.testing.assert_array_equal(read_bands(file, ("VH", "VV")), [VH, VV])
        assert read_bands(file, ("amplitude",)).shape == (1, 6, 8)
        # As weights say whose images had both in one file, in some order
        np.testing.assert_array_equal(read_bands(file, ("VV", "VH"), given=("VH", "VV")), [VV, VH])
    assert one_per_image([files[1], files[0], other], ("VV", "VH")) == [files[0], other]
    assert one_per_image(files, ("amplitude",)) == files
    with pytest.raises(ImageError, match="expected the bands VV, VH; it holds 1 and calls them VV"):
        read_bands(other, ("VV", "VH"))
    write_tiff(files[1], VH[:, :4])
    with pytest.raises(ImageError, match="has shape"):
        read_bands(files[0], ("VV", "VH"))


def test_a_band_is_picked_by_its_name(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", VV, VH, names=("Sigma0_VV", "Sigma0_VH"))
    np.testing.assert_array_equal(read_image(path, band="VH"), VH)
    np.testing.assert_array_equal(read_image(path, band="vv"), VV)
    with pytest.raises(ImageError, match="no band of its own called 'HH'; it holds 2 and calls them VV, VH; a number"):
        read_image(path, band="HH")
    np.save(tmp_path / "a.npy", np.stack([VV, VH]))
    with pytest.raises(ImageError, match="no band of its own called 'VH'; it holds 2 and does not say which"):
        read_image(tmp_path / "a.npy", band="VH")
    single = write_tiff(tmp_path / "b_VV.tif", VV)
    with pytest.raises(ImageError, match="no band of its own called 'VH'; it holds 1 and calls them VV"):
        read_image(single, band="VH")


def test_other_files_of_a_large_folder_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"S1A_33UUP_{number}_{name}.tif" for number in range(3) for name in ("VV", "VH")]
    for number, name in enumerate(names):
        write_tiff(tmp_path / name, VV + number)

    def listed(*_: Any) -> Any:
        raise AssertionError("every image would list the whole folder")

    monkeypatch.setattr(Path, "iterdir", listed)
    monkeypatch.setattr(Path, "glob", listed)
    np.testing.assert_array_equal(read_bands(tmp_path / names[2], ("VV", "VH")), [VV + 2, VV + 3])


def test_lower_and_upper_case_and_sub_swaths_are_found(tmp_path: Path) -> None:
    pairs = {
        "s1a-iw1-slc-vh-20200101t053502-030601-001.tiff": "s1a-iw1-slc-vv-20200101t053502-030601-004.tiff",
        "a_vv_b.tif": "a_vh_b.tif",
        "HH.tif": "HV.tif",
    }
    for one, other in pairs.items():
        write_tiff(tmp_path / one, VV)
        write_tiff(tmp_path / other, VH)
        wanted = [polarization(name) for name in (one, other)]
        np.testing.assert_array_equal(read_bands(tmp_path / one, wanted), [VV, VH])


@pytest.mark.parametrize(
    ("text", "name"),
    [("Sigma0_VV", "VV"), ("vh", "VH"), ("HHVV", ""), ("VV_VH", ""), ("savvy", ""), (None, ""), ("vv-vv", "VV")],
)
def test_a_polarization_is_a_word_of_its_own(text: str | None, name: str) -> None:
    assert polarization(text) == name


def test_channels_last_is_refused_with_the_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((120, 120, 2)))
    np.savez(tmp_path / "a.npz", np.zeros((120, 120, 3)))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ImageError, match=r"looks like \(H, W, bands\); .*numpy.moveaxis"):
            read_image(tmp_path / name, band=1)


# -------------------------------------------------------------------------------------------------------------- values


def test_scale_and_offset_of_a_tiff_are_applied(tmp_path: Path) -> None:
    stored = np.array([[0, 100], [200, -32768]], np.int16)
    path = write_tiff(tmp_path / "a.tif", stored, nodata=-32768)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1,), (-30.0,)
    raster = read_raster(path)
    assert raster.array.dtype == np.float32
    np.testing.assert_allclose(raster.array[0][raster.mask], [-30, -20, -10], rtol=1e-6)
    assert not raster.mask[1, 1]


def test_a_table_of_grays_is_expanded_and_one_of_colors_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", np.array([[0, 1], [2, 2]], np.uint8))
    for table, colors in (({0: (0,) * 3, 1: (90,) * 3, 2: (200,) * 3}, False), ({1: (9, 0, 0)}, True)):
        write_tiff(path, np.array([[0, 1], [2, 2]], np.uint8), photometric="PALETTE")
        with rasterio.open(path, "r+") as dataset:
            dataset.write_colormap(1, table)
        if colors:
            with pytest.raises(ImageError, match="table of colors"):
                read_image(path)
        else:
            np.testing.assert_array_equal(read_image(path), [[0, 90], [200, 200]])


def test_a_fax_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", RAMP.astype(np.uint8), photometric="MINISWHITE")
    with pytest.raises(ImageError, match="0 is white"):
        read_image(path)


def test_a_tiff_of_several_images_is_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(RAMP.astype(np.uint8)), Image.fromarray(RAMP.astype(np.uint8))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="holds 2 images"):
        read_image(tmp_path / "a.tif")


def test_sixteen_bit_colors_and_cmyk_are_refused(tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "a.png", "w", driver="PNG", dtype="uint16", height=6, width=8, count=3) as dataset:
        dataset.write(np.stack([RAMP.astype(np.uint16) * 1000] * 3))
    with pytest.raises(ImageError, match="16 bits a channel"):
        read_image(tmp_path / "a.png")
    Image.fromarray(RAMP.astype(np.uint8)).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="mode CMYK"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_stretched(tmp_path: Path, bits: int) -> None:
    stored = np.arange(48, dtype=np.uint8).reshape(6, 8) % 2**bits
    path = tmp_path / "a.png"
    with rasterio.open(path, "w", driver="PNG", dtype="uint8", height=6, width=8, count=1, nbits=bits) as dataset:
        dataset.write(stored, 1)
    np.testing.assert_array_equal(read_image(path), stored * (255 // (2**bits - 1)))


def test_where_a_tiff_lies_is_kept(tmp_path: Path) -> None:
    place = rasterio.transform.from_origin(5e5, 5e6, 10, 10)
    raster = read_raster(write_tiff(tmp_path / "a.tif", RAMP, crs="EPSG:32633", transform=place))
    assert raster.crs.to_epsg() == 32633
    assert raster.transform == place
    points = [rasterio.control.GroundControlPoint(row, 0, 10.0 + row, 50.0) for row in range(4)]
    path = write_tiff(tmp_path / "b.tif", RAMP)
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (points, "EPSG:4326")
    raster = read_raster(path)
    assert [point.x for point in raster.gcps] == [10, 11, 12, 13]
    assert raster.crs.to_epsg() == 4326


def test_all_is_valid_where_nothing_is_said() -> None:
    assert Raster(RAMP[None]).mask.all()


def test_numbers_at_the_end_tell_images_apart(tmp_path: Path) -> None:
    """Only in a SAFE folder the number is another one for each polarization."""
    for number in (1, 2, 30):
        for value, band in enumerate(("vv", "vh")):
            np.save(tmp_path / f"ship-{band}-{number:03d}.npy", np.full((4, 4), 10 * number + value, np.float32))
    files = sorted(tmp_path.iterdir())
    assert [file.stem for file in one_per_image(files, ("VV", "VH"))] == ["ship-vv-001", "ship-vv-002", "ship-vv-030"]
    assert image_of(files, ("VV", "VH"))[tmp_path / "ship-vh-030.npy"] == tmp_path / "ship-vv-030.npy"
    assert read_bands(tmp_path / "ship-vv-002.npy", ("VV", "VH"))[:, 0, 0].tolist() == [20, 21]
    (tmp_path / "ship-vh-001.npy").unlink()
    with pytest.raises(ImageError, match="holds 1 and calls them VV"):
        read_bands(tmp_path / "ship-vv-001.npy", ("VV", "VH"))


def test_polarizations_that_lie_elsewhere_are_no_image(tmp_path: Path) -> None:
    for band, left in (("VV", 5e5), ("VH", 5e5 + 5e4)):
        profile = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "float32", "crs": "EPSG:32633"}
        place = rasterio.transform.from_origin(left, 5e6, 10, 10)
        with rasterio.open(tmp_path / f"q_{band}.tif", "w", transform=place, **profile) as out:
            out.write(np.ones((1, 4, 4), np.float32))
    with pytest.raises(ImageError, match="lies elsewhere than this file"):
        read_bands(tmp_path / "q_VV.tif", ("VV", "VH"))


def test_another_polarization_than_expected_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "scene_VH.npy", np.ones((4, 4), np.float32))
    with pytest.warns(BandsWarning, match="holds VH, and VV is expected"):
        read_bands(tmp_path / "scene_VH.npy", ("VV",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_bands(tmp_path / "scene_VH.npy", ("VH",))
        read_bands(tmp_path / "scene_VH.npy", ("amplitude",))
