"""Scenes with ships, composed of real patches: ``python -m benchmarks.composed scenes --data DIR --out DIR``.

The sea is stitched from Sentinel-1 patches of the class ``water``, and ship chips of OpenSARShip (both in DSN-SLC) are
pasted in. A patch is scaled so that its median amplitude is the scene's, a chip so that its clutter's is: a ship keeps
its contrast to the sea. Train scenes hold train patches and train chips only, and so on. The result is a COCO data set
of 8-bit images (see :func:`~benchmarks.composed.patches.gray_levels`) with one category, ``ship``:

    OUT/{train,val,test}/*.png    OUT/annotations/{train,val,test}.json    OUT/settings.json

They are no images of a satellite: sea state and incidence angle change from patch to patch, nothing but sea surrounds
the ships, and no wake or ambiguity reaches beyond a chip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.mm.prepared import write_png
from sarhub_models.datasets.annotations.boxes import Annotation
from sarhub_models.datasets.annotations.coco import write_coco
from sarhub_models.datasets.detection.base import DetectionDataset
from sarhub_models.errors import DataError, OptionError

from .patches import Patches, Settings, compose, gray_levels, random_flip, seam_window, stitch

__all__ = [
    "Scene",
    "SceneSettings",
    "Ship",
    "compose_scene",
    "compose_scenes",
    "find_ship",
    "sea_patches",
    "ship_chips",
]

FEATHER = 6  # pixels of a seam
_LOOKS = 3  # side of the square over which intensity is averaged before it is compared
_CLUTTER = 2.5  # times the median of the averaged amplitude: out of reach for speckle of so many looks
_DYNAMIC = 20.0  # below the maximum by more than this, 26 dB, lie the side lobes of a bright ship
_GAP = np.ones((5, 9), dtype=bool)  # parts of a ship nearer than this, in azimuth or range, are one
_EIGHT = np.ones((3, 3), dtype=bool)
_SMALLEST = 20  # pixels of a ship
_COMPANION = 0.1  # share of the ship's pixels from which on something beside it makes a chip ambiguous
_ATTEMPTS = 1000


@dataclass(frozen=True)
class SceneSettings(Settings):
    """Settings of a set of scenes; there must be room for the ships."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 128 or self.most > (self.size // 128) ** 2:
            raise OptionError(
                f"scenes of {self.size} pixels have room for {(self.size // 128) ** 2} ships, not {self.most}; "
                "expected a larger size (at least 128) or fewer ships"
            )


