"""Predictor: an array is treated as the file of the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sarhub_models import Predictor
from sarhub_models.errors import NodataError, RadiometryWarning

NAME = "mobilenetv3_dsn"


@pytest.mark.parametrize("full_scale", [None, 2.0])
def test_arrays_without_data_are_filled_as_files_are(tmp_path: Path, full_scale: float | None) -> None:
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    image[:5] = np.nan
    np.save(tmp_path / "a.npy", image)
    predictor = Predictor(NAME, nodata="fill", full_scale=full_scale)
    expected = predictor.predict(tmp_path / "a.npy").probabilities
    np.testing.assert_array_equal(predictor.predict(image).probabilities, expected)
    np.testing.assert_array_equal(predictor.predict(np.ma.masked_invalid(image)).probabilities, expected)
    with pytest.raises(NodataError):
        Predictor(NAME, full_scale=full_scale).predict(np.ma.masked_invalid(image))


def test_values_of_another_radiometry_are_told_where_the_caller_is(tmp_path: Path) -> None:
    np.save(tmp_path / "linear.npy", np.random.default_rng(0).random((64, 64)) * 50)
    predictor = Predictor(NAME, radiometry="db")
    with pytest.warns(RadiometryWarning, match=r"linear\.npy: expected decibels") as one:
        predictor.predict(tmp_path / "linear.npy")
    with pytest.warns(RadiometryWarning, match=r"linear\.npy: expected decibels") as several:
        list(predictor.predict([tmp_path / "linear.npy"]))
    assert {found.filename for found in (*one, *several)} == {__file__}
