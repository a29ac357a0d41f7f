from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarhub_models.errors import ImageError
from sarhub_models.transforms import OPERATORS, log_amplitude, ptls, reinhard_devlin

from .chains import chain

RANGES = {"reinhard_devlin": (3.0, 5.0), "ptls": (0.0, 49.0), "log_amplitude": (1.0, 32.0), "none": (0.0, 0.0)}
PIXELS = [1, 2, 3, 50, 98]


def excerpt() -> np.ndarray:
    """A 9×11 chip given by a formula; the numbers below were computed from the operators' equations in float64."""
    return ((((np.arange(99) * 37) % 101) / 100) ** 2).reshape(9, 11)


EXPECTED = [
    (ptls, excerpt(), 1.5, [0.14079848, 0.5639388, 0.01005461, 0.10525345, 0.8529353]),
    (ptls, excerpt(), 0.0, [0.1369, 0.5476, 0.01, 0.1024, 0.8281]),
    (ptls, excerpt(), 20.0, [0.16194079, 0.83743421, 0.0, 0.10519737, 1.0]),
    (reinhard_devlin, 0.05 + 0.9 * excerpt(), 4.0, [0.1964673, 0.43378999, 0.07688595, 0.16713673, 0.52880711]),
    (reinhard_devlin, 0.05 + 0.9 * excerpt(), 3.6, [0.21152415, 0.45669743, 0.08373332, 0.18045054, 0.55184188]),
    (log_amplitude, excerpt(), 16.0, [0.82070832, 0.94570078, 0.5848951, 0.79453004, 0.98299259]),
]


@st.composite
def chips(draw: st.DrawFn, lead: int = 0) -> np.ndarray:
    shape = draw(hnp.array_shapes(min_dims=2 + lead, max_dims=2 + lead, min_side=1, max_side=12))
    values = st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.25, 0.5, 1.0])  # ties are what images have
    return draw(hnp.arrays(np.float32, shape, elements=values))


def tensor_paths(x: np.ndarray) -> list[torch.Tensor]:
    """The same chips as a plain tensor, and as one that is differentiated, which takes another path."""
    return [torch.from_numpy(x), torch.from_numpy(x).requires_grad_()]


@pytest.mark.parametrize(("operator", "x", "value", "expected"), EXPECTED)
def test_operators_match_their_equations(operator, x, value, expected) -> None:
    for dtype, tolerance in ((np.float64, 1e-8), (np.float32, 1e-5), (np.float16, 4e-3)):
        given_x = x.astype(dtype)
        result = operator(given_x, value)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.ravel()[PIXELS], expected, atol=tolerance, rtol=0)
        for tensor in tensor_paths(given_x):
            result = operator(tensor, value).detach()
            assert result.dtype == tensor.dtype
            np.testing.assert_allclose(result.ravel()[PIXELS].numpy(), expected, atol=tolerance, rtol=0)


def test_operators_match_the_released_code(test_data: Path) -> None:
    vectors = np.load(test_data / "vectors" / "draa.npz")
    for i in range(4):
        x = vectors[f"x{i}"]
        cases = [
            (reinhard_devlin, float(vectors[f"b{i}"]), f"reinhard_devlin{i}"),
            (reinhard_devlin, 4.0, f"reinhard_devlin_eval{i}"),
            (ptls, float(vectors[f"p{i}"]), f"ptls{i}"),
            (ptls, 1.5, f"ptls_eval_osu{i}"),
            (ptls, 1.0, f"ptls_eval_ben{i}"),
        ]
        for operator, value, key in cases:
            for chip in (x, *tensor_paths(x)):
                result = operator(chip, value)
                result = result.detach().numpy() if isinstance(result, torch.Tensor) else result
                np.testing.assert_allclose(result, vectors[key], atol=1e-5, rtol=0, err_msg=key)


@pytest.mark.slow
@given(chips(), st.floats(0, 50, exclude_max=True))
def test_ptls_uses_the_percentiles_of_numpy(x: np.ndarray, p: float) -> None:
    exact = x.astype(np.float64)
    low, high = np.percentile(exact, [p, 100 - p])
    for result in (ptls(exact, p), ptls(torch.from_numpy(exact).requires_grad_(), p).detach().numpy()):
        if high - low > 1e-6:  # below, rounding of the percentiles decides
            np.testing.assert_allclose(result, np.clip((exact - low) / (high - low), 0, 1), atol=1e-6)
            assert result.min() == 0
            assert result.max() == 1


