from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarhub_models.errors import ImageError, RadiometryWarning
from sarhub_models.transforms import normalize_amplitude

from .chains import VIEWS


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_integers_are_divided_by_the_largest_value_of_their_dtype(dtype: type) -> None:
    largest = np.iinfo(dtype).max
    image = np.array([[0, largest // 2, largest]], dtype=dtype)
    result = normalize_amplitude(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[0, 0.5, 1]], atol=0.005)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_wide_integers_need_a_full_scale(dtype: type) -> None:
    image = np.array([[0, 500, 2000]], dtype=dtype)
    for x in (image, torch.from_numpy(image)):
        with pytest.raises(ImageError, match=f"full_scale.*wider than 16 bits, got {dtype.__name__}"):
            normalize_amplitude(x)
        result = np.asarray(normalize_amplitude(x, full_scale=1000))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, [[0, 0.5, 1]])


def test_the_dtype_decides_and_never_the_values() -> None:
    dark = np.array([[0, 1]], dtype=np.uint8)
    np.testing.assert_allclose(normalize_amplitude(dark), [[0, 1 / 255]])
    np.testing.assert_array_equal(normalize_amplitude(np.array([[0.0, 0.1]])), [[0.0, 0.1]])


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.float16, np.float32, np.float64, np.complex64, np.complex128]),
        hnp.array_shapes(min_dims=1, max_dims=4),
        elements=st.integers(0, 100),
    ),
    st.floats(1, 200),
)
def test_full_scale_divides_and_clips_every_dtype(image: np.ndarray, full_scale: float) -> None:
    for x in (image, torch.from_numpy(image)):
        result = np.asarray(normalize_amplitude(x, full_scale=full_scale))
        assert result.shape == image.shape
        expected = np.clip(np.abs(image.astype(np.complex128)) / full_scale, 0, 1)
        np.testing.assert_allclose(result, expected, atol=1e-3 if image.dtype == np.float16 else 1e-6)


def test_complex_becomes_its_magnitude_in_its_precision() -> None:
    for complex_dtype, dtype in ((np.complex64, np.float32), (np.complex128, np.float64)):
        result = normalize_amplitude(np.array([[0.6 + 0.8j, -0.5]], dtype=complex_dtype))
        assert result.dtype == dtype
        np.testing.assert_allclose(result, [[1.0, 0.5]], atol=1e-6)
        assert result.max() <= 1


NARROW = ["int8", "int16", "float16", "float32", "float64", "bfloat16"]


@pytest.mark.parametrize(
    ("dtype", "full_scale"),
    [(dtype, scale) for scale in (1.0, 1e6) for dtype in (*NARROW, "int32", "int64")]
    + [(dtype, None) for dtype in NARROW],
)
def test_negative_values_are_refused_as_decibels(dtype: str, full_scale: float | None) -> None:
    decibels = torch.tensor([[-23, 0, 1]]).to(getattr(torch, dtype))
    for x in (decibels, decibels.numpy()) if dtype != "bfloat16" else (decibels,):
        with pytest.raises(
            ImageError, match=r"never negative, got values from -23 to 1; .*decibels\? use 10\*\*\(x/20\)"
        ):
            normalize_amplitude(x, full_scale=full_scale)


@pytest.mark.parametrize("value", [-1e-3, -1e-45])
def test_not_even_a_little_below_zero_is_clipped(value: float) -> None:
    with pytest.raises(ImageError, match="never negative"):
        normalize_amplitude(np.array([[value, 0.5]]), full_scale=10)
    np.testing.assert_array_equal(normalize_amplitude(np.array([[-0.0, 0.5]])), [[0, 0.5]])


def test_the_sign_of_complex_values_is_free() -> None:
    np.testing.assert_allclose(normalize_amplitude(np.array([[-30 - 40j, -10]]), full_scale=100), [[0.5, 0.1]])


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (np.array([[0.5, 1.5]]), "full_scale"),
        (np.array([[0.25, 1.00002]]), r"must be in \[0, 1\], got values from 0.25 to 1.00002; pass full_scale"),
        (np.array([[300 + 4j]]), "full_scale"),
        (np.array([[np.nan, 0.5]]), "NaN"),
        (np.array([[np.inf, 0.5]]), "infinite"),
        (np.array([[complex(np.nan, 0)]]), "NaN"),
        (np.zeros((0, 3)), r"\(0, 3\)"),
        (np.array([["a"]]), "<U1"),
        (np.array([[None]], dtype=object), "object"),
        (np.array([[True]]), "bool"),
        pytest.param(
            np.array([[0.5]], dtype=np.longdouble),
            "up to 64 bits",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is double here"),
        ),
        ([[0.1, 0.2]], "list.*numpy.asarray"),
        (np.float32(0.5), "float32.*numpy.asarray"),
        (0.5, "got float;"),
    ],
)
def test_an_image_that_has_no_amplitude_in_range_is_refused(image: np.ndarray, hint: str) -> None:
    with pytest.raises(ImageError, match=hint):
        normalize_amplitude(image)


def test_nan_is_refused_with_full_scale_too() -> None:
    for bad in (math.nan, math.inf):
        with pytest.raises(ImageError, match="finite"):
            normalize_amplitude(np.array([[bad, 3.0]]), full_scale=10)


@pytest.mark.parametrize("full_scale", [0, -1.0, math.nan, math.inf])
def test_full_scale_must_be_positive(full_scale: float) -> None:
    with pytest.raises(ValueError, match="full_scale"):
        normalize_amplitude(np.array([[1.0]]), full_scale=full_scale)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", ">i2", ">f2", "<f4", ">f4", ">f8", ">c8", ">c16"])
def test_every_byte_order_and_memory_order_is_taken(view: Callable[[np.ndarray], np.ndarray], dtype: str) -> None:
    full = np.arange(20).reshape(4, 5).astype(dtype)
    image = view(full)
    before = image.copy()
    result = normalize_amplitude(image, full_scale=19)
    np.testing.assert_array_equal(result, view(normalize_amplitude(full, full_scale=19)))
    np.testing.assert_allclose(result, np.abs(before.astype(complex)) / 19, atol=1e-3)
    assert result.dtype.isnative
    assert not np.shares_memory(result, full)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.complex64])
def test_a_single_value_without_axes_stays_one(dtype: type) -> None:
    for x in (np.array(3, dtype), torch.from_numpy(np.array(3, dtype)), np.array([7, 3], dtype)[::-1][0, ...]):
        result = normalize_amplitude(x, full_scale=4)
        assert type(result) is type(x)
        assert result.shape == ()
        assert float(result) == 0.75


@pytest.mark.parametrize(
    ("dtype", "trained", "warned"),
    [(np.uint16, 3000, True), (np.uint16, 65535, False), (np.uint8, 3000, False), (np.uint16, None, False)],
)
def test_integers_that_would_be_divided_by_more_than_in_training_draw_a_warning(
    dtype: type, trained: float | None, warned: bool
) -> None:
    image = np.arange(4, dtype=dtype).reshape(2, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        normalize_amplitude(image, trained=trained)
    assert [warning.category for warning in caught] == [RadiometryWarning] * warned
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalize_amplitude(image, trained=trained, full_scale=3000)
        normalize_amplitude(image / 4, trained=trained)
