"""Weights are ranked beside an image, and refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sarhub_models import list_models
from sarhub_models.models.fitting import look_at_image, rank_models


def save(file: Path, array: np.ndarray) -> Path:
    np.save(file, array)
    return file


def test_two_bands_in_decibels_come_before_one_and_are_not_converted(tmp_path: Path) -> None:
    file = save(tmp_path / "tile.npy", np.random.default_rng(0).normal(-15, 3, (2, 224, 224)).astype(np.float32))
    fits = rank_models(file, bands=("VV", "VH"))
    assert look_at_image(file, bands=("VV", "VH")).radiometry == "db"
    best = fits[0]
    assert best.obstacle is None and set(best.info.input.bands) == {"VV", "VH"} and best.info.input.radiometry == "db"
    assert {fit.info.name for fit in fits} == set(list_models())
    usable = [fit.obstacle is None for fit in fits]
    assert usable == sorted(usable, reverse=True)


def test_bands_that_nobody_names_are_not_guessed(tmp_path: Path) -> None:
    file = save(tmp_path / "tile.npy", np.random.default_rng(0).normal(-15, 3, (2, 64, 64)).astype(np.float32))
    for fit in rank_models(file):
        if len(fit.info.input.bands) > 1:
            assert fit.obstacle is not None and "2 without a name" in fit.obstacle


def test_values_above_one_need_their_scale(tmp_path: Path) -> None:
    file = save(tmp_path / "chip.npy", np.full((64, 64), 300.0, np.float32) + np.eye(64, dtype=np.float32))
    (fit,) = rank_models(file, names=["mobilenetv3_dsn"])
    assert fit.obstacle is not None and "--full-scale" in fit.obstacle
    (fit,) = rank_models(file, names=["mobilenetv3_dsn"], full_scale=1000)
    assert fit.obstacle is None
    (fit,) = rank_models(save(tmp_path / "bytes.npy", np.eye(64, dtype=np.uint8)), names=["mobilenetv3_dsn"])
    assert fit.obstacle is None


@pytest.mark.parametrize(
    ("array", "radiometry", "text"),
    [
        (np.arange(4096, dtype=np.int32), None, "full_scale for integers wider than 16 bits"),
        (np.arange(-200, 3896, dtype=np.int16), None, "amplitude is never negative"),
        (np.linspace(-0.1, 1, 4096, dtype=np.float32), None, "amplitude is never negative"),
        (np.linspace(0, 5000, 4096, dtype=np.float32), "amplitude", r"must be in \[0, 1\], got values from 0 to 5000"),
        (np.full(4096, np.nan, np.float32), None, "no pixel of the image has data"),
        (np.linspace(-9999, 5, 4096, dtype=np.float32), "db", "a value for missing pixels"),
        (np.full(4096, 0.5 + 0.5j, np.complex64), "db", "expected real values"),
    ],
)
def test_what_the_preprocessing_refuses_does_not_fit(
    tmp_path: Path, array: np.ndarray, radiometry: str | None, text: str
) -> None:
    file = save(tmp_path / "chip.npy", array.reshape(64, 64))
    (fit,) = rank_models(file, names=["mobilenetv3_dsn"], radiometry=radiometry)
    assert fit.obstacle is not None and re.search(text, fit.obstacle)


def test_what_the_preprocessing_doubts_is_noted(tmp_path: Path) -> None:
    file = save(tmp_path / "chip.npy", np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64))
    (fit,) = rank_models(file, names=["resnet18_tsx"], radiometry="dn", full_scale=1000)
    assert fit.obstacle is None and any("got values from 0 to 1" in note for note in fit.notes)
    digital = save(tmp_path / "dn.npy", np.random.default_rng(0).integers(0, 300, (64, 64)).astype(np.uint16))
    (fit,) = rank_models(digital, names=["resnet18_tsx"], radiometry="dn", full_scale=1000)
    assert fit.obstacle is None and not any("got values" in note for note in fit.notes)
    slc = save(tmp_path / "slc.npy", np.full((64, 64), 0.5 + 0.5j, np.complex64))
    assert rank_models(slc, names=["resnet18_tsx"])[0].obstacle is None


def test_a_calibration_that_cannot_be_converted_is_the_obstacle(tmp_path: Path) -> None:
    file = save(tmp_path / "tile.npy", np.random.default_rng(0).random((2, 64, 64), dtype=np.float32))
    names = [name for name in list_models(bands=("VV", "VH")) if name.startswith("swin_v2_b_satlas")]
    for fit in rank_models(file, names=names, bands=("VV", "VH")):
        assert fit.obstacle is not None and "--radiometry" in fit.obstacle


@pytest.mark.parametrize("size", [128, 224])
def test_list_models_by_size(size: int) -> None:
    from sarhub_models import model_info

    assert list_models(size=size)
    assert all(model_info(name).preprocessing.side in (None, size) for name in list_models(size=size))
