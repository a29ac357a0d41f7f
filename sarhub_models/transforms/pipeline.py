"""From the amplitude of a chip to the input of a network: the chain that belongs to a set of weights."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import center_crop

from ..errors import ImageError, OptionError
from .operators import DRAA
from .radiometry import check_option, check_values, convert_unit

__all__ = ["SarTransform", "as_tensor", "flip_and_rotate", "normalize_amplitude"]

Array = TypeVar("Array", np.ndarray, Tensor)

_MAX_ROTATION = math.radians(10)
_FLIP_PROBABILITY = 0.5
# |z| of a complex chip that was scaled to 1 can exceed 1 by rounding; so much is clipped in silence
_ROUNDING = 1e-6


def normalize_amplitude(x: Array, full_scale: float | None = None) -> Array:
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

    Returns:
        Array of the same shape in [0, 1]: float32 for integers, else the precision of ``x``.

    Raises:
        ImageError: ``x`` is neither array nor tensor, is not numeric, is empty, or holds NaN, infinity or a negative
            value; or, without ``full_scale``, it holds a value above 1 or integers of more than 16 bits.
        OptionError: ``full_scale`` is not a positive number.

    >>> normalize_amplitude(np.array([[0, 255]], dtype=np.uint8))
    array([[0., 1.]], dtype=float32)
    """
    if full_scale is not None and not (math.isfinite(full_scale) and full_scale > 0):
        raise OptionError(f"expected full_scale to be a positive number, got {full_scale}")
    amplitude = _normalized(as_tensor(x), full_scale)
    return amplitude.numpy() if isinstance(x, np.ndarray) else amplitude


def as_tensor(x: Any) -> Tensor:
    """Copy a NumPy array (of any byte and memory order) to a tensor; pass a tensor through."""
    if isinstance(x, Tensor):
        return x
    if not isinstance(x, np.ndarray):
        raise ImageError(f"expected a NumPy array or a tensor, got {type(x).__name__}; convert it with numpy.asarray")
    kind, width = x.dtype.kind, x.dtype.itemsize
    if kind not in "biufc" or width > (16 if kind == "c" else 8):
        raise ImageError(
            f"expected an image of integer, floating-point (up to 64 bits) or complex dtype, got {x.dtype}"
        )
    # torch takes neither a foreign byte order nor negative strides
    return torch.from_numpy(np.array(x, dtype=f"={kind}{width}", order="C"))


def _normalized(x: Tensor, full_scale: float | None) -> Tensor:
    if x.dtype == torch.bool:
        raise ImageError("expected an image of integer, floating-point or complex dtype, got bool")
    if x.numel() == 0:
        raise ImageError(f"expected an image with at least one pixel, got shape {tuple(x.shape)}")
    if x.is_complex():
        x = x.abs()
    if not x.is_floating_point():
        full_scale = _largest(x.dtype) if full_scale is None else full_scale
        x = x.float()
    check_range(x, bounded=full_scale is None)
    return (x if full_scale is None else x / full_scale).clamp(0, 1)


def _largest(dtype: torch.dtype) -> int:
    """Return the largest value of an integer dtype, if it tells anything about the image."""
    limits = torch.iinfo(dtype)
    if limits.bits > 16:  # what NumPy and GDAL fall back on, whatever the range of the values
        raise ImageError(
            f"expected full_scale for integers wider than 16 bits, got {str(dtype).removeprefix('torch.')} without; "
            "give the value that stands for amplitude 1: normalize_amplitude(x, full_scale=...), 65535 if these are "
            "16-bit digital numbers"
        )
    return limits.max


def check_range(x: Tensor, bounded: bool = True) -> None:
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


