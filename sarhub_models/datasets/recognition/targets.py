"""Simulated vehicles: rigid objects, each a class, seen from any side; for pre-training, not for evaluation.

An object is a few boxes (hull, superstructure, and for some a barrel) and point scatterers on them, each of which is
seen from some sides only. A chip is made as a radar makes it: ground clutter and the faces of the boxes are complex
Gaussian (fully developed speckle), the scatterers are points with a phase, heights are laid over towards the radar and
throw a shadow away from it, and the sum is limited to a band with a Taylor-like taper, which is the point-spread
function. On request the ground is a sea, looks are averaged, and the radar has azimuth ambiguities: ghosts of what is
bright, some way off along the flight. Nothing of it is measured, and no real vehicle is modeled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OptionError
from ..catalog import CatalogEntry
from ..lists import AnyPath
from .base import Sample, SceneDataset

__all__ = ["DATASET", "Imaging", "SimulatedTargets", "render"]

SPACING = 0.2
"""Size of a pixel on the ground, meters."""
_BAND = 0.72  # share of the sampled band that is kept: with the taper 0.36 m at half power
_SEEDS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class _Target:
    """A rigid object, in meters, with the x axis along its hull.

    Attributes:
        boxes: x, y of the center, length, width, height of each box, (K, 5).
        points: x, y, z of each scatterer, (N, 3).
        strength: amplitude of each scatterer, (N,).
        facing: direction from which it is seen best, radians, (N,).
        width: how far to the sides it is seen, radians, (N,).
    """

    boxes: np.ndarray
    points: np.ndarray
    strength: np.ndarray
    facing: np.ndarray
    width: np.ndarray


@dataclass(frozen=True)
class Imaging:
    """The ground around the objects, and how it is imaged.

    Attributes:
        sea: shape of the gamma distribution of a sea's brightness, which makes its intensity K-distributed: 10 and more
            is calm, 1 is spiky. ``None``: land.
        looks: images whose intensities are averaged; each has its own part of the azimuth band, so what is seen is as
            many times longer along the flight.
        ambiguity: distance of the first azimuth ambiguities on both sides, meters; ``None``: there are none.
        level: their intensity beside what they are ghosts of, decibels.

    Raises:
        OptionError: a number is out of its range.
    """

    sea: float | None = None
    looks: int = 1
    ambiguity: float | None = None
    level: float = -20.0

    def __post_init__(self) -> None:
        if self.looks < 1 or self.level > 0 or any(x is not None and x <= 0 for x in (self.sea, self.ambiguity)):
            raise OptionError(f"expected looks from 1, sea and ambiguity above 0, and level up to 0 dB, got {self}")


@lru_cache(maxsize=4096)
def _target(seed: int, label: int) -> _Target:
    rng = np.random.default_rng([seed, label])
    length, width, height = rng.uniform(4.5, 8), rng.uniform(2.2, 3.6), rng.uniform(0.9, 2.2)
    boxes = [[0, 0, length, width, height]]
    top = length * rng.uniform(0.25, 0.6)
    boxes.append(
        [rng.uniform(-0.25, 0.25) * length, 0, top, width * rng.uniform(0.5, 1), height + rng.uniform(0.4, 1.4)]
    )
    if rng.random() < 0.5:  # a barrel
        reach = rng.uniform(1.5, 4)
        boxes.append([boxes[1][0] + top / 2 + reach / 2, 0, reach, 0.3, height + 0.3])
    array = np.array(boxes)
    count = int(rng.integers(25, 90))
    chosen = array[rng.choice(len(array), count, p=array[:, 2] * array[:, 3] / (array[:, 2] * array[:, 3]).sum())]
    side = rng.integers(0, 5, count)  # four faces and the roof
    place = rng.uniform(-0.5, 0.5, (count, 2))
    place[side < 2, 0] = (side[side < 2] - 0.5).astype(float)
    place[(side == 2) | (side == 3), 1] = side[(side == 2) | (side == 3)] - 2.5
    z = np.where(side == 4, 1, rng.uniform(0.2, 1, count)) * chosen[:, 4]
    facing = np.array([np.pi, 0, -np.pi / 2, np.pi / 2, 0])[side] + rng.normal(0, 0.4, count)
    return _Target(
        boxes=array,
        points=np.column_stack(
            [chosen[:, 0] + place[:, 0] * chosen[:, 2], chosen[:, 1] + place[:, 1] * chosen[:, 3], z]
        ),
        strength=rng.lognormal(0, 0.8, count),
        facing=facing,
        width=np.where(side == 4, 2 * np.pi, rng.uniform(0.15, 1.6, count)),
    )


def render(seed: int, label: int, view: int, *, size: int = 128, imaging: Imaging = Imaging()) -> np.ndarray:
    """Return one chip of one object: amplitude, float32 (size, size), whose largest value is 1.

    The radar is beyond the first row. Azimuth, depression (15 to 45 degrees), clutter, brightness and the place in the
    chip are drawn for each view, and some scatterers fail.

    Args:
        seed: decides the objects.
        label: which object.
        view: which chip of it.
        size: side of the chip in pixels.
        imaging: the ground, and how it is imaged.
    """
    target, rng = _target(seed, label), np.random.default_rng([seed, label, view, 1])
    azimuth, slope = rng.uniform(0, 2 * np.pi), np.tan(np.radians(rng.uniform(15, 45)))
    axis = (np.arange(size) - size / 2) * SPACING
    shift = rng.uniform(-1.2, 1.2, 2)
    ground = np.meshgrid(axis - shift[0], axis - shift[1], indexing="ij")  # away from the radar, across
    turn = np.array([[np.cos(azimuth), np.sin(azimuth)], [-np.sin(azimuth), np.cos(azimuth)]])
    along = ground[0] * turn[0, 0] + ground[1] * turn[0, 1]
    across = ground[0] * turn[1, 0] + ground[1] * turn[1, 1]
    height: np.ndarray = np.zeros((size, size))
    for x, y, length, width, top in target.boxes:
        inside = (abs(along - x) < length / 2) & (abs(across - y) < width / 2)
        height = np.where(inside, np.maximum(height, top), height)
    sight = height + axis[:, None] * slope
    shadow = np.maximum.accumulate(sight, axis=0) > sight + 1e-6
    clutter = 10 ** rng.uniform(-2.2, -0.7)
    shape = 8.0 if imaging.sea is None else imaging.sea
    texture: np.ndarray = rng.gamma(shape, 1 / shape, (size // 8 + 1, size // 8 + 1))
    texture = texture.repeat(8, 0).repeat(8, 1)[:size, :size]
    mean = np.where(shadow, clutter * 0.03, clutter * texture)
    mean = np.where((height > 0) & ~shadow, 10 ** rng.uniform(-1.2, -0.2), mean)
    field = np.sqrt(mean / 2) * (rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    _add_points(field, target, rng, turn, slope, shift, azimuth)
    if imaging.ambiguity is not None:
        _add_ghosts(field, round(imaging.ambiguity / SPACING), 10 ** (imaging.level / 20))
    chip = _imaged(field, imaging.looks)
    return (chip / chip.max()).astype(np.float32)


def _add_points(
    field: np.ndarray,
    target: _Target,
    rng: np.random.Generator,
    turn: np.ndarray,
    slope: float,
    shift: np.ndarray,
    azimuth: float,
) -> None:
    """Add the scatterers to a complex image, in place; each is shared by the four pixels around it."""
    # The radar looks from -range: in the object's axes that is the direction of azimuth + pi.
    off = np.angle(np.exp(1j * (target.facing - (np.pi - azimuth))))
    strength = target.strength * np.exp(-((off / target.width) ** 2)) * rng.lognormal(0, 0.25, len(off))
    strength = strength * (rng.random(len(off)) > 0.1) * rng.uniform(1, 4)
    flat = target.points[:, :2] @ turn  # back to range and cross-range
    away = flat[:, 0] - target.points[:, 2] * slope + shift[0]  # layover
    places = np.column_stack([away, flat[:, 1] + shift[1]]) / SPACING + len(field) / 2
    whole = np.floor(places).astype(int)
    part = places - whole
    signal = strength * np.exp(2j * np.pi * rng.random(len(off)))
    for row in (0, 1):
        for column in (0, 1):
            weight = abs(1 - row - part[:, 0]) * abs(1 - column - part[:, 1])
            at = np.clip(whole + np.array([row, column]), 0, len(field) - 1)
            np.add.at(field, (at[:, 0], at[:, 1]), 2 * weight * signal)


def _add_ghosts(field: np.ndarray, distance: int, factor: float) -> None:
    """Add what lies a distance away on both sides, in columns, times a factor, to a complex image, in place."""
    if distance < field.shape[1]:
        one, other = field[:, :-distance] * factor, field[:, distance:] * factor
        field[:, distance:] += one
        field[:, :-distance] += other


def _imaged(field: np.ndarray, looks: int) -> np.ndarray:
    """Return the amplitude (size, size) of a complex image that is limited to the radar's band."""
    spectrum, size = np.fft.fft2(field), len(field)
    found = [abs(np.fft.ifft2(spectrum * _taper(size, looks, look))) for look in range(looks)]
    return found[0] if looks == 1 else np.sqrt(np.mean(np.square(found), axis=0))


