from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarhub_models.errors import ImageError, UnknownNameError
from sarhub_models.transforms import OPERATORS, SarTransform, normalize_amplitude

RECIPES = {
    "tsx": ("reinhard_devlin", 3.5, 4.5, 4.0, 0.17721633016340846, 0.023696591996910408),
    "ben": ("ptls", 0.0, 2.0, 1.0, 0.5995, 0.0005743462),
    "osu": ("ptls", 0.0, 3.0, 1.5, 0.3159206957121415, 0.034312685984107194),
}


def transform(name: str = "osu", size: int | None = 32, **options: object) -> SarTransform:
    return SarTransform(*RECIPES[name], size=size, **options)


def speckle(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).rayleigh(0.1, shape).clip(0, 1).astype(np.float32)


# ----------------------------------------------------------------------------------------- normalize_amplitude


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
        result = np.asarray(normalize_amplitude(x, 1000))
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
        result = np.asarray(normalize_amplitude(x, full_scale))
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
            normalize_amplitude(x, full_scale)


@pytest.mark.parametrize("value", [-1e-3, -1e-45])
def test_not_even_a_little_below_zero_is_clipped(value: float) -> None:
    with pytest.raises(ImageError, match="never negative"):
        normalize_amplitude(np.array([[value, 0.5]]), 10)
    np.testing.assert_array_equal(normalize_amplitude(np.array([[-0.0, 0.5]])), [[0, 0.5]])


def test_the_sign_of_complex_values_is_free() -> None:
    np.testing.assert_allclose(normalize_amplitude(np.array([[-30 - 40j, -10]]), 100), [[0.5, 0.1]])


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
            normalize_amplitude(np.array([[bad, 3.0]]), 10)


@pytest.mark.parametrize("full_scale", [0, -1.0, math.nan, math.inf])
def test_full_scale_must_be_positive(full_scale: float) -> None:
    with pytest.raises(ValueError, match="full_scale"):
        normalize_amplitude(np.array([[1.0]]), full_scale)


VIEWS = [np.flipud, np.fliplr, np.rot90, np.transpose, lambda x: x[:, ::-2], lambda x: x[1:, 1:-1]]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", ">i2", ">f2", "<f4", ">f4", ">f8", ">c8", ">c16"])
def test_every_byte_order_and_memory_order_is_taken(view: Callable[[np.ndarray], np.ndarray], dtype: str) -> None:
    full = np.arange(20).reshape(4, 5).astype(dtype)
    image = view(full)
    before = image.copy()
    result = normalize_amplitude(image, 19)
    np.testing.assert_array_equal(result, view(normalize_amplitude(full, 19)))
    np.testing.assert_allclose(result, np.abs(before.astype(complex)) / 19, atol=1e-3)
    assert result.dtype.isnative
    assert not np.shares_memory(result, full)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.complex64])
def test_a_single_value_without_axes_stays_one(dtype: type) -> None:
    for x in (np.array(3, dtype), torch.from_numpy(np.array(3, dtype)), np.array([7, 3], dtype)[::-1][0, ...]):
        result = normalize_amplitude(x, 4)
        assert type(result) is type(x)
        assert result.shape == ()
        assert float(result) == 0.75


# ------------------------------------------------------------------------------------------------ SarTransform


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_chain_is_operator_then_mean_and_std_then_channels_then_size(name: str) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2.functional")
    operator, _, _, evaluation, mean, std = RECIPES[name]
    chip = speckle(41, 37)
    standardized = torch.from_numpy((OPERATORS[operator](chip, evaluation) - mean) / std)
    for size in (32, 64):
        expected = v2.resize(standardized.expand(3, 41, 37), [size, size], antialias=True)
        torch.testing.assert_close(transform(name, size)(chip), expected)
    torch.testing.assert_close(transform(name, None)(chip), standardized.expand(3, 41, 37))


@pytest.mark.parametrize("crop", [10, 64])
def test_the_middle_is_cut_out_first_and_what_is_missing_is_zero(crop: int) -> None:
    chip = speckle(40, 40)
    half = abs(crop - 40) // 2
    middle = chip[half : 40 - half, half : 40 - half] if crop < 40 else np.pad(chip, half)
    assert torch.equal(transform(size=None, crop=crop)(chip), transform(size=None)(middle))


