"""Patches of composed scenes and mosaics, joined by seams that keep the speckle, and their gray levels.

Single-look complex patches are joined as complex signals whose weights have squares that sum to 1. The sum of
independent circular Gaussian signals with such weights is again one with the same mean intensity, so fully developed
speckle stays Rayleigh distributed across a seam (blended amplitudes would be smoother there, and show the seam).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.mm.prepared import prepare_folder
from sarhub_models.datasets.recognition.dsn.reader import SPLITS, load_dsn
from sarhub_models.datasets.simulated import CLASS_NAMES, simulate_chips
from sarhub_models.errors import DataError, OptionError
from sarhub_models.io.files import digests
from sarhub_models.io.progress import progress_bar
from sarhub_models.transforms import log_amplitude

__all__ = [
    "BITS",
    "SIMULATED",
    "Patches",
    "Settings",
    "compose",
    "gray_levels",
    "load_patches",
    "origin",
    "random_flip",
    "seam_window",
    "stitch",
]

BITS = 16  # of Sentinel-1's digital numbers, as log_amplitude takes them
SIMULATED = "simulated"
_FULL_SCALE = 2**BITS - 1
_SIMULATED_SCALE = 200  # digital number of a simulated amplitude of 1: puts the sea where Sentinel-1 has it, about 13
_SIMULATED_COUNT = 24  # chips of each class and split


@dataclass(frozen=True)
class Settings:
    """Settings of a set of composed images, but for its patches.

    Attributes:
        train: number of images of the training split.
        val: of the validation split.
        test: of the test split.
        size: side of an image in pixels.
        fewest: ships or regions of an image, at least.
        most: ships or regions of an image, at most.
        seed: of all random choices.

    Raises:
        OptionError: there would be no image in a split, or the numbers are impossible.
    """

    train: int = 160
    val: int = 40
    test: int = 60
    size: int = 512
    fewest: int = 3
    most: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test) < 1 or not 1 <= self.fewest <= self.most or self.seed < 0:
            raise OptionError(f"expected images in every split, 1 <= fewest <= most and seed >= 0, got {self}")


@dataclass(frozen=True)
class Patches:
    """Patches of one split.

    Attributes:
        signal: complex64 (N, H, W), in digital numbers.
        labels: int64 (N,), indexing ``class_names``.
        class_names: the classes.
    """

    signal: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def of(self, class_name: str) -> np.ndarray:
        """Return the signals of one class."""
        return self.signal[self.labels == self.class_names.index(class_name)]


def load_patches(data: Path | None, part: str, split: str, seed: int = 0) -> Patches:
    """Read one split of a part of DSN-SLC, or simulate one.

    Simulated chips have one look, amplitudes only: their phases are drawn uniformly. Each split has its own seed.

    Args:
        data: folder with the packed files; ``None`` simulates.
        part: which part; of no meaning for simulated chips.
        split: ``"train"``, ``"val"`` or ``"test"``.
        seed: of the simulation.

    Raises:
        DataError: a packed file is missing or damaged.
        UnknownNameError: there is no such part or split.
    """
    if data is not None:
        patches = load_dsn(data, parts=(part,), split=split, quantity="complex")
        names = tuple(name.rpartition("/")[2] for name in patches.class_names)
        return Patches(patches.images, patches.labels, names)
    number = len(SPLITS) * seed + SPLITS.index(split)
    chips, labels, _ = simulate_chips(_SIMULATED_COUNT, seed=number, looks=1)
    phase = np.random.default_rng(number).uniform(0, 2 * np.pi, chips.shape)
    return Patches((_SIMULATED_SCALE * chips * np.exp(1j * phase)).astype(np.complex64), labels, CLASS_NAMES)


def origin(data: Path | None, parts: tuple[str, ...]) -> dict[str, str] | str:
    """Return what tells one source of patches from another: the SHA-256 of the packed files, or ``SIMULATED``.

    Raises:
        DataError: a packed file is missing.
    """
    if data is None:
        return SIMULATED
    for part in parts:
        if not (data / f"{part}.npz").is_file():
            raise DataError(f"expected the packed DSN-SLC patches in {data / part}.npz, found no such file")
    return {part: digests(data / f"{part}.npz").sha256 for part in parts}


def compose(
    data: Path | None,
    out: Path,
    settings: Settings,
    parts: tuple[str, ...],
    fill: Callable[[Path, str, Sequence[Patches], Iterable[np.random.Generator]], None],
    *,
    progress: bool,
) -> bool:
    """Compose a data set, unless it is there.

    Args:
        data: folder with the packed files of the parts; ``None`` composes simulated chips.
        out: the data set's folder; it appears complete or not at all.
        settings: numbers and seed. The same settings give the same images; a larger number keeps those of a smaller.
        parts: of DSN-SLC.
        fill: writes a split; gets the folder, the split's name, the patches of each part, and a random generator for
            each image.
        progress: draw a bar.

    Returns:
        Whether it was composed; ``False`` where it was there.

    Raises:
        OptionError: the folder was composed with other settings or of other patches.
        DataError: the patches are missing, or the folder holds something else.
    """
    counts = [getattr(settings, split) for split in SPLITS]

    def fill_all(folder: Path) -> None:
        with progress_bar("composing", sum(counts), show=progress) as advance:

            def generators(number: int) -> Iterator[np.random.Generator]:
                for index in range(counts[number]):
                    yield np.random.default_rng([settings.seed, number, index])
                    advance(1)

            for number, split in enumerate(SPLITS):
                patches = [load_patches(data, part, split, settings.seed) for part in parts]
                fill(folder, split, patches, generators(number))

    return prepare_folder(out, {"patches": origin(data, parts), **asdict(settings)}, fill_all)


def seam_window(size: int, feather: int) -> np.ndarray:
    """Return weights (size, size) in (0, 1], float32: 1 inside, falling as a sine over ``feather`` pixels at the edges.

    Where two windows overlap by ``feather`` pixels, the squares of their weights sum to 1.
    """
    ramp = np.sin(np.pi / 2 * (np.arange(feather) + 0.5) / feather)
    edge = np.concatenate([ramp, np.ones(size - 2 * feather), ramp[::-1]])
    return np.outer(edge, edge).astype(np.float32)


def random_flip(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flip (H, W) up-down and left-right with probability ½ each; turning would exchange range and azimuth."""
    return signal[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]


