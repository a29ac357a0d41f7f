"""Steps of a preprocessing chain: each is a module for batches (B, C, H, W), with the name it is left out by."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from ..errors import ImageError, OptionError, RadiometryWarning, closest
from ..io.raster import check_nodata, fill_nodata
from .amplitude import as_tensor, check_range, real_amplitude
from .radiometry import RADIOMETRIES, check_option, check_values, convert_radiometry

__all__ = ["INTERPOLATIONS", "Clip", "Crop", "FinalCrop", "Normalize", "Repeat", "Resize", "Step", "ToRadiometry"]

INTERPOLATIONS: dict[str, dict[str, Any]] = {
    "antialias": {"mode": "bilinear", "antialias": True},
    "bilinear": {"mode": "bilinear"},
    "bilinear_corners": {"mode": "bilinear", "align_corners": True},
    "bicubic": {"mode": "bicubic", "antialias": True},
}
"""How an image can be resized: what :func:`torch.nn.functional.interpolate` is told, by name."""

# From the warning to the line that calls the pipeline: this module and the pipeline are each called by two of torch,
# and the pipeline applies its steps in a function.
_TO_CALLER = 9


class Step(nn.Module):
    """A part of a :class:`~sarhub_models.transforms.Pipeline`.

    Attributes:
        step: the name that it is left out by.
        draws: rows of random numbers that it takes, one number a sample, where they are handed in.
    """

    step: ClassVar[str]
    draws: ClassVar[int] = 0

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        own = {name: value for name, value in vars(self).items() if name[0] != "_" and name != "training"}
        return ", ".join(f"{name}={value!r}" for name, value in own.items())


class ToRadiometry(Step):
    """An image as it comes, NumPy or torch, single or a batch, becomes float32 of the radiometry that is expected.

    Complex values are replaced by their magnitude where that has a meaning. Where amplitude in [0, 1] is expected and
    given, integers of 8 and 16 bits are divided by the largest value of their type, as
    :func:`~sarhub_models.transforms.normalize_amplitude` does; where another radiometry becomes such amplitude, what
    exceeds 1 becomes 1.

    Args:
        bands: names of the bands, in the order of the channels.
        expected: radiometry that the next step expects, or ``None`` where nobody published it.
        range: smallest and largest value of ``expected``, or ``None``; amplitude is held to it.
        given: radiometry of the images; ``None`` is ``expected``.
        full_scale: the digital number that stands for amplitude 1, in the images; by default ``trained_full_scale``.
        trained_full_scale: the same of the data that the weights were trained on, where it is known.
        validate: look for NaN, infinity, and values that cannot be or are plainly of another radiometry; without it
            nothing waits for the device.
        nodata: what masked, NaN and infinite values do (:func:`~sarhub_models.io.raster.fill_nodata`).

    Attributes:
        takes_amplitude: amplitude in [0, 1] is expected and given.

    Raises:
        OptionError: there is no such radiometry, or it cannot be converted.
    """

    step = "radiometry"

    def __init__(
        self,
        bands: Sequence[str],
        expected: str | None,
        range: Sequence[float] | None = None,
        *,
        given: str | None = None,
        full_scale: float | None = None,
        trained_full_scale: float | None = None,
        validate: bool = True,
        nodata: str = "refuse",
    ) -> None:
        super().__init__()
        check_nodata(nodata)
        full_scale = trained_full_scale if full_scale is None else full_scale
        if expected == "dn" and given not in (None, "dn") and trained_full_scale not in (None, full_scale):
            raise OptionError(
                f"the weights take digital numbers of which {trained_full_scale:g} stands for amplitude 1, and the "
                f"images hold none: leave full_scale={full_scale:g} out"
            )
        if not bands:
            raise OptionError("expected the names of the bands, got none")
        check_option(given, expected, full_scale)
        if expected is None and given is not None:
            warnings.warn(
                f"nobody published the radiometry that these weights expect: {given} is not converted, values go to "
                "the network as they are",
                RadiometryWarning,
                stacklevel=4,
            )
        self.bands, self.expected, self.given = tuple(bands), expected, given or expected
        self.range = None if range is None else tuple(range)
        self.full_scale, self.trained_full_scale, self.validate = full_scale, trained_full_scale, validate
        self.nodata = nodata
        self.bounded = expected == "amplitude" and range is not None
        self.takes_amplitude = self.bounded and self.given == expected

    def forward(self, x: Any) -> Tensor:
        """Return float32 (B, C, H, W) on the device of ``x``.

        Raises:
            ImageError: as :class:`~sarhub_models.transforms.Pipeline` says.
        """
        x = as_tensor(x if self.nodata == "refuse" else fill_missing(x, self.nodata))
        self._check_shape(x)
        x = self._real(x).reshape(-1, *x.shape[-3:] if x.ndim > 2 else (1, *x.shape)).float()
        if self.takes_amplitude:
            if self.validate:
                check_range(x)
                x = x.clamp(0, 1)
            return x
        if self.validate:
            check_values(x, self.given, stacklevel=_TO_CALLER)
        if self.expected is not None and self.given is not None:
            x = convert_radiometry(x, self.given, self.expected, full_scale=self.full_scale)
        if self.given == self.expected == "dn" and self.trained_full_scale and self.full_scale:
            x = x * (self.trained_full_scale / self.full_scale)  # to the weights' digital numbers
        return x.clamp(0, 1) if self.bounded else x

    def _check_shape(self, x: Tensor) -> None:
        count = len(self.bands)
        if x.numel() and ((x.ndim in (3, 4) and x.shape[-3] == count) or (x.ndim == 2 and count == 1)):
            return
        if count == 1:
            raise ImageError(
                "expected one channel of shape (H, W), (1, H, W) or (B, 1, H, W) with at least one pixel, "
                f"got {tuple(x.shape)}; pick one band, and add the channel axis to a batch with x[:, None]"
            )
        raise ImageError(
            f"expected {count} bands ({', '.join(self.bands)}) of shape ({count}, H, W) or (B, {count}, H, W) with at "
            f"least one pixel, got {tuple(x.shape)}; bands=… of create_model and create_transform names those that "
            "there are"
        )

    def _real(self, x: Tensor) -> Tensor:
        if self.takes_amplitude:
            values, largest = real_amplitude(x, trained=self.trained_full_scale if self.validate else None)
            return values if largest is None else values / largest
        row = RADIOMETRIES.get(self.given or "")
        if x.is_complex() and row is not None and row.scale.magnitude:
            return x.abs()
        if x.is_complex() or x.dtype == torch.bool:
            what = "values" if row is None else row.title
            raise ImageError(f"expected real values ({what}), got {x.dtype}; SLC data have radiometry='dn'")
        return x


def fill_missing(x: Any, nodata: str) -> Any:
    """Return images (..., H, W) with values in place of masked, NaN and infinite ones.

    Args:
        x: array or tensor; what is no image of numbers passes, to be refused with its own words.
        nodata: as of :func:`~sarhub_models.io.raster.fill_nodata`.

    Raises:
        NodataError: the policy refuses the image.
    """
    if isinstance(x, Tensor) and x.dtype == torch.bfloat16:  # which NumPy lacks
        x = x.float()
    array = x.detach().cpu().numpy() if isinstance(x, Tensor) else x
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iufc" or array.ndim < 2 or not array.size:
        return x
    valid = ~np.ma.getmaskarray(array) & np.isfinite(np.ma.getdata(array))
    if valid.all():
        return x if isinstance(x, Tensor) else np.ma.getdata(array)
    images = np.ma.getdata(array).reshape(-1, *array.shape[-3:])
    pairs = zip(images, valid.reshape(images.shape), strict=True)
    filled = np.stack([fill_nodata(*pair, nodata=nodata, reason="masked, NaN or infinite") for pair in pairs]).reshape(
        array.shape
    )
    return torch.from_numpy(filled).to(x.device) if isinstance(x, Tensor) else filled


class Clip(Step):
    """Values are held between two numbers.

    Args:
        low: the smaller one, for all bands or one a band.
        high: the larger one, likewise.

    Raises:
        OptionError: the smaller number of a band is not below the larger one.
    """

    step = "clip"

    def __init__(self, low: float | Sequence[float], high: float | Sequence[float]) -> None:
        super().__init__()
        self.low = tuple(map(float, low)) if isinstance(low, Sequence) else low
        self.high = tuple(map(float, high)) if isinstance(high, Sequence) else high
        lows, highs = _as_tuple(self.low), _as_tuple(self.high)
        if len(lows) != len(highs) or not all(a < b for a, b in zip(lows, highs, strict=True)):
            raise OptionError(f"expected two numbers for each band, the smaller one first, got {low} and {high}")

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape."""
        if not isinstance(self.low, tuple):
            return x.clamp(self.low, self.high)  # type: ignore[arg-type]
        low, high = (x.new_tensor(_as_tuple(limit))[:, None, None] for limit in (self.low, self.high))
        return x.clamp(low, high)