def test_all_forms_of_one_chip_give_the_same() -> None:
    chip = speckle(40, 40)
    expected = transform()(chip)
    assert expected.dtype == torch.float32
    assert expected.shape == (3, 32, 32)
    phase = np.exp(1j * np.random.default_rng(0).uniform(-np.pi, np.pi, chip.shape)).astype(np.complex64)
    for same in (chip[None], torch.from_numpy(chip), torch.from_numpy(chip)[None], np.asfortranarray(chip)):
        assert torch.equal(transform()(same), expected)
    for close in (chip.astype(np.float64), chip.astype(">f4"), chip * phase, torch.from_numpy(chip * phase)):
        torch.testing.assert_close(transform()(close), expected, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 4), st.sampled_from([None, 8, 20]), st.sampled_from(sorted(RECIPES)), st.integers(1, 4))
@settings(max_examples=30)
def test_a_batch_equals_its_chips(count: int, size: int | None, name: str, channels: int) -> None:
    batch = speckle(count, 1, 15, 13)
    prepare = transform(name, size, channels=channels)
    result = prepare(batch)
    assert result.shape == (count, channels, size or 15, size or 13)
    torch.testing.assert_close(result, torch.stack([prepare(chip) for chip in batch]))
    assert all(torch.equal(result[:, 0], result[:, c]) for c in range(channels))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", ">f8", ">c8"])
def test_views_of_a_chip_are_prepared_as_their_copies(view: Callable[[np.ndarray], np.ndarray], dtype: str) -> None:
    image = view(speckle(30, 40).astype(dtype))
    assert torch.equal(transform()(image), transform()(image.astype(image.dtype.newbyteorder("="), order="C")))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2, 9), (9, 2), (1, 300), (3, 1, 1, 1)])
def test_tiny_chips_of_any_precision_are_prepared(shape: tuple[int, ...], size: int | None, training: bool) -> None:
    lead = (3, 3) if len(shape) == 4 else (3,)
    for name in RECIPES:
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex128):
            chip = torch.from_numpy(speckle(*shape)).to(dtype)
            result = transform(name, size, training=training)(chip)
            assert result.dtype == torch.float32
            assert result.isfinite().all()
            assert result.shape == (*lead, size or shape[-2], size or shape[-1])


def test_the_input_is_left_alone() -> None:
    chip = speckle(20, 20)
    copy = chip.copy()
    output = transform("osu", None, channels=1)(torch.from_numpy(chip))
    output.zero_()
    np.testing.assert_array_equal(chip, copy)


@pytest.mark.parametrize(
    ("x", "hint"),
    [
        (np.zeros((8, 8), np.uint8), "normalize_amplitude"),
        (np.zeros((3, 8, 8), np.float32), r"x\[:, None\]"),
        (np.zeros((2, 3, 8, 8), np.float32), r"\(2, 3, 8, 8\)"),
        (np.zeros(8, np.float32), r"\(8,\)"),
        (torch.zeros(0, 1, 8, 8), r"\(0, 1, 8, 8\)"),
        (torch.zeros(8, 0), r"\(8, 0\)"),
        (torch.full((8, 8), math.nan), "NaN"),
        (torch.full((8, 8), -math.inf), "infinite"),
        (torch.full((8, 8), 1.5), "full_scale"),
        (torch.full((8, 8), -0.5), "never negative.*decibels"),
        ([[0.1]], "list.*numpy.asarray"),
        (np.float32(0.1), "float32"),
        (np.array(0.1), r"\(\)"),
        (np.array([[None]], dtype=object), "object"),
    ],
)
def test_bad_input_is_named(x: object, hint: str) -> None:
    with pytest.raises(ImageError, match=hint):
        transform()(x)


def test_values_are_not_looked_at_without_validation() -> None:
    chip = torch.full((8, 8), 0.5)
    chip[0, 0] = math.nan
    assert transform(validate=False)(chip).isnan().any()