class SarTransform(nn.Module):
    """The preprocessing of a set of weights: amplitude in [0, 1] becomes the input of its network.

    In this order: centre crop (what is missing is 0) → dynamic-range operator → ``(y − mean)/std`` → resize to a
    square (bilinear with antialiasing, as ``torchvision.transforms.v2.Resize`` does; a chip that is not square is
    squeezed) → in training mode a horizontal flip with probability ½ and a rotation of up to ±10° about the centre
    (bilinear; pixels from outside become 0, the mean) → repetition to ``channels``. Repeating last equals repeating
    before the resizing, which treats all channels alike. In training mode each chip of a batch gets its own random
    numbers. The module holds no tensors and works on the device of its input; with ``validate=False`` it never waits
    for that device. Chips may be as small as 1×1; a constant chip, as a single pixel is, becomes what the operator
    makes of it.

    Warning: as a submodule of a network it follows ``parent.train()`` and then augments; keep it outside of networks,
    or call its :meth:`eval` after each ``parent.train()``.

    Args:
        operator: ``"reinhard_devlin"``, ``"ptls"``, ``"log_amplitude"`` or ``"none"``.
        low: lower end of the operator's parameter in training (:class:`DRAA`).
        high: upper end of the operator's parameter in training.
        evaluation: the operator's parameter in evaluation mode.
        mean: subtracted after the operator.
        std: divided by after the mean, above 0.
        size: side of the square output in pixels; ``None`` keeps the size of the chip.
        channels: channels of the output.
        training: start in training mode; :meth:`train` and :meth:`eval` switch.
        validate: look for NaN, infinity and values outside [0, 1], or of another unit.
        unit: unit of the chips. Anything but ``"amplitude"`` is converted to it first, and above 1 becomes 1; integers
            and complex values are taken for ``"dn"``, too.
        full_scale: the digital number that stands for amplitude 1; needed for ``"dn"``.
        crop: side of the square to cut from the middle of the chip, in pixels; ``None`` takes all of it.

    Attributes:
        takes_amplitude: whether it wants amplitude in [0, 1], not the values of the file.

    Raises:
        UnknownNameError: there is no such operator.
        OptionError: a number is out of its range, there is no such unit, or ``full_scale`` is missing.

    >>> transform = SarTransform("ptls", 0.0, 3.0, 1.5, mean=0.316, std=0.0343, size=128)
    >>> transform(np.random.default_rng(0).random((64, 64), dtype=np.float32)).shape
    torch.Size([3, 128, 128])
    """

    def __init__(
        self,
        operator: str,
        low: float,
        high: float,
        evaluation: float | None,
        mean: float,
        std: float,
        size: int | None,
        channels: int = 3,
        training: bool = False,
        validate: bool = True,
        unit: str = "amplitude",
        full_scale: float | None = None,
        crop: int | None = None,
    ) -> None:
        super().__init__()
        check_option(unit, "amplitude", full_scale)
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise OptionError(f"expected a finite mean and std above 0, got mean={mean}, std={std}")
        if any(number is not None and number < 1 for number in (channels, size, crop)):
            raise OptionError(
                f"expected channels, size and crop of at least 1, got channels={channels}, size={size}, crop={crop}"
            )
        self.dynamic_range = DRAA(operator, low, high, evaluation)
        self.mean, self.std = float(mean), float(std)
        self.size, self.crop, self.channels, self.validate = size, crop, channels, validate
        self.unit, self.full_scale = unit, full_scale
        self.takes_amplitude = unit == "amplitude"
        self.train(training)

    def forward(self, x: np.ndarray | Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Prepare one chip or a batch.

        Args:
            x: amplitude in [0, 1] or values of ``unit``, floating point of any precision or complex (the magnitude is
                taken): (H, W) or (1, H, W) for one chip, (B, 1, H, W) for a batch; NumPy array or tensor on any device.
                float64 is computed in float32, too.
            generator: random numbers for training mode, on the device of ``x``; by default torch's own.

        Returns:
            float32 tensor, (channels, size, size) for one chip and (B, channels, size, size) for a batch, on the
            device of ``x``.

        Raises:
            ImageError: ``x`` has another dtype or shape, is empty, or (with ``validate``) holds NaN, infinity or a
                value outside [0, 1].
        """
        batch, single = self._batch(as_tensor(x))
        if not self.takes_amplitude:
            if self.validate:
                check_values(batch, self.unit)
            batch = convert_unit(batch, self.unit, "amplitude", self.full_scale).clamp(0, 1)
        elif self.validate:
            check_range(batch)
            batch = batch.clamp(0, 1)
        batch = (self.dynamic_range(self.cropped(batch), generator) - self.mean) / self.std
        if self.size is not None and batch.shape[-2:] != (self.size, self.size):
            batch = F.interpolate(batch, (self.size, self.size), mode="bilinear", antialias=True)
        if self.training:
            batch = flip_and_rotate(batch, *torch.rand(2, len(batch), generator=generator, device=batch.device))
        batch = batch.repeat(1, self.channels, 1, 1)
        return batch[0] if single else batch

    def cropped(self, x: Tensor) -> Tensor:
        """Return the middle of each chip of a batch (B, 1, H, W), or the batch if there is no crop."""
        return x if self.crop is None else center_crop(x, [self.crop, self.crop])

    def _batch(self, x: Tensor) -> tuple[Tensor, bool]:
        """Return real float32 amplitude of shape (B, 1, H, W), and whether ``x`` was a single chip."""
        if x.is_complex() and self.unit in ("db", "intensity"):
            raise ImageError(
                f"expected real values in the unit {self.unit!r}, got {x.dtype}; give unit='dn' for SLC data"
            )
        if self.takes_amplitude and not (x.is_floating_point() or x.is_complex()):
            raise ImageError(
                f"expected floating-point or complex amplitude in [0, 1], got {x.dtype}; "
                "normalize_amplitude(x) divides integers by the largest value of their dtype"
            )
        if not (x.ndim == 2 or (x.ndim in (3, 4) and x.shape[-3] == 1)) or x.numel() == 0:
            raise ImageError(
                "expected one channel of shape (H, W), (1, H, W) or (B, 1, H, W) with at least one pixel, "
                f"got {tuple(x.shape)}; pick one band, and add the channel axis to a batch with x[:, None]"
            )
        amplitude = (x.abs() if x.is_complex() else x).float()
        return amplitude.reshape(-1, 1, *x.shape[-2:]), x.ndim < 4

    def extra_repr(self) -> str:
        """Return the arguments for ``repr``."""
        return f"crop={self.crop}, mean={self.mean}, std={self.std}, size={self.size}, channels={self.channels}"


def flip_and_rotate(x: Tensor, turn: Tensor, mirror: Tensor) -> Tensor:
    """Flip each chip of a batch horizontally or not, and rotate it about its centre by up to ±10 degrees.

    Bilinear; pixels from outside become 0.

    Args:
        x: (B, C, H, W), floating point.
        turn: (B,) in [0, 1], from -10 to 10 degrees.
        mirror: (B,); below ½ the chip is flipped.

    Returns:
        Tensor like ``x``.
    """
    count, _, height, width = x.shape
    angle = (2 * turn - 1) * _MAX_ROTATION
    sign = torch.where(mirror < _FLIP_PROBABILITY, -1.0, 1.0)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid counts in half-widths and half-heights: the aspect ratio keeps the rotation rigid
    rows = [sign * cos, -sign * sin * height / width, zero, sin * width / height, cos, zero]
    matrix = torch.stack(rows, dim=-1).view(count, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
