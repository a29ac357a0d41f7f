"""Radiometry: conversion, impossible values, and warnings on plain evidence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import sarhub_models as sarhub
from sarhub_models.errors import ImageError, NodataError, OptionError, RadiometryWarning
from sarhub_models.transforms import RADIOMETRIES, Normalize, convert_radiometry

MODEL = "vit_base_patch16_ssl4eo.mae"
SATLAS = "swin_v2_b_satlas.si"
CLOSP = "resnet50_crisislandmark.closp"


@pytest.fixture
def decibels() -> np.ndarray:
    """Two bands of backscatter in dB, from -40 to +10."""
    return np.random.default_rng(0).uniform(-40, 10, (2, 60, 50)).astype(np.float32)


def as_radiometry(decibels: np.ndarray, radiometry: str, full_scale: float = 500.0) -> np.ndarray:
    amplitude = 10 ** (decibels.astype(np.float64) / 20)
    kind = {"db": "10 log₁₀ a²", "amplitude": "a", "intensity": "a²", "dn": "full_scale · a"}
    values = {"db": decibels, "amplitude": amplitude, "intensity": amplitude**2, "dn": full_scale * amplitude}
    return next(values[name] for name in kind if kind[name] == RADIOMETRIES[radiometry].formula).astype(np.float32)


@pytest.mark.parametrize("source", RADIOMETRIES)
@pytest.mark.parametrize("target", RADIOMETRIES)
def test_every_radiometry_becomes_every_other(decibels: np.ndarray, source: str, target: str) -> None:
    values = torch.from_numpy(as_radiometry(decibels, source))
    one, other = (RADIOMETRIES[name].calibration for name in (source, target))
    if one and other and one != other:
        with pytest.raises(OptionError, match="angle of incidence"):
            convert_radiometry(values, source, target)
        return
    found = convert_radiometry(values, source, target, full_scale=500.0)
    torch.testing.assert_close(found, torch.from_numpy(as_radiometry(decibels, target)), rtol=2e-5, atol=2e-5)


def test_black_pixels_are_at_minus_fifty_decibels() -> None:
    found = convert_radiometry(torch.tensor([0.0, 1e-9, 1.0]), "intensity", "db")
    torch.testing.assert_close(found, torch.tensor([-50.0, -50.0, 0.0]))


@pytest.mark.parametrize("radiometry", RADIOMETRIES)
def test_the_same_image_in_any_radiometry_is_the_same_input(decibels: np.ndarray, radiometry: str) -> None:
    expected = sarhub.create_transform(MODEL)(decibels)
    transform = sarhub.create_transform(MODEL, radiometry=radiometry, full_scale=500.0)
    torch.testing.assert_close(transform(as_radiometry(decibels, radiometry)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("radiometry", RADIOMETRIES)
def test_one_band_weights_take_any_radiometry_too(decibels: np.ndarray, radiometry: str) -> None:
    calm = np.minimum(decibels[0], 0)
    expected = sarhub.create_transform("resnet18_osu")(as_radiometry(calm, "amplitude"))
    transform = sarhub.create_transform("resnet18_osu", radiometry=radiometry, full_scale=500.0)
    torch.testing.assert_close(transform(as_radiometry(calm, radiometry)), expected, rtol=1e-3, atol=1e-3)


def test_brighter_than_amplitude_one_is_clipped_after_a_conversion() -> None:
    transform = sarhub.create_transform("mobilenetv3_dsn", radiometry="db")
    bright = np.full((9, 9), 6.0)
    bright[0] = -20
    assert torch.equal(transform(bright), transform(np.minimum(bright, 0)))


def test_single_look_complex_digital_numbers() -> None:
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(40, 40)) + 1j * rng.normal(size=(40, 40))).astype(np.complex64) * 300
    expected = sarhub.create_transform("mobilenetv3_dsn")(np.abs(z) / 65535)
    torch.testing.assert_close(sarhub.create_transform("mobilenetv3_dsn", radiometry="dn")(z), expected)
    integers = rng.integers(0, 60000, (40, 40)).astype(np.uint16)
    expected = sarhub.create_transform("mobilenetv3_dsn")(sarhub.normalize_amplitude(integers))
    torch.testing.assert_close(sarhub.create_transform("mobilenetv3_dsn", radiometry="dn")(integers), expected)
    dual = sarhub.create_transform(MODEL, radiometry="dn", full_scale=500.0)
    torch.testing.assert_close(dual(np.stack([z, z])), dual(np.abs(np.stack([z, z]))))
    for name in (MODEL, "mobilenetv3_dsn"):
        with pytest.raises(ImageError, match="real values"):
            sarhub.create_transform(name, radiometry="db")(np.stack([z, z])[: 2 if name == MODEL else 1])


def test_digital_numbers_of_satlas_are_held_at_255() -> None:
    image = np.full((2, 256, 256), 1000, dtype=np.uint16)
    image[1, :128] = 51
    found = sarhub.create_transform(SATLAS)(image)
    assert found.shape == (2, 256, 256)
    assert found.unique().tolist() == pytest.approx([0.2, 1.0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (MODEL, {"radiometry": "decibel"}, "amplitude, intensity, db, dn"),
        (MODEL, {"radiometry": "dn"}, "full_scale"),
        (SATLAS, {"radiometry": "db"}, "full_scale"),
        ("resnet18_osu", {"radiometry": "dn"}, "full_scale"),
        (MODEL, {"radiometry": "dn", "full_scale": -1}, "positive"),
    ],
)
def test_radiometry_that_cannot_be_converted(name: str, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        sarhub.create_transform(name, **options)


@pytest.mark.parametrize(
    ("name", "radiometry", "low", "high", "message"),
    [
        (MODEL, None, 0.0, 1.0, "expected decibels.*got values from 0.* to .*this looks like amplitude or intensity"),
        (MODEL, "db", 3.0, 40.0, "expected decibels.*got values from 3.* to 4?[0-9].*radiometry='dn'"),
        (MODEL, "amplitude", 20.0, 900.0, "expected amplitude.*most of it below 1.*radiometry='dn'"),
        (SATLAS, None, 0.0, 1.0, "expected digital numbers.*got values from 0"),
        ("resnet18_osu", "db", 0.0, 1.0, "expected decibels"),
    ],
)
def test_plainly_another_radiometry_draws_a_warning(
    name: str, radiometry: str | None, low: float, high: float, message: str
) -> None:
    bands = len(sarhub.model_info(name).input.bands)
    image = np.random.default_rng(0).uniform(low, high, (bands, 40, 40)).astype(np.float32)
    transform = sarhub.create_transform(name, radiometry=radiometry)
    with pytest.warns(RadiometryWarning, match=message) as caught:
        transform(image)
    assert caught[0].filename == __file__, "it must point at the caller's line"
    transform.steps["radiometry"].validate = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transform(image)


@pytest.mark.parametrize("radiometry", ["amplitude", "intensity", "dn"])
@pytest.mark.parametrize("name", [MODEL, "mobilenetv3_dsn"])
def test_negative_values_are_refused_where_they_cannot_be(decibels: np.ndarray, name: str, radiometry: str) -> None:
    transform = sarhub.create_transform(name, radiometry=radiometry, full_scale=500.0)
    image = decibels if name == MODEL else decibels[0]
    with pytest.raises(ImageError, match=r"never negative, got values from -\d.*(decibels|radiometry='db')"):
        transform(image)


def test_images_in_order_draw_no_warning(decibels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sarhub.create_transform(MODEL)(decibels)
        sarhub.create_transform(MODEL, radiometry="intensity")(as_radiometry(decibels, "intensity"))
        sarhub.create_transform(SATLAS)(np.zeros((2, 256, 256)))
        sarhub.create_transform(CLOSP)(decibels)


def test_an_unknown_radiometry_is_said_and_nothing_converted(decibels: np.ndarray) -> None:
    with pytest.warns(RadiometryWarning, match="nobody published the radiometry"):
        transform = sarhub.create_transform(CLOSP, radiometry="db")
    assert torch.equal(transform(decibels), torch.from_numpy(decibels))


def test_batches_bands_and_names(decibels: np.ndarray) -> None:
    transform = sarhub.create_transform(MODEL)
    batch = transform(np.stack([decibels, decibels - 1]))
    assert batch.shape == (2, 2, 224, 224)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch[0], transform(decibels))
    vh = sarhub.create_transform(MODEL, bands=("VH",))
    torch.testing.assert_close(vh(decibels[1]), transform(decibels)[1:])
    torch.testing.assert_close(
        sarhub.create_transform(MODEL, bands=("VH", "VV"))(decibels[::-1]), transform(decibels).flip(0)
    )
    for wrong in (decibels[0], np.concatenate([decibels, decibels]), decibels[:, :0]):
        with pytest.raises(ImageError, match=r"expected 2 bands \(VV, VH\)"):
            transform(wrong)
    with pytest.raises(ImageError, match="NaN"):
        transform(np.where(decibels < -39, np.nan, decibels))


def test_training_augments_every_image_by_itself(decibels: np.ndarray) -> None:
    transform = sarhub.create_transform(MODEL, training=True)
    batch = np.stack([decibels, decibels])
    first, second = transform(batch, torch.Generator().manual_seed(0))
    assert not torch.equal(first, second)
    again = transform(batch, torch.Generator().manual_seed(0))
    assert torch.equal(first, again[0])


def test_statistics_must_fit_the_bands() -> None:
    with pytest.raises(OptionError, match="for each band"):
        Normalize((0.0,), (1.0, 1.0))


@pytest.mark.parametrize(("value", "refused"), [(-9999, True), (-101, True), (-99, False), (59, False), (61, True)])
def test_decibels_have_a_range(decibels: np.ndarray, value: float, refused: bool) -> None:
    decibels[1, 3, 4] = value
    prepare = sarhub.create_transform(MODEL)
    if refused:
        with pytest.raises(ImageError, match=rf"between -100 and 60, got values from .*{value}"):
            prepare(decibels)
    else:
        assert prepare(decibels).isfinite().all()


@pytest.mark.parametrize("kind", ["masked", "nan", "infinite", "tensor"])
def test_values_without_data_follow_the_policy(decibels: np.ndarray, kind: str) -> None:
    missing = np.zeros(decibels.shape, bool)
    missing[0, :3] = True
    expected = decibels.copy()
    valid = np.sort(decibels[0, 3:].ravel())
    expected[0, :3] = valid[(valid.size - 1) // 2]
    image = np.where(missing, np.inf if kind == "infinite" else np.nan, decibels)
    image = np.ma.masked_array(decibels, missing) if kind == "masked" else image
    image = torch.from_numpy(image) if kind == "tensor" else image
    with pytest.raises(ImageError, match=r"masked|NaN|infinite"):
        sarhub.create_transform(MODEL)(image)
    plain = sarhub.create_transform(MODEL)(expected)
    torch.testing.assert_close(sarhub.create_transform(MODEL, nodata="fill")(image), plain)
    torch.testing.assert_close(sarhub.create_transform(MODEL, nodata="skip")(image), plain)
    batch = torch.stack([image] * 2) if kind == "tensor" else np.ma.stack([image] * 2)
    torch.testing.assert_close(sarhub.create_transform(MODEL, nodata="fill")(batch), torch.stack([plain] * 2))
    missing[0, :7] = True
    with pytest.raises(NodataError, match="350 of 3000 pixels"):
        sarhub.create_transform(MODEL, nodata="skip")(np.ma.masked_array(decibels, missing))
    with pytest.raises(OptionError, match="'refuse', 'fill' or 'skip'"):
        sarhub.create_transform(MODEL, nodata="drop")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_filled_like_any_other(kind: torch.dtype) -> None:
    image = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)).sub(15).to(kind)
    image[0, 3, 3] = torch.nan
    found = sarhub.create_transform(MODEL, nodata="fill")(image)
    torch.testing.assert_close(found, sarhub.create_transform(MODEL, nodata="fill")(image.float()))
