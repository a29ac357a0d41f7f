"""Weights beside an image: which fit its bands and radiometry, as the file says or shows them, and its size."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError, OptionError
from ..io.images import read_raster
from ..transforms import normalize_amplitude
from ..transforms.steps import ToRadiometry
from ..zoo.entries import SINGLE, ModelInfo
from ..zoo.manifest import list_models, model_info

__all__ = ["Fit", "Seen", "look_at_image", "rank_models"]

_FAR = 2.0  # powers of two between the sides of image and network; beyond, images are tiled anyway


@dataclass(frozen=True, eq=False)
class Seen:
    """The properties of an image that decide which weights fit.

    Attributes:
        bands: names of its bands; ``""`` where nobody says it.
        radiometry: what it holds: as said, or decibels where floating-point values are mostly negative; else ``None``.
        extremes: pixels with the smallest and the largest value, or magnitude, (2,) of the image's type; empty where
            no pixel has data.
        height: in pixels.
        width: in pixels.
    """

    bands: tuple[str, ...]
    radiometry: str | None
    extremes: np.ndarray
    height: int
    width: int


@dataclass(frozen=True)
class Fit:
    """Weights beside an image.

    Attributes:
        info: the weights.
        obstacle: why they cannot take it, or ``None``.
        notes: what is not ideal.
    """

    info: ModelInfo
    obstacle: str | None
    notes: tuple[str, ...] = ()


def look_at_image(
    file: str | os.PathLike[str], *, bands: Sequence[str] | None = None, radiometry: str | None = None
) -> Seen:
    """Read what decides which weights fit an image.

    Args:
        file: as :func:`~sarhub_models.io.images.read_raster` takes it.
        bands: names of its bands, where it does not say them.
        radiometry: what it holds.

    Raises:
        ImageError: it cannot be read, or its bands are other ones.
    """
    raster = read_raster(file)
    if bands is not None:
        raster = raster.match(bands, given=bands)
    array, names = raster.array, tuple(bands or raster.bands or ("",) * len(raster.array))
    known = np.isfinite(array) if raster.valid is None else raster.valid & np.isfinite(array)
    pixels = array[known]
    values = np.abs(pixels) if array.dtype.kind == "c" else pixels
    if radiometry is None and array.dtype.kind == "f" and values.size and float(np.median(values)) < 0:
        radiometry = "db"
    extremes = pixels[[values.argmin(), values.argmax()]] if values.size else pixels
    return Seen(names, radiometry, extremes, *array.shape[-2:])


def rank_models(
    file: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    radiometry: str | None = None,
    full_scale: float | None = None,
) -> list[Fit]:
    """Rank weights by how well they fit an image: first those that can take it, the best first.

    Bands count before radiometry, radiometry before size, and then the smaller network comes first. What a file does
    not say is not guessed: weights that would need it have it as their obstacle.

    Args:
        file: as :func:`~sarhub_models.io.images.read_raster` takes it.
        names: of the weights; by default all of :func:`~sarhub_models.list_models`.
        bands: names of its bands, where it does not say them.
        radiometry: what it holds, where that is known.
        full_scale: the digital number that stands for amplitude 1.

    Raises:
        ImageError: it cannot be read, or its bands are other ones.
        UnknownNameError: there are no such weights.
    """
    seen = look_at_image(file, bands=bands, radiometry=radiometry)
    found = [_fit(model_info(name), seen, full_scale) for name in (list_models() if names is None else names)]
    return [fit for _, fit in sorted(found, key=lambda pair: pair[0])]


def _fit(info: ModelInfo, seen: Seen, full_scale: float | None) -> tuple[tuple[float, ...], Fit]:
    notes: list[str] = []
    lacking = _check_bands(info, seen, notes)
    obstacle = lacking if isinstance(lacking, str) else _check_radiometry(info, seen, full_scale, notes)
    side = info.preprocessing.side
    steps = 0.0 if side is None else min(abs(math.log2(side / min(seen.height, seen.width))), _FAR)
    if steps >= 1 and side is not None:
        notes.append(f"resized to {side} × {side} pixels")
    missing = 0 if isinstance(lacking, str) else lacking
    rank = (obstacle is not None, missing, len(notes), steps, math.inf if info.params is None else info.params)
    return tuple(map(float, rank)), Fit(info, obstacle, tuple(notes))


def _check_bands(info: ModelInfo, seen: Seen, notes: list[str]) -> int | str:
    """Return how many bands of the weights the image lacks, or why it cannot be used at all."""
    wanted, here = info.input.bands, [name.upper() for name in seen.bands]
    if len(wanted) == 1:
        if len(here) > 1 and wanted == (SINGLE,):
            notes.append(f"takes one of the {len(here)} bands")
        if wanted == (SINGLE,) or wanted[0].upper() in here or here == [""]:
            return 0
        return f"takes {wanted[0]}, and the image holds {_shown(seen)}"
    lacking = [name for name in wanted if name.upper() not in here]
    if len(lacking) == len(wanted):
        return f"takes {', '.join(wanted)}, and the image holds {_shown(seen)}; --bands names its bands"
    if lacking:
        notes.append(f"without its band {', '.join(lacking)}")
    return len(lacking)


def _shown(seen: Seen) -> str:
    named = [name for name in seen.bands if name]
    return ", ".join(named) if named else f"{len(seen.bands)} without a name"


def _check_radiometry(info: ModelInfo, seen: Seen, full_scale: float | None, notes: list[str]) -> str | None:
    """Return why the values cannot be used, as the preprocessing of the weights would say it."""
    expected, given, trained = info.input.radiometry, seen.radiometry, info.preprocessing.full_scale
    if not seen.extremes.size:
        return "no pixel of the image has data"
    if expected is None:
        notes.append("nobody published the radiometry that it expects")
        return None
    if given is None and expected != "amplitude":
        return f"takes {expected}, and the file does not say what it holds: --radiometry says it"
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            if given in (None, "amplitude") and expected == "amplitude":
                normalize_amplitude(seen.extremes, full_scale=full_scale, trained=trained)
            else:
                step = ToRadiometry([""], expected, info.input.range, given=given, full_scale=full_scale or trained)
                step(seen.extremes[None])
        except ImageError as err:
            return f"{err} (--radiometry says what the image holds, --full-scale the value of amplitude 1)"
        except OptionError as err:
            return str(err)
    notes += [str(doubt.message) for doubt in doubts]
    if given not in (None, expected):
        notes.append(f"converted from {given} to {expected}")
    return None
