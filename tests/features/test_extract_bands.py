"""Features of images of several bands, of what rasters say of themselves, and what is told once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

import sarhub_models as sarhub
from sarhub_models.errors import BandsWarning, ImageError, OptionError, RadiometryWarning
from sarhub_models.features.extract import extract_features
from sarhub_models.features.journal import journal_path
from sarhub_models.transforms import Pipeline

from .test_extract import Moments, transform

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
]


def decibels(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-30, -5, (count, 2, 40, 40)).astype(np.float32)


def dual() -> Pipeline:
    return sarhub.create_transform("resnet50_ssl4eo.moco")


def write_tiff(path: Path, planes: np.ndarray, names: tuple[str, ...]) -> Path:
    count, height, width = planes.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", count=count, height=height, width=width, nodata=-9999
    ) as file:
        file.write(planes)
        file.descriptions = names
    return path


def test_features_do_not_depend_on_the_order_of_bands_in_the_file(tmp_path: Path) -> None:
    vv, vh = decibels(1)[0]
    orders = {"VV": ("VV", "VH"), "VH": ("VH", "VV"), "angle": ("angle", "VH", "VV")}
    values = {"VV": vv, "VH": vh, "angle": vv * np.nan}
    files = [
        write_tiff(tmp_path / f"{name}.tif", np.stack([values[band] for band in order]), order)
        for name, order in orders.items()
    ]
    result = extract_features(Moments(), dual(), files, progress=False).values
    x = dual()(np.stack([vv, vh]))
    np.testing.assert_allclose(result, [[float(x.mean()), float(x.std())]] * 3, rtol=1e-4)
    with pytest.warns(BandsWarning, match=r"VH\.tif: says that its bands are VH, VV"):
        one = extract_features(Moments(), dual(), files[1:2], band=(1, 2), progress=False)
    picked = extract_features(Moments(), dual(), files[1:2], band=(2, 1), progress=False)
    np.testing.assert_allclose(picked.values, result[:1])
    np.testing.assert_allclose(one.values, result[:1])


def test_a_changed_file_of_another_band_is_read_again(tmp_path: Path) -> None:
    (vv, vh), (_, other) = decibels(2)
    for name, values in (("a_VV", vv), ("a_VH", vh)):
        np.save(tmp_path / f"{name}.npy", values)
    (tmp_path / "b_VV.npy").write_bytes(b"damaged")
    files, out = [tmp_path / "a_VV.npy", tmp_path / "b_VV.npy"], tmp_path / "f.safetensors"
    with pytest.raises(ImageError, match="b_VV"):
        extract_features(Moments(), dual(), files, out=out, batch_size=1, progress=False)
    assert journal_path(out).exists()
    np.save(tmp_path / "a_VH.npy", other + 3)
    again = extract_features(Moments(), dual(), files, out=out, on_error="skip", progress=False)
    x = dual()(np.stack([vv, other + 3]))
    np.testing.assert_allclose(again.values, [[float(x.mean()), float(x.std())]], rtol=1e-4)


def test_bands_without_names_are_asked_for(tmp_path: Path) -> None:
    vv, vh = decibels(1)[0]
    np.save(tmp_path / "a.npy", np.stack([vh, vv]))
    np.save(tmp_path / "hwc.npy", np.stack([vv, vh], axis=-1))
    with pytest.raises(ImageError, match="--bands"):
        extract_features(Moments(), dual(), [tmp_path / "a.npy"], progress=False)
    with pytest.raises(ImageError, match=r"looks like \(H, W, bands\)"):
        extract_features(Moments(), dual(), [tmp_path / "hwc.npy"], bands=("VV", "VH"), progress=False)
    with pytest.raises(OptionError, match="give one of them"):
        extract_features(Moments(), dual(), [tmp_path / "a.npy"], bands=("VH", "VV"), band=(2, 1), progress=False)
    result = extract_features(Moments(), dual(), [tmp_path / "a.npy"], bands=("VH", "VV"), progress=False)
    x = dual()(np.stack([vv, vh]))
    np.testing.assert_allclose(result.values, [[float(x.mean()), float(x.std())]], rtol=1e-4)


def test_pixels_without_data_are_refused_filled_or_skipped(tmp_path: Path) -> None:
    whole, few, many = decibels(3)
    few[:, :2], many[:, :20] = -9999, -9999
    files = [write_tiff(tmp_path / f"{i}.tif", x, ("VV", "VH")) for i, x in enumerate((whole, few, many))]
    with pytest.raises(ImageError, match=r"1\.tif: 80 of 1600 pixels are nodata \(-9999"):
        extract_features(Moments(), dual(), files, progress=False)
    filled = extract_features(Moments(), dual(), files, nodata="fill", progress=False)
    assert np.abs(filled.values).max() < 5
    assert not filled.skipped
    skipped = extract_features(Moments(), dual(), files, nodata="skip", progress=False)
    assert skipped.names == tuple(map(str, files[:2]))
    assert "800 of 1600 pixels" in skipped.skipped[str(files[2])]
    np.testing.assert_allclose(skipped.values, filled.values[:2], rtol=1e-4)


@pytest.mark.parametrize("value", [-9999, 3000])
def test_values_that_are_no_decibels_are_refused(tmp_path: Path, value: float) -> None:
    image = decibels(1)[0]
    image[0, 0, 0] = value
    np.save(tmp_path / "a.npy", image)
    with pytest.raises(ImageError, match=r"a\.npy: expected decibels, between -100 and 60, got values from"):
        extract_features(Moments(), dual(), [tmp_path / "a.npy"], bands=("VV", "VH"), nodata="fill", progress=False)


def test_a_scene_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((20, 129)))
    with pytest.raises(ImageError, match=r"a\.npy: a scene of 20 x 129 pixels would be squeezed to 16 x 16; cut it"):
        extract_features(Moments(), transform(16), [tmp_path / "a.npy"], progress=False)


def test_bands_that_are_left_out_are_told_once(tmp_path: Path) -> None:
    rng, files = np.random.default_rng(0), []
    for number in range(3):
        file = tmp_path / f"{number}.tif"
        profile = {"driver": "GTiff", "height": 8, "width": 8, "count": 3, "dtype": "float32"}
        with rasterio.open(file, "w", **profile) as dataset:
            dataset.write(rng.normal(-10, 2, (3, 8, 8)).astype(np.float32))
            dataset.descriptions = ("angle", "VV", "VH") if number else ("VV", "VH", "other")
        files.append(file)
    with pytest.warns(BandsWarning) as caught:
        extract_features(Moments(), dual(), files, progress=False, batch_size=2)
    (message,) = [str(warning.message) for warning in caught if warning.category is BandsWarning]
    assert message.startswith("3 images, ") and "has bands that are not used: " in message


@pytest.mark.parametrize("workers", [0, 1])
def test_doubts_are_told_once(tmp_path: Path, workers: int) -> None:
    files = [tmp_path / f"{number}.npy" for number in range(5)]
    for number, file in enumerate(files):
        np.save(file, np.random.default_rng(number).gamma(2, 0.02, (2, 32, 32)).astype(np.float32))
    with pytest.warns(RadiometryWarning) as caught:
        extract_features(Moments(), dual(), files, bands=("VV", "VH"), workers=workers, batch_size=2, progress=False)
    assert len(caught) == 1
    assert str(caught[0].message).startswith(f"5 images, {files[0]} first: expected decibels of backscatter")