@pytest.mark.parametrize("p", [0.0, 0.003, 1.5, 3.0, 10.0, 19.9, 30.0, 49.9])
@pytest.mark.parametrize("kind", ["speckle", "levels", "constant", "rows", "misleading", "float64", "nan"])
def test_percentiles_of_large_chips_are_exact(kind: str, p: float) -> None:
    chip = np.random.default_rng(0).gamma(1, 0.1, (96, 160)).clip(0, 1).astype(np.float32)
    if kind == "levels":  # most values are tied
        chip = np.round(chip * 3) / 3
    elif kind == "constant":
        chip[3:] = 0.25
    elif kind == "rows":  # sorted along the rows
        chip = np.sort(chip.ravel()).reshape(chip.shape)
    elif kind == "misleading":  # one value in fifteen is unlike the others, which a sample with that step would not see
        chip.ravel()[::15] += 2
    elif kind == "float64":
        chip = chip.astype(np.float64)
    elif kind == "nan":
        chip[50, 70] = np.nan
    ordered = np.sort(chip.ravel())
    rank = (ordered.size - 1) * (p / 100)
    below, weight = int(rank), rank - int(rank)
    low = float(ordered[below]) + (float(ordered[below + 1]) - float(ordered[below])) * weight
    high = float(ordered[-1 - below]) + (float(ordered[-2 - below]) - float(ordered[-1 - below])) * weight
    low, high = chip.dtype.type(low), chip.dtype.type(high)
    expected = (chip > high) if low == high else ((chip - low) / (high - low)).clip(0, 1)
    if kind == "nan":
        expected = np.full(chip.shape, np.nan)
    np.testing.assert_array_equal(ptls(chip, p), expected)
    np.testing.assert_array_equal(ptls(torch.from_numpy(chip), p).numpy(), expected)


@given(chips(), st.sampled_from(sorted(OPERATORS)), st.floats(0, 1))
def test_results_are_in_range_and_monotone(x: np.ndarray, name: str, share: float) -> None:
    low, high = RANGES[name]
    y = OPERATORS[name](x, low + share * (high - low))
    assert ((y >= 0) & (y <= 1)).all()
    order = np.argsort(x, axis=None)
    assert (np.diff(y.ravel()[order]) >= -1e-6).all()


@pytest.mark.slow
@given(chips(lead=2), st.sampled_from(sorted(OPERATORS)), st.data())
def test_a_batch_equals_its_chips_on_every_path(x: np.ndarray, name: str, data: st.DataObject) -> None:
    low, high = RANGES[name]
    # PTLS jumps where both percentiles meet; there, float32 and float64 interpolation may fall on either side
    values = np.round(data.draw(hnp.arrays(np.float64, x.shape[:2], elements=st.floats(low, high))))
    operator = OPERATORS[name]
    one_by_one = np.stack([[operator(x[i, j], values[i, j]) for j in range(x.shape[1])] for i in range(x.shape[0])])
    np.testing.assert_array_equal(operator(x, values), one_by_one)
    for tensor in tensor_paths(x):
        np.testing.assert_allclose(operator(tensor, torch.from_numpy(values)).detach(), one_by_one, atol=2e-5)
        np.testing.assert_allclose(operator(tensor, values).detach(), one_by_one, atol=2e-5)


@pytest.mark.slow
@given(chips(), st.floats(-1, 1))
def test_no_operator_leaves_the_chip_as_it_is(x: np.ndarray, parameter: float) -> None:
    np.testing.assert_array_equal(OPERATORS["none"](x, parameter), x)
    np.testing.assert_array_equal(chain("none", 0, 0, 0, mean=0, std=1, channels=1)(x)[0], x)


