"""Amplitude in [0, 1] of the pixels of a file: complex values, integers, full scale; decided here alone."""

from __future__ import annotations

import math
import warnings
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError, NodataError, OptionError, RadiometryWarning

__all__ = ["as_tensor", "check_range", "normalize_amplitude", "real_amplitude"]

Array = TypeVar("Array", np.ndarray, Tensor)

# |z| of a complex chip that was scaled to 1 can exceed 1 by rounding; so much is clipped in silence
_ROUNDING = 1e-6
_TO_CALLER = 3  # from a warning to the line that calls normalize_amplitude


def normalize_amplitude(x: Array, *, full_scale: float | None = None, trained: float | None = None) -> Array:
    """Return the amplitude of an image in [0, 1].

    Complex values are replaced by their magnitude. Then, without ``full_scale``, the dtype alone decides, so that
    all images of a folder are treated alike: integers of 8 and 16 bits are divided by the largest value of their
    dtype (255 for uint8, 32767 for int16, 65535 for uint16), wider ones are refused; floating-point and complex
    images are taken to be in [0, 1] already, and it is an error if they are not. With ``full_scale``, every dtype is
    divided by it, and what exceeds 1 becomes 1. A negative value is always an error.

    Args:
        x: image or images, a NumPy array (of any byte and memory order) or tensor of any shape, zero-dimensional
            ones included; integer, floating point or complex.
        full_scale: amplitude that becomes 1, in the units of ``x``.
        trained: amplitude that became 1 in the data that the weights were trained on, where it is known.

    Returns:
        Array of the same shape in [0, 1]: float32 for integers, else the precision of ``x``.

    Raises:
        ImageError: ``x`` is neither array nor tensor, is not numeric, is empty, or holds NaN, infinity or a negative
            value; or, without ``full_scale``, it holds a value above 1 or integers of more than 16 bits.
        OptionError: ``full_scale`` is not a positive number.

    Warns:
        RadiometryWarning: integers are divided by the largest value of their dtype, which is above ``trained``.

    >>> normalize_amplitude(np.array([[0, 255]], dtype=np.uint8))
    array([[0., 1.]], dtype=float32)
    """
    if full_scale is not None and not (math.isfinite(full_scale) and full_scale > 0):
        raise OptionError(f"expected full_scale to be a positive number, got {full_scale}")
    tensor = as_tensor(x)
    if tensor.numel() == 0:
        raise ImageError(f"expected an image with at least one pixel, got shape {tuple(tensor.shape)}")
    values, largest = real_amplitude(tensor, full_scale=full_scale, trained=trained)
    check_range(values, bounded=largest is None)
    amplitude = (values if largest is None else values / largest).clamp(0, 1)
    return amplitude.numpy() if isinstance(x, np.ndarray) else amplitude


def as_tensor(x: Any) -> Tensor:
    """Copy a NumPy array (of any byte and memory order) to a tensor; pass a tensor through.

    Raises:
        ImageError: ``x`` is something else, or of no numeric dtype that torch has.
        NodataError: it is a masked array, and a value is masked.
    """
    if isinstance(x, Tensor):
        return x
    if not isinstance(x, np.ndarray):
        raise ImageError(f"expected a NumPy array or a tensor, got {type(x).__name__}; convert it with numpy.asarray")
    if isinstance(x, np.ma.MaskedArray) and (count := int(np.ma.getmaskarray(x).sum())):
        raise NodataError(
            f"{count} of {x.size} values are masked; fill them with x.filled(value), or give create_transform a "
            "policy: nodata='fill' or 'skip'"
        )
    kind, width = x.dtype.kind, x.dtype.itemsize
    if kind not in "biufc" or width > (16 if kind == "c" else 8):
        raise ImageError(
            f"expected an image of integer, floating-point (up to 64 bits) or complex dtype, got {x.dtype}"
        )
    # torch takes neither a foreign byte order nor negative strides
    return torch.from_numpy(np.array(x, dtype=f"={kind}{width}", order="C"))


def real_amplitude(
    x: Tensor, *, full_scale: float | None = None, trained: float | None = None
) -> tuple[Tensor, float | None]:
    """Return floating-point values and what they must be divided by; ``None``: they are in [0, 1] already.

    No value is looked at. Arguments and warnings are those of :func:`normalize_amplitude`.

    Raises:
        ImageError: ``x`` is boolean, or holds integers of more than 16 bits and there is no ``full_scale``.
    """
    if x.dtype == torch.bool:
        raise ImageError("expected an image of integer, floating-point or complex dtype, got bool")
    if x.is_complex():
        return x.abs(), full_scale
    if x.is_floating_point():
        return x, full_scale
    limits = torch.iinfo(x.dtype)
    if full_scale is None and limits.bits > 16:  # what NumPy and GDAL fall back on, whatever the range of the values
        raise ImageError(
            f"expected full_scale for integers wider than 16 bits, got {str(x.dtype).removeprefix('torch.')} without; "
            "give the value that stands for amplitude 1: normalize_amplitude(x, full_scale=...), 65535 if these are "
            "16-bit digital numbers"
        )
    if full_scale is None and trained is not None and limits.max > trained:
        warnings.warn(
            f"integers are divided by {limits.max}, the largest of their type, but these weights were trained with "
            f"amplitude / {trained:.10g}: if these images are such digital numbers, say radiometry='dn' or "
            f"full_scale={trained:.10g} (--radiometry dn, --full-scale {trained:.10g})",
            RadiometryWarning,
            stacklevel=_TO_CALLER,
        )
    return x.float(), limits.max if full_scale is None else full_scale


def check_range(x: Tensor, *, bounded: bool = True) -> None:
    """Raise unless real ``x`` is finite, not negative and, if ``bounded``, at most 1; waits for the device once.

    Raises:
        ImageError: a value is NaN, infinite, negative or (``bounded``) above 1.
    """
    low, high = torch.stack(torch.aminmax(x.detach())).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):  # aminmax passes NaN on
        kind = "NaN" if math.isnan(low) else "infinite values"
        raise ImageError(f"expected finite amplitude, got {kind}; mask or replace these pixels first")
    seen = f"got values from {low:.7g} to {high:.7g}"
    if low < 0:
        raise ImageError(
            f"amplitude is never negative, {seen}; are these decibels? use 10**(x/20); a value for missing pixels? "
            "replace it first"
        )
    if bounded and high > 1 + _ROUNDING:
        raise ImageError(
            f"amplitude must be in [0, 1], {seen}; pass full_scale, the value that stands for amplitude 1: "
            "normalize_amplitude(x, full_scale=...)"
        )
