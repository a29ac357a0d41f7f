"""Radiometry of radar images: one table of what pixels can hold, conversion, and what gives wrong values away.

With a the amplitude: intensity is a², decibels are 10 log10(a²), digital numbers are ``full_scale`` · a. Another one
is a row of :data:`RADIOMETRIES`. Importing this module loads no torch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ImageError, OptionError, RadiometryWarning, closest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RADIOMETRIES", "Radiometry", "Scale", "check_option", "check_values", "convert_radiometry"]

# Amplitude of -50 dB, below the noise of every mission: darker pixels, zeros above all, have no useful logarithm.
_DARKEST = 10.0 ** (-50 / 20)
# No instrument measures less, no target reflects more; values for missing pixels lie far outside
_LOWEST, _HIGHEST = -100, 60
_DN = "if these are digital numbers, say radiometry='dn' and full_scale"


@dataclass(frozen=True)
class Scale:
    """The numbers of a radiometry as they follow from amplitude.

    Attributes:
        to_amplitude: of values and the digital number of amplitude 1.
        from_amplitude: the way back.
        magnitude: complex values stand for it by their magnitude.
        signed: values can be negative.
        scaled: ``full_scale`` is needed.
        doubt: of the smallest and the largest value, what was expected and what they look like instead, or ``None``.
    """

    to_amplitude: Callable[[Tensor, float], Tensor]
    from_amplitude: Callable[[Tensor, float], Tensor]
    doubt: Callable[[float, float], tuple[str, str] | None]
    magnitude: bool = False
    signed: bool = False
    scaled: bool = False


@dataclass(frozen=True)
class Radiometry:
    """The quantity that the pixels of an image hold.

    Attributes:
        title: its name in texts.
        formula: what it is of the amplitude a.
        scale: how the numbers follow from amplitude.
        calibration: the area that backscatter is related to, ``"sigma0"``, ``"gamma0"`` or ``"beta0"``, where it is
            said; one becomes another only with the angle of incidence.
    """

    title: str
    formula: str
    scale: Scale
    calibration: str | None = None


def _below_one(title: str) -> Callable[[float, float], tuple[str, str] | None]:
    expected = f"{title} of backscatter, most of it below 1"
    return lambda low, high: (expected, _DN) if low > 1 else None


def _doubt_decibels(low: float, high: float) -> tuple[str, str] | None:
    if low < 0:
        return None
    guess = (
        "this looks like amplitude or intensity; say radiometry='amplitude' or radiometry='intensity'"
        if high <= 1
        else f"nearly all backscatter is below 0 dB; {_DN}"
    )
    return "decibels of backscatter, most of them negative", guess


def _doubt_numbers(low: float, high: float) -> tuple[str, str] | None:
    expected = "digital numbers, integers up to some hundreds or thousands"
    return (expected, "this looks like amplitude or intensity") if 0 < high <= 1 else None


_AMPLITUDE = Scale(lambda x, _: x, lambda a, _: a, _below_one("amplitude"), magnitude=True)
_POWER = Scale(lambda x, _: x.sqrt(), lambda a, _: a.square(), _below_one("intensity"))
_DECIBELS = Scale(
    lambda x, _: 10.0 ** (x / 20), lambda a, _: 20 * a.clamp(min=_DARKEST).log10(), _doubt_decibels, signed=True
)
_NUMBERS = Scale(lambda x, full: x / full, lambda a, full: a * full, _doubt_numbers, magnitude=True, scaled=True)

RADIOMETRIES: dict[str, Radiometry] = {
    "amplitude": Radiometry("amplitude", "a", _AMPLITUDE),
    "intensity": Radiometry("intensity", "a²", _POWER),
    "db": Radiometry("decibels", "10 log₁₀ a²", _DECIBELS),
    "dn": Radiometry("digital numbers", "full_scale · a", _NUMBERS),
    "sigma0": Radiometry("sigma nought, linear", "a²", _POWER, "sigma0"),
    "gamma0": Radiometry("gamma nought, linear", "a²", _POWER, "gamma0"),
    "beta0": Radiometry("beta nought, linear", "a²", _POWER, "beta0"),
    "sigma0_db": Radiometry("sigma nought in decibels", "10 log₁₀ a²", _DECIBELS, "sigma0"),
    "gamma0_db": Radiometry("gamma nought in decibels", "10 log₁₀ a²", _DECIBELS, "gamma0"),
    "beta0_db": Radiometry("beta nought in decibels", "10 log₁₀ a²", _DECIBELS, "beta0"),
}
"""What the pixels of an image can hold, by the name that the manifest, files of weights and the command line use."""


def check_option(given: str | None, expected: str | None, full_scale: float | None) -> None:
    """Refuse a radiometry that does not exist or cannot be converted, before any image is seen.

    Args:
        given: of the images; ``None`` takes them as they are.
        expected: by the weights, or ``None`` where nobody published it.
        full_scale: the digital number of amplitude 1.

    Raises:
        OptionError: there is no such radiometry, the way from or to digital numbers needs ``full_scale``, or one
            calibration would have to become another.
    """
    for name in (given, expected):
        if name is not None and name not in RADIOMETRIES:
            raise OptionError(
                f"no radiometry is called {name!r}{closest(name, RADIOMETRIES)}; known: {', '.join(RADIOMETRIES)}"
            )
    if full_scale is not None and not (math.isfinite(full_scale) and full_scale > 0):
        raise OptionError(f"expected full_scale to be a positive number, got {full_scale}")
    if given is None or expected is None or given == expected:
        return
    images, weights = RADIOMETRIES[given], RADIOMETRIES[expected]
    if None not in (images.calibration, weights.calibration) and images.calibration != weights.calibration:
        raise OptionError(
            f"the images hold {images.title} and {weights.title} is expected: that takes the angle of incidence of "
            "every pixel; calibrate the product anew"
        )
    if images.scale.scaled != weights.scale.scaled and full_scale is None:
        raise OptionError(
            f"the images hold {images.title} and {weights.title} is expected: give full_scale, the "
            "digital number that stands for amplitude 1 (the calibration constant of the product)"
        )


def convert_radiometry(x: Tensor, source: str, target: str, *, full_scale: float | None = None) -> Tensor:
    """Convert an image from one radiometry to another.

    Decibels of anything darker than -50 dB, zeros included, are -50.

    Args:
        x: values in ``source``, any shape and number type.
        source: a name of :data:`RADIOMETRIES`.
        target: another or the same one.
        full_scale: the digital number that stands for amplitude 1; needed where exactly one of both is ``"dn"``.

    Returns:
        float32 tensor of the shape of ``x``; the values unchanged where both are on the same scale.

    Raises:
        OptionError: as :func:`check_option` says.

    >>> import torch
    >>> convert_radiometry(torch.tensor([-20.0, 0.0]), "db", "amplitude")
    tensor([0.1000, 1.0000])
    """
    check_option(source, target, full_scale)
    here, there, x = RADIOMETRIES[source].scale, RADIOMETRIES[target].scale, x.float()
    if here is there:
        return x
    full = float(full_scale or 1)
    return there.from_amplitude(here.to_amplitude(x, full), full)


def check_values(x: Tensor, given: str | None, *, stacklevel: int = 2) -> None:
    """Refuse values that an image cannot hold; warn of those that are plainly of another radiometry.

    Waits for the device of ``x`` once.

    Args:
        x: real values, with at least one pixel.
        given: what they are said to be; ``None`` says nothing.
        stacklevel: of the warning, 2 for the caller's line.

    Raises:
        ImageError: NaN, infinity, a negative amplitude, intensity or digital number, or decibels below -100 or above
            60.

    Warns:
        RadiometryWarning: "decibels" that are all positive, or all in [0, 1]; "digital numbers" that are all in [0, 1]
            and not all 0; "amplitude" or "intensity" that is everywhere above 1.
    """
    import torch

    row = RADIOMETRIES.get(given or "")
    low, high = torch.stack(torch.aminmax(x.detach())).tolist()
    seen = f"values from {low:.7g} to {high:.7g}"
    if not (math.isfinite(low) and math.isfinite(high)):
        kind = "NaN" if math.isnan(low) else "infinite values"
        raise ImageError(f"expected finite {row.title if row else 'values'}, got {kind}; mask or replace them first")
    if row is None:
        return
    if low < 0 and not row.scale.signed:
        raise ImageError(
            f"expected {row.title}, which is never negative, got {seen}; if these are decibels, say radiometry='db'"
        )
    if row.scale is _DECIBELS and (low < _LOWEST or high > _HIGHEST):
        raise ImageError(
            f"expected {row.title}, between {_LOWEST} and {_HIGHEST}, got {seen}; a value for missing pixels, such as "
            "-9999? mask or replace it first; other units? say radiometry=…"
        )
    if (doubt := row.scale.doubt(low, high)) is not None:
        warnings.warn(f"expected {doubt[0]}, got {seen}: {doubt[1]}", RadiometryWarning, stacklevel=stacklevel)