@pytest.mark.slow
@given(chips(), st.floats(0, 49), st.sampled_from([0.5, 0.25]))
def test_ptls_ignores_scale_and_order(x: np.ndarray, p: float, scale: float) -> None:
    exact = np.round(x, 3).astype(np.float64)
    reference = ptls(exact, p)
    np.testing.assert_allclose(ptls(exact * scale, p), reference, atol=1e-9)
    np.testing.assert_array_equal(ptls(np.ascontiguousarray(exact.T), p), reference.T)
    np.testing.assert_array_equal(ptls(exact.T, p), reference.T)  # not contiguous
    np.testing.assert_array_equal(ptls(exact[::-1], p), reference[::-1])


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_chip_is_defined(value: float) -> None:
    chip = np.full((5, 7), value, dtype=np.float32)
    for x in (chip, *tensor_paths(chip)):
        assert (ptls(x, 1.5) == 0).all()
        toned = reinhard_devlin(x, 4.0)
        assert (toned == toned[0, 0]).all()
        assert 0 <= toned[0, 0] <= 1
        if value == 1.0:
            assert (toned == 1).all()


def test_ptls_with_equal_percentiles_is_a_step() -> None:
    chip = np.zeros((10, 10), dtype=np.float32)
    chip[0, 0] = 0.2
    for x in (chip, *tensor_paths(chip)):
        np.testing.assert_array_equal(np.asarray(torch.as_tensor(ptls(x, 5.0)).detach()), chip > 0)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_nan_spoils_its_own_chip_and_no_other(name: str) -> None:
    batch = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    batch[1, 2, 3] = np.nan
    for x in (batch, *tensor_paths(batch)):
        nan = torch.as_tensor(OPERATORS[name](x, 4.0)).detach().isnan()
        assert nan[1].all()
        assert not nan[[0, 2]].any()


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_gradients_in_float64(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 4, 5, dtype=torch.float64, generator=generator) * 0.8 + 0.1
    value = torch.tensor([4.0, 6.3], dtype=torch.float64)
    x.requires_grad_()
    value.requires_grad_()
    assert torch.autograd.gradcheck(OPERATORS[name], (x, value))


def test_gradients_are_finite_where_the_formula_is_not() -> None:
    for value in (0.0, 0.5, 1.0):
        for operator, parameter in ((ptls, 1.0), (reinhard_devlin, 4.0)):
            x = torch.full((6, 6), value, requires_grad=True)
            operator(x, parameter).sum().backward()
            assert x.grad is not None
            assert x.grad.isfinite().all(), (operator, value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    for name, operator in OPERATORS.items():
        result = operator(x, 4.0)
        assert result.dtype == dtype, name
        torch.testing.assert_close(result, operator(x.float(), 4.0).to(dtype))


@pytest.mark.parametrize("name", sorted(OPERATORS))
@pytest.mark.parametrize(
    ("x", "hint"),
    [
        (np.zeros((4, 4), np.uint8), "normalize_amplitude"),
        (torch.zeros(4, 4, dtype=torch.complex64), "normalize_amplitude"),
        (np.zeros(4, np.float32), r"\(4,\)"),
        (torch.zeros(2, 0, 4), r"\(2, 0, 4\)"),
        ([[0.5]], "list"),
    ],
)
def test_bad_input_is_named(name: str, x: object, hint: str) -> None:
    with pytest.raises(ImageError, match=hint):
        OPERATORS[name](x, 2.0)


@pytest.mark.parametrize("value", [-0.1, 50.0, float("nan"), torch.tensor(60.0), np.array([1.0, 51.0])])
def test_percent_out_of_range_is_refused(value: object) -> None:
    for x in (np.zeros((2, 4, 4), np.float32), torch.zeros(2, 4, 4)):
        with pytest.raises(ValueError, match="expected p in"):
            ptls(x, value)


def test_parameters_of_the_wrong_shape_are_refused() -> None:
    for x in (np.zeros((2, 4, 4), np.float32), torch.zeros(2, 4, 4)):
        with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
            reinhard_devlin(x, np.array([4.0, 4.0, 4.0]))
    for value in (0.0, -1.0):
        with pytest.raises(ValueError, match="expected b"):
            reinhard_devlin(np.zeros((4, 4), np.float32), value)


def test_parameters_of_any_memory_and_byte_order_are_taken() -> None:
    batch = np.random.default_rng(0).random((3, 6, 6))
    values = np.array([4.5, 4.0, 3.5])
    for x in (batch, torch.from_numpy(batch)):
        expected = reinhard_devlin(x, values)
        for same in (values[::-1].copy()[::-1], values.astype(">f8"), values.astype(">f4")):
            np.testing.assert_array_equal(reinhard_devlin(x, same), expected)
