"""Synthetic SAR chips for demonstrations, tests and pictures: reflectivity maps of simple scenes under speckle.

The multiplicative model: intensity = reflectivity x speckle. Fully developed speckle of one look is exponentially
distributed with mean 1, as many scatterers with random phases add up in each pixel; the mean of L independent looks
is gamma distributed with shape L and mean 1, so its variance is 1/L (Goodman, Some fundamental properties of speckle,
J. Opt. Soc. Am. 66(11), 1976). The sea's reflectivity is itself gamma distributed, which makes its intensity
K-distributed (Jakeman and Pusey, A model for non-Rayleigh sea echo, IEEE Trans. Antennas Propag. 24(6), 1976).

There is no imaging geometry and no point spread: these chips look like SAR and have its statistics, but they are not
measurements and no stand-in for them in an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import OptionError

__all__ = ["CLASS_NAMES", "simulate_chips", "speckle"]

_SEA_SHAPE = 6.0  # shape of the sea's gamma texture: moderately spiky


def simulate_chips(
    num_per_class: int, *, size: int = 64, seed: int = 0, looks: float = 4.0
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Simulate chips of every class of :data:`CLASS_NAMES`.

    The same arguments give the same chips on every machine with the same release of NumPy, and a larger
    ``num_per_class`` keeps the chips of a smaller one.

    Args:
        num_per_class: chips of each class.
        size: side of the square chips in pixels, at least 16.
        seed: seed of the random numbers, not negative.
        looks: number of looks L, above 0; 1 is single-look speckle.

    Returns:
        Amplitude, float32 (N, size, size) in [0, 1]; labels, int64 (N,), class by class; the names of the classes.

    Raises:
        OptionError: an argument is out of its range.

    >>> chips, labels, names = simulate_chips(2, size=32)
    >>> chips.shape, names[labels[0]]
    ((12, 32, 32), 'sea')
    """
    if num_per_class < 1 or size < 16 or seed < 0:
        raise OptionError(
            "expected num_per_class of at least 1, size of at least 16 and seed of at least 0, "
            f"got {num_per_class}, {size} and {seed}"
        )
    chips = np.empty((len(_SCENES), num_per_class, size, size), dtype=np.float32)
    for label, scene in enumerate(_SCENES.values()):
        for number in range(num_per_class):
            rng = np.random.default_rng([seed, label, number])
            chips[label, number] = np.sqrt(speckle(scene(rng, size), looks, rng)).clip(0, 1)
    labels = np.repeat(np.arange(len(_SCENES), dtype=np.int64), num_per_class)
    return chips.reshape(-1, size, size), labels, CLASS_NAMES


def speckle(reflectivity: np.ndarray, looks: float, rng: np.random.Generator) -> np.ndarray:
    """Return an intensity image of a scene: its reflectivity times gamma-distributed speckle of mean 1.

    Args:
        reflectivity: mean intensity of each pixel, not negative, any shape.
        looks: number of looks L, above 0; the speckle's variance is 1/L.
        rng: source of the random numbers.

    Returns:
        Intensity, float64, of the shape of ``reflectivity``.

    Raises:
        OptionError: ``looks`` is not above 0.
    """
    if not looks > 0:
        raise OptionError(f"expected looks above 0, got {looks}")
    return reflectivity * rng.gamma(looks, 1 / looks, reflectivity.shape)


def _coordinates(rng: np.random.Generator, size: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates in units of the chip's side, turned by a random angle about a point near the center."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    rows, columns = rows - rng.uniform(-shift, shift), columns - rng.uniform(-shift, shift)
    angle = rng.uniform(0, np.pi)
    return columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)


def _sea(rng: np.random.Generator, size: int) -> np.ndarray:
    along, _ = _coordinates(rng, size)
    swell = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 6) * along + rng.uniform(0, 2 * np.pi))
    texture = rng.gamma(_SEA_SHAPE, 1 / _SEA_SHAPE, (size, size))
    return rng.uniform(0.002, 0.006) * swell * texture


def _ship(rng: np.random.Generator, size: int) -> np.ndarray:
    along, across = _coordinates(rng, size, shift=0.15)
    length, width = rng.uniform(0.25, 0.5), rng.uniform(0.06, 0.1)
    hull = (2 * along / length) ** 4 + (2 * across / width) ** 2 < 1
    superstructure = hull & (rng.random((size, size)) < 0.15)
    return np.where(superstructure, 1.0, np.where(hull, 0.2, _sea(rng, size)))


def _vehicle(rng: np.random.Generator, size: int) -> np.ndarray:
    along, across = _coordinates(rng, size, shift=0.05)
    length, width = rng.uniform(0.2, 0.3), rng.uniform(0.1, 0.15)
    body = (abs(along) < length / 2) & (abs(across) < width / 2)
    shadow = (abs(along) < length / 2) & (abs(across - width) < width / 2)
    ground = np.where(shadow, 0.0005, rng.uniform(0.01, 0.02))
    return np.where(body, np.where(rng.random((size, size)) < 0.25, 1.0, 0.15), ground)


def _urban(rng: np.random.Generator, size: int) -> np.ndarray:
    along, across = _coordinates(rng, size)
    period = rng.uniform(0.12, 0.2)
    u, v = (along / period) % 1, (across / period) % 1
    street = (u < 0.25) | (v < 0.25)
    corner = (abs(u - 0.35) < 0.1) & (abs(v - 0.35) < 0.1)  # walls and street reflect like a corner reflector
    return np.where(corner, 1.0, np.where(street, 0.004, rng.uniform(0.04, 0.1)))


def _fields(rng: np.random.Generator, size: int) -> np.ndarray:
    parcel = np.zeros((size, size), dtype=np.int64)
    for edge in range(4):
        along, _ = _coordinates(rng, size, shift=0.3)
        parcel += (along > 0) << edge
    return rng.uniform(0.003, 0.08, 16)[parcel]


def _forest(rng: np.random.Generator, size: int) -> np.ndarray:
    """Crowns and gaps: log-normal reflectivity, correlated over a few pixels."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) * np.exp(-((frequency / 0.08) ** 2))
    crowns = np.fft.ifft2(spectrum).real
    return rng.uniform(0.04, 0.08) * np.exp(0.8 * crowns / crowns.std())


_SCENES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "sea": _sea,
    "ship": _ship,
    "vehicle": _vehicle,
    "urban": _urban,
    "fields": _fields,
    "forest": _forest,
}
CLASS_NAMES = tuple(_SCENES)
"""The simulated scenes, by label: open sea, a ship at sea, a vehicle with its shadow, houses, fields, forest."""