class _Sized(Step):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = _positive(self.step, size)


class Crop(_Sized):
    """A square, of so many pixels a side, is cut from the middle; what is missing is 0."""

    step = "crop"

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, S, S)."""
        return F.center_crop(x, [self.size, self.size])


class FinalCrop(Crop):
    """The same, behind a resize."""

    step = "final_crop"


class Resize(_Sized):
    """An image is resized to a square of so many pixels a side; one that is not square is squeezed.

    Args:
        size: pixels a side.
        interpolation: a name of :data:`INTERPOLATIONS`; by default bilinear with antialiasing, as
            ``torchvision.transforms.v2.Resize`` does.

    Raises:
        OptionError: there is no such interpolation, or the size is below 1.
    """

    step = "resize"

    def __init__(self, size: int, *, interpolation: str = "antialias") -> None:
        super().__init__(size)
        if interpolation not in INTERPOLATIONS:
            raise OptionError(
                f"no interpolation is called {interpolation!r}{closest(interpolation, INTERPOLATIONS)}; known: "
                f"{', '.join(INTERPOLATIONS)}"
            )
        self.interpolation = interpolation

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, S, S)."""
        if x.shape[-2:] == (self.size, self.size):
            return x
        return torch.nn.functional.interpolate(x, (self.size, self.size), **INTERPOLATIONS[self.interpolation])