@pytest.mark.parametrize(
    "options", [{"std": 0.0}, {"std": math.nan}, {"mean": math.inf}, {"size": 0}, {"crop": 0}, {"channels": 0}]
)
def test_impossible_numbers_are_refused(options: dict[str, float]) -> None:
    arguments = {"mean": 0.0, "std": 1.0, "size": 8, "channels": 3} | options
    with pytest.raises(ValueError, match="expected"):
        SarTransform("ptls", 0, 1, None, **arguments)
    with pytest.raises(UnknownNameError):
        SarTransform("gamma", 0, 1, None, 0.0, 1.0, 8)


# ---------------------------------------------------------------------------------------------- training mode


def geometry(x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Run the chain in training mode with an operator that does not vary, so that only the geometry is random."""
    prepare = SarTransform("log_amplitude", 8.0, 8.0, 8.0, mean=0.0, std=1.0, size=None, channels=1, training=True)
    return prepare(x, torch.Generator().manual_seed(seed))[:, 0]


def centroid(x: torch.Tensor) -> torch.Tensor:
    """Centre of mass of each (H, W) chip relative to the image centre, as (row, column)."""
    rows = torch.arange(x.shape[-2]) - (x.shape[-2] - 1) / 2
    columns = torch.arange(x.shape[-1]) - (x.shape[-1] - 1) / 2
    mass = x.sum((-2, -1))
    return torch.stack([(x.sum(-1) * rows).sum(-1) / mass, (x.sum(-2) * columns).sum(-1) / mass], dim=-1)


@pytest.mark.parametrize("shape", [(65, 65), (65, 97)])
def test_training_flips_half_and_rotates_by_up_to_ten_degrees(shape: tuple[int, int]) -> None:
    chips = torch.zeros(400, 1, *shape)
    row, column = shape[0] // 2, shape[1] // 2 + 24
    chips[:, :, row - 2 : row + 3, column - 2 : column + 3] = 1.0
    y, x = centroid(geometry(chips)).unbind(-1)
    flipped = x < 0
    assert 0.4 < flipped.float().mean() < 0.6
    angles = torch.rad2deg(torch.atan2(y, x.abs()))
    assert angles.abs().max() <= 10.2
    assert angles.max() > 8.5
    assert angles.min() < -8.5
    torch.testing.assert_close(torch.hypot(x, y), torch.full((400,), 24.0), atol=0.2, rtol=0)  # rigid
    assert abs(float(angles[flipped].mean() - angles[~flipped].mean())) < 2


def test_pixels_from_outside_become_the_mean() -> None:
    prepare = SarTransform("log_amplitude", 8.0, 8.0, 8.0, mean=0.3, std=0.1, size=None, channels=1, training=True)
    corners = prepare(torch.ones(50, 1, 33, 33), torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert (corners == 0).any()
    assert (corners >= 0).all()


def test_training_draws_anew_for_each_chip_and_repeats_with_the_seed() -> None:
    batch = torch.from_numpy(speckle(1, 1, 24, 24)).expand(6, 1, 24, 24).clone()
    prepare = transform(training=True)
    first = prepare(batch, torch.Generator().manual_seed(1))
    assert torch.equal(first, prepare(batch, torch.Generator().manual_seed(1)))
    assert len({chip.sum().item() for chip in first}) == 6
    torch.manual_seed(3)
    single = prepare(batch[0])
    assert single.shape == (3, 32, 32)
    assert not torch.equal(single, prepare(batch[0]))
    assert torch.equal(prepare.eval()(batch[0]), transform()(batch[0]))


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("training", [False, True])
def test_a_batch_is_prepared_without_a_look_at_its_values(name: str, training: bool) -> None:
    """A meta tensor has no values: any step that would make the host wait for an accelerator fails on it."""
    prepare = transform(name, training=training, validate=False)
    assert prepare(torch.empty(4, 1, 20, 20, device="meta")).shape == (4, 3, 32, 32)
    with pytest.raises((NotImplementedError, RuntimeError)):
        transform(name, training=training)(torch.empty(4, 1, 20, 20, device="meta"))
