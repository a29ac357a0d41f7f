"""Dynamic-range operators for SAR amplitude: each is one function, registered.

All operators take NumPy arrays or tensors of shape (..., H, W) with amplitude in [0, 1], on any device, and treat
every (H, W) chip by itself; their parameter is one number, or one for each chip (shape ``x.shape[:-2]``). The result
has the type, shape, dtype and device of the input; half precision is computed in float32. A chip that holds a NaN
comes out as all NaN, never as something plausible. Values are not checked otherwise: see
:class:`~sarhub_models.transforms.Pipeline` for the chain that does. Nothing here waits for an accelerator.

Whoever has no tensor needs no torch: this module is imported without it, for what it says of the operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import ImageError, OptionError, UnknownNameError, closest

if TYPE_CHECKING:
    from torch import Tensor

    Parameter = float | np.ndarray | Tensor

__all__ = [
    "OPERATORS",
    "Operator",
    "log_amplitude",
    "operator_named",
    "ptls",
    "register_operator",
    "reinhard_devlin",
]

Array = TypeVar("Array", np.ndarray, "Tensor")
Function = Callable[[Any, Any], Any]

_ADAPTATION = 0.169  # u: the level that the eye is adapted to
_LOCAL = 1e-4  # l: share of the pixel itself in the adaptation
# 1 - min x is held at this or more, so that a chip of ones has a finite (if huge) contrast exponent
_LEAST_RANGE = 1e-6
_SAMPLE = 1024  # values that say where to look for percentiles
_FEW = 0.2  # share of the values at each end up to which that pays


@dataclass(frozen=True)
class Operator:
    """A registered operator.

    Attributes:
        function: of amplitude and parameter.
        title: what it is called in texts; empty for the one that changes nothing.
        parameter: name of the parameter.
        low: smallest possible parameter.
        high: largest possible parameter.
    """

    function: Function
    title: str
    parameter: str
    low: float
    high: float

    def __call__(self, x: Array, parameter: Any) -> Array:
        """Apply the function."""
        result: Array = self.function(x, parameter)
        return result


OPERATORS: dict[str, Operator] = {}
"""The operators by name."""


def register_operator(
    name: str, *, title: str, parameter: str, low: float = -math.inf, high: float = math.inf
) -> Callable[[Function], Function]:
    """Register a function (amplitude, parameter) under the name that recipes and the manifest use.

    The other arguments are the attributes of :class:`Operator`.
    """

    def register(function: Function) -> Function:
        OPERATORS[name] = Operator(function, title, parameter, low, high)
        return function

    return register


def operator_named(name: str) -> Operator:
    """Return an operator.

    Raises:
        UnknownNameError: there is no such operator; the message gives the closest.
    """
    if name not in OPERATORS:
        raise UnknownNameError(
            f"no dynamic-range operator is called {name!r}{closest(name, OPERATORS)}; known: {', '.join(OPERATORS)}"
        )
    return OPERATORS[name]


@register_operator("reinhard_devlin", title="Reinhard-Devlin operator", parameter="b", low=math.ulp(0.0))
def reinhard_devlin(x: Array, b: Parameter) -> Array:
    """Photoreceptor tone mapping on one channel.

    With ``u = 0.169``, ``l = 1e-4``, ``m = 0.3 + 0.7 ((1 - u) / (1 - min x))^1.4`` and ``I = l x + (1 - l) u``:
    ``y = x / (x + (b I)^m)``.

    Where ``min x = 1`` the formula divides by zero; ``1 - min x`` is held at 1e-6 or more, so a chip of ones gives
    ones for every b below 5.9. Tensors: differentiable in ``x`` and ``b``.

    Args:
        x: amplitude in [0, 1], shape (..., H, W), floating point.
        b: brightness, above 0; scalar or shape (...). The TerraSAR-X weights were trained with 3.5 to 4.5.

    Returns:
        Array like ``x`` with values in [0, 1].

    Raises:
        ImageError: ``x`` is not floating point, is empty, or has fewer than two dimensions.
        OptionError: ``b`` has the wrong shape or is not above 0 (its values are not looked at on an accelerator).

    Source: Reinhard and Devlin, Dynamic range reduction inspired by photoreceptor physiology, IEEE TVCG 11(1), 2005.
    """
    xp, work = _working(x)
    brightness = _per_pixel(_parameter("reinhard_devlin", b, x), work)
    darkest = xp.amin(work, axis=(-2, -1), keepdims=True)
    exponent = 0.3 + 0.7 * ((1 - _ADAPTATION) / xp.clip(1 - darkest, _LEAST_RANGE, None)) ** 1.4
    adaptation = _LOCAL * work + (1 - _LOCAL) * _ADAPTATION
    with np.errstate(over="ignore", under="ignore"):
        return _like(work / (work + (brightness * adaptation) ** exponent), x)


@register_operator(
    "ptls", title="percent-truncated linear stretch (PTLS)", parameter="p", low=0.0, high=math.nextafter(50.0, 0.0)
)
def ptls(x: Array, p: Parameter) -> Array:
    """Percent-truncated linear stretch: the chip's p-th percentile becomes 0, its (100 - p)-th becomes 1.

    ``y = clip((x - lo) / (hi - lo), 0, 1)``; the percentiles are interpolated linearly between order
    statistics, as ``numpy.percentile`` does. As p is below 50, y always reaches 0 and 1, so no further stretch is
    needed. Where lo equals hi, which divides by zero, y is the limit of the stretch: 1 above hi and 0 elsewhere;
    a constant chip gives zeros. Tensors: differentiable in ``x`` and ``p``.

    Args:
        x: amplitude in [0, 1], shape (..., H, W), floating point.
        p: percent cut off at each end, in [0, 50); scalar or shape (...).

    Returns:
        Array like ``x`` with values in [0, 1].

    Raises:
        ImageError: ``x`` is not floating point, is empty, or has fewer than two dimensions.
        OptionError: ``p`` has the wrong shape or is outside [0, 50) (its values are not looked at on an accelerator).
    """
    xp, work = _working(x)
    if not isinstance(work, np.ndarray) and work.device.type == "cpu" and not _differentiated(work, p):
        # selecting few order statistics, as NumPy does, beats the sort that torch offers
        return _like(xp.from_numpy(ptls(work.detach().numpy(), p)), x)
    percent = _parameter("ptls", p, x)
    return _like((_ptls_numpy if isinstance(work, np.ndarray) else ptls_sorted)(work, percent), x)


@register_operator(
    "log_amplitude", title="log2(1 + (2^bits - 1) x) / bits", parameter="bits", low=math.ulp(0.0), high=64.0
)
def log_amplitude(x: Array, bits: Parameter) -> Array:
    """Logarithm of amplitude that was quantized with so many bits: ``y = log2(1 + (2^bits - 1) x) / bits``.

    Maps 0 to 0 and 1 to 1. Tensors: differentiable in ``x`` and ``bits``.

    Args:
        x: amplitude in [0, 1], shape (..., H, W), floating point.
        bits: bits of the digital numbers, above 0 and at most 64; scalar or shape (...).

    Returns:
        Array like ``x`` with values in [0, 1].

    Raises:
        ImageError: ``x`` is not floating point, is empty, or has fewer than two dimensions.
        OptionError: ``bits`` has the wrong shape or is outside (0, 64] (not looked at on an accelerator).
    """
    xp, work = _working(x)
    depth = _per_pixel(_parameter("log_amplitude", bits, x), work)
    poisoned = work + 0 * xp.amin(work, axis=(-2, -1), keepdims=True)  # one NaN makes the whole chip NaN
    return _like(xp.clip(xp.log2(1 + (2.0**depth - 1) * poisoned) / depth, 0, 1), x)


@register_operator("none", title="", parameter="parameter")
def unchanged(x: Array, parameter: Parameter) -> Array:
    """Return the amplitude as it is, the operator of data sets that are trained without one.

    Args:
        x: amplitude in [0, 1], shape (..., H, W), floating point.
        parameter: without a meaning; there because every operator has one.

    Returns:
        Array like ``x``; one NaN makes the whole chip NaN.

    Raises:
        ImageError: ``x`` is not floating point, is empty, or has fewer than two dimensions.
    """
    xp, work = _working(x)
    return _like(work + 0 * xp.amin(work, axis=(-2, -1), keepdims=True), x)


def _working(x: Any) -> tuple[Any, Any]:
    """Check ``x``; return the library it belongs to and ``x`` in the precision to compute in."""
    xp: Any
    if isinstance(x, np.ndarray):
        xp, floating, narrow = np, x.dtype.kind == "f", x.dtype == np.float16
    else:
        import torch

        if not isinstance(x, torch.Tensor):
            raise ImageError(f"expected a NumPy array or a tensor, got {type(x).__name__}")
        xp, floating, narrow = torch, x.dtype.is_floating_point, x.dtype in (torch.float16, torch.bfloat16)
    if not floating:
        raise ImageError(
            f"expected floating-point amplitude in [0, 1], got {x.dtype}; call normalize_amplitude on it first"
        )
    if x.ndim < 2 or 0 in x.shape:
        raise ImageError(f"expected chips of shape (..., H, W) with at least one pixel, got {tuple(x.shape)}")
    if not narrow:
        return xp, x
    return xp, x.astype(np.float32) if isinstance(x, np.ndarray) else x.float()


def _like(y: Any, x: Any) -> Any:
    return y.astype(x.dtype, copy=False) if isinstance(y, np.ndarray) else y.to(x.dtype)


def _parameter(operator: str, value: Any, x: Any) -> Any:
    """Return a parameter as float64, of the kind and on the device of ``x``, with shape () or ``x.shape[:-2]``."""
    row, on_array = OPERATORS[operator], isinstance(x, np.ndarray)
    if isinstance(value, float | int):
        if not row.low <= value <= row.high:
            raise OptionError(f"expected {row.parameter} in [{row.low:g}, {row.high:g}], got {value}")
        if on_array:
            return np.float64(value)
    import torch

    double = torch.float64 if on_array or x.device.type != "mps" else torch.float32  # mps lacks it
    if isinstance(value, float | int):
        return torch.full((), value, dtype=double, device=x.device)  # a copy from the host would wait for the device
    if isinstance(value, np.ndarray):
        value = np.array(value, dtype=np.float64)  # torch takes neither a foreign byte order nor negative strides
    numbers = torch.as_tensor(value)
    if numbers.ndim and numbers.shape != x.shape[:-2]:
        raise OptionError(
            f"expected {row.parameter} as a scalar or of shape {tuple(x.shape[:-2])}, one for each chip, "
            f"got shape {tuple(numbers.shape)}"
        )
    if numbers.device.type == "cpu" and not ((numbers >= row.low) & (numbers <= row.high)).all():
        raise OptionError(f"expected {row.parameter} in [{row.low:g}, {row.high:g}], got {numbers.tolist()}")
    if on_array:
        return numbers.detach().cpu().numpy().astype(np.float64)
    return numbers.to(x.device, double, non_blocking=True)


def _differentiated(*values: Any) -> bool:
    import torch

    return torch.is_grad_enabled() and any(isinstance(v, torch.Tensor) and v.requires_grad for v in values)


def _per_pixel(parameter: Any, work: Any) -> Any:
    """Return a parameter in the dtype of ``work`` with two axes that broadcast over the pixels."""
    cast = parameter.astype(work.dtype) if isinstance(work, np.ndarray) else parameter.to(work.dtype)
    return cast[..., None, None]


def _ptls_numpy(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    chips = x.reshape(-1, *x.shape[-2:])
    y = np.empty(chips.shape, chips.dtype)
    percents = p.ravel().tolist() if p.ndim else [float(p)] * len(chips)
    for chip, percent, out in zip(chips, percents, y, strict=True):
        _stretch(chip, percent, out)
    return y.reshape(x.shape)


def _stretch(chip: np.ndarray, percent: float, out: np.ndarray) -> None:
    low, high = chip.dtype.type(_limits(chip.ravel(), percent))
    if low == high:
        np.greater(chip, high, out=out, casting="unsafe")
        return
    np.subtract(chip, low, out=out)
    with np.errstate(over="ignore"):  # a width near the smallest number; what overflows is clipped to 1
        np.divide(out, high - low, out=out)
    out.clip(0, 1, out=out)


def _limits(flat: np.ndarray, percent: float) -> tuple[float, float]:
    """Return the percentiles at ``percent`` and ``100 - percent``; the second is NaN if any value is.

    Each is interpolated between two neighbors in rank: one selection finds the inner one, the outer one is the
    extreme of the few values beyond it.
    """
    position = (flat.size - 1) * (percent / 100)
    outer = int(position)
    inner = min(outer + 1, flat.size - 1)
    weight = position - outer
    values = _extremes(flat, inner + 1)
    last = values.size - 1
    values.partition(inner)
    extreme, neighbor = float(values[: outer + 1].max()), float(values[inner])
    low = extreme + (neighbor - extreme) * weight
    start = inner if 2 * inner <= last else 0  # what lies before the inner one is smaller, so it need not be looked at
    values[start:].partition(last - inner - start)
    extreme, neighbor = float(values[last - outer :].min()), float(values[last - inner])  # NaN is last in rank
    return low, extreme + (neighbor - extreme) * weight


def _extremes(flat: np.ndarray, count: int) -> np.ndarray:
    """Return a copy of some values, among which are the ``count`` smallest, the ``count`` largest and all NaN.

    To select among all values is slow where vector instructions do not help it. If few are wanted, a sample says how
    small and how large they are at least; where it misleads, all values are returned.
    """
    if flat.size >= 4 * _SAMPLE and count <= _FEW * flat.size:
        sample = np.sort(flat[:: flat.size // _SAMPLE | 1])  # an odd step, so that columns take turns
        expected = count / flat.size * sample.size
        rank = math.ceil(expected + 3 * math.sqrt(expected))  # seldom too few, as their number is Poisson's, nearly
        above, below = flat > sample[rank], flat < sample[-1 - rank]
        if max(np.count_nonzero(above), np.count_nonzero(below)) <= flat.size - count:
            return flat.compress(~(above & below))
    return flat.copy()


def ptls_sorted(x: Tensor, p: Tensor) -> Tensor:
    """PTLS of all chips at once, differentiable, without a look at any value from the host."""
    import torch

    ordered = x.flatten(-2).sort(dim=-1).values
    last = ordered.shape[-1] - 1
    position = (last * (p / 100)).expand(x.shape[:-2]).unsqueeze(-1)
    below = position.detach().long().clamp(max=last)
    above = (below + 1).clamp(max=last)
    weight = (position - below).to(x.dtype)
    low = torch.lerp(ordered.gather(-1, below), ordered.gather(-1, above), weight).unsqueeze(-1)
    high = torch.lerp(ordered.gather(-1, last - below), ordered.gather(-1, last - above), weight).unsqueeze(-1)
    width = high - low
    stretched = ((x - low) / torch.where(width > 0, width, 1)).clamp(0, 1)
    y = torch.where(width > 0, stretched, (x > high).to(x.dtype))
    return torch.where(ordered[..., -1:, None].isnan(), torch.nan, y)  # NaN sorts last