class Normalize(Step):
    """``(x - mean) / std``, with one number for all bands or one a band.

    Args:
        mean: subtracted.
        std: divided by after the mean, above 0.

    Raises:
        OptionError: not as many numbers for both, one that is not finite, or a ``std`` that is not above 0.
    """

    step = "normalize"

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.mean = tuple(map(float, mean)) if isinstance(mean, Sequence) else float(mean)
        self.std = tuple(map(float, std)) if isinstance(std, Sequence) else float(std)
        means, stds = self.per_band()
        if len(means) != len(stds) or not all(map(math.isfinite, (*means, *stds))) or not all(n > 0 for n in stds):
            raise OptionError(f"expected a finite mean and a std above 0 for each band, got mean={mean}, std={std}")

    def per_band(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return means and standard deviations, one a band or one for all."""
        return _as_tuple(self.mean), _as_tuple(self.std)

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape."""
        if isinstance(self.mean, tuple) or isinstance(self.std, tuple):
            return F.normalize(x, *map(list, self.per_band()))
        return (x - self.mean) / self.std


class Repeat(Step):
    """One band becomes so many equal channels."""

    step = "repeat"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = _positive("channels", channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H, W)."""
        return x.repeat(1, self.channels, 1, 1)


def _as_tuple(numbers: float | tuple[float, ...]) -> tuple[float, ...]:
    return numbers if isinstance(numbers, tuple) else (numbers,)


def _positive(name: str, number: int) -> int:
    if number < 1:
        raise OptionError(f"expected {name} of at least 1, got {number}")
    return number