@dataclass(frozen=True)
class Ship:
    """A ship chip.

    Attributes:
        signal: complex64 (S, S), scaled so that the median amplitude around the ship is 1.
        box: x, y, width, height of the ship in pixels of the chip.
    """

    signal: np.ndarray
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A composed scene.

    Attributes:
        amplitude: float32 (H, W), in digital numbers.
        boxes: int64 (K, 4), x, y, width, height of each ship in pixels.
    """

    amplitude: np.ndarray
    boxes: np.ndarray


def _stands_out(amplitude: np.ndarray) -> np.ndarray:
    """Return which pixels of (H, W), averaged over their neighbors, are brighter than speckle."""
    averaged = np.sqrt(ndimage.uniform_filter(amplitude.astype(np.float64) ** 2, _LOOKS, mode="reflect"))
    return averaged > max(_CLUTTER * np.median(averaged), averaged.max() / _DYNAMIC)


def find_ship(amplitude: np.ndarray) -> np.ndarray | None:
    """Return the pixels of the only ship of a chip.

    A ship is what stands out of the speckle: pixels whose intensity, averaged over 3 by 3 pixels, is above 2.5² times
    the median of that average, and less than 26 dB below its maximum, which leaves out the side lobes of bright ships.
    Parts with small gaps between them count as one.

    Args:
        amplitude: (H, W), in any unit.

    Returns:
        bool (H, W), or ``None`` where there is no ship, one that reaches into the seam at the edges of the chip, or
        something beside it that could be another.
    """
    bright = _stands_out(amplitude)
    margin = max(_GAP.shape)
    joined = ndimage.binary_closing(np.pad(bright, margin), _GAP)[margin:-margin, margin:-margin]
    labels, count = ndimage.label(joined, structure=_EIGHT)
    if count == 0:
        return None
    sizes = np.bincount(labels[bright], minlength=count + 1)[1:]
    largest = int(sizes.argmax())
    ship = bright & (labels == largest + 1)
    inside = np.zeros_like(ship)
    inside[FEATHER:-FEATHER, FEATHER:-FEATHER] = True
    if sizes[largest] < _SMALLEST or (ship & ~inside).any():
        return None
    return None if np.delete(sizes, largest).max(initial=0) > _COMPANION * sizes[largest] else ship


def ship_chips(patches: Patches) -> list[Ship]:
    """Return the chips with one ship that can be boxed; simulated ones are those of the class ``ship``.

    Raises:
        DataError: there is no such chip.
    """
    signals = patches.of("ship") if "ship" in patches.class_names else patches.signal
    found = []
    for signal in signals:
        amplitude = np.abs(signal)
        ship = find_ship(amplitude)
        if ship is not None:
            (rows, columns) = ndimage.find_objects(ship.astype(np.int8))[0]
            box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
            found.append(Ship(signal / np.median(amplitude[~ship]), box))
    if not found:
        raise DataError(f"none of {len(signals)} chips shows one ship by itself")
    return found


def sea_patches(patches: Patches) -> np.ndarray:
    """Return the patches of open water, complex64 (N, S, S): without those in which a ship or the coast stands out.

    Raises:
        DataError: there is no such patch.
    """
    water = patches.of("sea" if "sea" in patches.class_names else "water")
    empty = [signal for signal in water if not _stands_out(np.abs(signal)).any()]
    if not empty:
        raise DataError(f"none of {len(water)} patches of water is empty")
    return np.stack(empty)


def compose_scene(sea: np.ndarray, ships: Sequence[Ship], settings: SceneSettings, rng: np.random.Generator) -> Scene:
    """Compose one scene.

    Args:
        sea: complex (N, S, S), patches of open water.
        ships: the chips to choose from; none is used twice in a scene unless there are fewer than ships.
        settings: size of the scene and number of ships.
        rng: of all choices.
    """
    medians = np.median(np.abs(sea), axis=(1, 2))
    level = medians[rng.integers(len(sea))]

    def draw() -> np.ndarray:
        index = rng.integers(len(sea))
        return random_flip(sea[index], rng) * (level / medians[index])

    signal = stitch(draw, (settings.size, settings.size), FEATHER, rng)
    count = int(rng.integers(settings.fewest, settings.most + 1))
    chosen = rng.choice(len(ships), count, replace=count > len(ships))
    side = len(ships[0].signal)
    window = seam_window(side, FEATHER)
    boxes = []
    for (top, left), index in zip(_places(settings.size, side, count, rng), chosen, strict=True):
        chip, (x, y, width, height) = _flipped(ships[index], rng)
        area = signal[top : top + side, left : left + side]
        area *= np.sqrt(1 - window**2)
        area += window * level * chip
        boxes.append((left + x, top + y, width, height))
    return Scene(np.abs(signal), np.array(boxes, dtype=np.int64))


def _flipped(ship: Ship, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return a chip's signal and box, flipped at random."""
    corners = np.zeros(ship.signal.shape, dtype=np.int8)
    x, y, width, height = ship.box
    corners[y : y + height, x : x + width] = 1
    both = random_flip(np.stack([ship.signal, corners], axis=-1), rng)
    rows, columns = ndimage.find_objects(both[..., 1].real.astype(np.int8))[0]
    return both[..., 0], (columns.start, rows.start, width, height)


def _places(size: int, side: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return the upper left corners, row and column, of squares that do not overlap."""
    while True:  # settings leave room for at most a quarter of what would fit, so this seldom starts again
        places: list[tuple[int, int]] = []
        for _ in range(_ATTEMPTS):
            top, left = (int(v) for v in rng.integers(0, size - side + 1, 2))
            if all(max(abs(top - row), abs(left - column)) >= side for row, column in places):
                places.append((top, left))
            if len(places) == count:
                return places


def compose_scenes(data: Path | None, out: Path, settings: SceneSettings, *, progress: bool = True) -> bool:
    """Compose a data set of sea (s1.npz) and ships (opensarship.npz), unless it is there; see :func:`.compose`."""

    def fill(folder: Path, split: str, loaded: Sequence[Patches], rngs: Iterable[np.random.Generator]) -> None:
        sea, ships = sea_patches(loaded[0]), ship_chips(loaded[1])
        (folder / split).mkdir()
        annotations = []
        for index, rng in enumerate(rngs):
            scene = compose_scene(sea, ships, settings, rng)
            name = f"{split}_{index:04}.png"
            write_png(gray_levels(scene.amplitude), folder / split / name)
            corners = np.hstack([scene.boxes[:, :2], scene.boxes[:, :2] + scene.boxes[:, 2:]])
            annotations.append(Annotation(name, scene.amplitude.shape, corners, folder / split / name))
        write_coco(DetectionDataset(folder / split, annotations), folder / "annotations" / f"{split}.json")

    return compose(data, out, settings, ("s1", "opensarship"), fill, progress=progress)