@lru_cache(maxsize=64)
def _taper(size: int, looks: int, look: int) -> np.ndarray:
    """Return the transfer function (size, size) of a look: a raised cosine on a pedestal within its band, 0 outside."""
    frequency = np.fft.fftfreq(size)
    window = _window(frequency, _BAND)
    part = _window(frequency - _BAND * ((look + 0.5) / looks - 0.5), _BAND / looks)
    return np.outer(window, part) * (1 / np.sqrt((part**2).mean()))


def _window(frequency: np.ndarray, band: float) -> np.ndarray:
    return np.where(abs(frequency) < band / 2, 0.54 + 0.46 * np.cos(2 * np.pi * frequency / band), 0)


class SimulatedTargets(SceneDataset):
    """Chips of simulated vehicles, made when they are read.

    Args:
        root: not read.
        split: ``"train"``, ``"val"`` or ``"test"``: other views of the same objects.
        objects: number of classes.
        views: chips of each.
        size: side of a chip in pixels.
        seed: decides the objects.
        **imaging: values of :class:`Imaging`, such as ``looks=4``.

    Raises:
        OptionError: there is no such split, or a number is out of its range.
    """

    def __init__(
        self,
        root: AnyPath,
        split: str,
        *,
        objects: int = 400,
        views: int = 64,
        size: int = 128,
        seed: int = 0,
        **imaging: Any,
    ) -> None:
        if split not in _SEEDS or min(objects, views, size) < 1:
            raise OptionError(
                f"expected a split of {', '.join(_SEEDS)} and numbers above 0, got {split!r}, objects={objects}, "
                f"views={views}, size={size}"
            )
        names = [f"{label:04d}/{view:04d}" for label in range(objects) for view in range(views)]
        labels = np.arange(objects, dtype=np.int64).repeat(views)
        super().__init__(root, [Path(root, name) for name in names], labels, [f"{n:04d}" for n in range(objects)])
        self.views, self.pixels, self.seed, self.first = views, size, seed, _SEEDS[split] * views
        self.imaging = Imaging(**imaging)

    def __getitem__(self, index: int) -> Sample:
        """Make one chip; the image is float32 (size, size), amplitude in [0, 1]."""
        label, view = divmod(range(len(self))[index], self.views)
        image = render(self.seed, label, self.first + view, size=self.pixels, imaging=self.imaging)
        return Sample(image, label, self.names[index])

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of one chip in pixels."""
        return self.pixels, self.pixels

    @classmethod
    def options(cls, root: Path, lists: Path | None) -> dict[str, Any]:
        """Return no options; there are no lists.

        Raises:
            OptionError: lists are given.
        """
        if lists is not None:
            raise OptionError("simulated targets have no lists; leave them out")
        return {}


DATASET = CatalogEntry(
    SimulatedTargets,
    dict.fromkeys(_SEEDS),
    recipe={"data": {"root": ".", "full_scale": 1.0}},
)