def stitch(
    draw: Callable[[], np.ndarray], shape: tuple[int, int], feather: int, rng: np.random.Generator
) -> np.ndarray:
    """Cover an area with square patches that overlap by ``feather`` pixels, from a random corner on.

    Args:
        draw: gives the next patch, complex (S, S), always of one size.
        shape: height and width of the area in pixels.
        feather: width of the seams in pixels.
        rng: of the corner.

    Returns:
        complex64 of ``shape``.
    """
    first = draw()
    size = len(first)
    step = size - feather
    corner = rng.integers(feather, size, 2)
    rows, columns = (
        -(-(start + length + feather - size) // step) + 1 for start, length in zip(corner, shape, strict=True)
    )
    canvas = np.zeros((rows * step + feather, columns * step + feather), np.complex64)
    window = seam_window(size, feather)
    for row in range(rows):
        for column in range(columns):
            patch = first if row == column == 0 else draw()
            canvas[row * step : row * step + size, column * step : column * step + size] += window * patch
    return canvas[corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]]


def gray_levels(amplitude: np.ndarray) -> np.ndarray:
    """Return amplitudes (H, W) in digital numbers as 8 bits: ``round(255 · log2(1 + a) / 16)``, a at most 65535.

    That is :func:`~sarhub_models.transforms.log_amplitude` at 16 bits. A gray level is 4.4 % of amplitude, far below
    the speckle.
    """
    scaled = np.clip(amplitude / _FULL_SCALE, 0, 1).astype(np.float32)
    return np.rint(255 * log_amplitude(scaled, BITS)).astype(np.uint8)
