"""Units of radar images: amplitude, intensity, decibels, digital numbers; conversion, and what gives them away.

With a the amplitude: intensity is a², decibels are 10 log10(a²), digital numbers are ``full_scale`` · a.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from ..errors import ImageError, OptionError, UnitWarning, closest
from ..zoo.entries import UNITS

__all__ = ["check_option", "check_values", "convert_unit"]

# Amplitude of -50 dB, below the noise of every mission: darker pixels, zeros above all, have no useful logarithm.
_DARKEST = 10.0 ** (-50 / 20)
_NAMES = {
    "amplitude": "amplitude",
    "intensity": "intensity",
    "db": "decibels",
    "dn": "digital numbers",
}


def check_option(unit: str | None, trained_unit: str | None, full_scale: float | None) -> None:
    """Refuse units that do not exist or cannot be converted, before any image is seen.

    Args:
        unit: of the images; ``None`` takes them as they are.
        trained_unit: what the weights expect, or ``None`` where nobody published it.
        full_scale: the digital number of amplitude 1.

    Raises:
        OptionError: there is no such unit, or the way from or to digital numbers needs ``full_scale``.
    """
    if unit is not None and unit not in UNITS:
        raise OptionError(f"no unit is called {unit!r}{closest(unit, UNITS)}; known: {', '.join(UNITS)}")
    if full_scale is not None and not (math.isfinite(full_scale) and full_scale > 0):
        raise OptionError(f"expected full_scale to be a positive number, got {full_scale}")
    needed = None not in (unit, trained_unit) and unit != trained_unit and "dn" in (unit, trained_unit)
    if needed and full_scale is None:
        raise OptionError(
            f"the images hold {_NAMES[str(unit)]} and {_NAMES[str(trained_unit)]} is expected: give full_scale, the "
            "digital number that stands for amplitude 1 (the calibration constant of the product)"
        )


def convert_unit(x: Tensor, source: str, target: str, full_scale: float | None = None) -> Tensor:
    """Convert an image from one unit to another.

    Decibels of anything darker than -50 dB, zeros included, are -50.

    Args:
        x: values in ``source``, any shape and number type.
        source: one of ``"amplitude"``, ``"intensity"``, ``"db"``, ``"dn"``.
        target: another or the same one.
        full_scale: the digital number that stands for amplitude 1; needed where exactly one of both is ``"dn"``.

    Returns:
        float32 tensor of the shape of ``x``; the values unchanged where the units are the same.

    Raises:
        OptionError: there is no such unit, or ``full_scale`` is missing.

    >>> convert_unit(torch.tensor([-20.0, 0.0]), "db", "amplitude")
    tensor([0.1000, 1.0000])
    """
    check_option(source, target, full_scale)
    check_option(target, source, full_scale)
    x = x.float()
    if source == target:
        return x
    if source == "db":
        amplitude = torch.pow(10.0, x / 20)
    elif source == "intensity":
        amplitude = x.sqrt()
    elif source == "dn":
        amplitude = x / float(full_scale or 1)
    else:
        amplitude = x
    if target == "db":
        return 20 * amplitude.clamp(min=_DARKEST).log10()
    if target == "intensity":
        return amplitude.square()
    return amplitude * float(full_scale or 1) if target == "dn" else amplitude


def check_values(x: Tensor, unit: str | None) -> None:
    """Refuse values that an image in this unit cannot hold; warn of those that are plainly of another unit.

    Waits for the device of ``x`` once.

    Args:
        x: real values, with at least one pixel.
        unit: what they are said to be; ``None`` says nothing.

    Raises:
        ImageError: NaN, infinity, or a negative amplitude, intensity or digital number.

    Warns:
        UnitWarning: "decibels" that are all positive, or all in [0, 1]; "digital numbers" that are all in [0, 1] and
            not all 0; "amplitude" or "intensity" that is everywhere above 1.
    """
    low, high = torch.stack(torch.aminmax(x.detach())).tolist()
    seen = f"values from {low:.7g} to {high:.7g}"
    if not (math.isfinite(low) and math.isfinite(high)):
        kind = "NaN" if math.isnan(low) else "infinite values"
        raise ImageError(f"expected finite {_NAMES.get(str(unit), 'values')}, got {kind}; mask or replace them first")
    if unit in ("amplitude", "intensity", "dn") and low < 0:
        raise ImageError(
            f"expected {_NAMES[unit]}, which is never negative, got {seen}; if these are decibels, say unit='db'"
        )
    if (doubt := _doubt(unit, low, high)) is not None:
        expected, guess = doubt
        warnings.warn(f"expected {expected}, got {seen}: {guess}", UnitWarning, stacklevel=5)


def _doubt(unit: str | None, low: float, high: float) -> tuple[str, str] | None:
    """Return what was expected and what these values look like instead, or ``None``."""
    if unit == "db" and low >= 0:
        guess = (
            "this looks like amplitude or intensity; say unit='amplitude' or unit='intensity'"
            if high <= 1
            else "nearly all backscatter is below 0 dB; if these are digital numbers, say unit='dn' and full_scale"
        )
        return "decibels of backscatter, most of them negative", guess
    if unit == "dn" and 0 < high <= 1:
        return "digital numbers, integers up to some hundreds or thousands", "this looks like amplitude or intensity"
    if unit in ("amplitude", "intensity") and low > 1:
        return (
            f"{unit} of backscatter, most of it below 1",
            "if these are digital numbers, say unit='dn' and full_scale",
        )
    return None
