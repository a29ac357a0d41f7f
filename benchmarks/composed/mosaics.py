"""Mosaics of land cover from real patches: ``python -m benchmarks.composed mosaics --data DIR --out DIR``.

A mosaic is an area cut into irregular regions: Voronoi cells whose borders are bent by smooth noise. Each region is
filled with Sentinel-1 patches of one of the eight classes of DSN-SLC, stitched together; brightness is not matched, as
it belongs to a class. Train mosaics hold train patches only, and so on. The result is laid out as MMSegmentation takes
it, 8-bit images (see :func:`~benchmarks.composed.patches.gray_levels`) and masks of class indices:

    OUT/img_dir/{train,val,test}/*.png    OUT/ann_dir/{train,val,test}/*.png    OUT/classes.txt    OUT/settings.json

They are no images of a satellite: classes meet that never do, at borders that no shore or street follows, and patches
of a class that were taken kilometres apart lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.mm.prepared import CLASSES_FILE, write_png
from sarhub_models.errors import OptionError
from sarhub_models.io.files import write_text

from .patches import Patches, Settings, compose, gray_levels, random_flip, stitch

__all__ = ["Mosaic", "MosaicSettings", "compose_mosaic", "compose_mosaics", "region_map"]

FEATHER = 8  # pixels of a seam between patches of a region
_BEND = 10.0  # standard deviation of the borders' displacement in pixels
_SMOOTH = 14.0  # correlation length of the displacement in pixels
_TARGETS = ("ship", "vehicle")  # simulated classes that are no land cover


@dataclass(frozen=True)
class MosaicSettings(Settings):
    """Settings of a set of mosaics; each is at least as large as a patch."""

    train: int = 400
    size: int = 256
    fewest: int = 5
    most: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 64:
            raise OptionError(f"expected a size of at least 64 pixels, that of a patch, got {self.size}")


@dataclass(frozen=True)
class Mosaic:
    """A composed mosaic.

    Attributes:
        amplitude: float32 (H, W), in digital numbers.
        mask: uint8 (H, W), the class of each pixel.
    """

    amplitude: np.ndarray
    mask: np.ndarray


def region_map(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a square into irregular regions.

    Args:
        size: side of the square in pixels.
        count: number of Voronoi cells before their borders are bent.
        rng: of their centers and of the noise.

    Returns:
        Number of the region of each pixel, int64 (size, size), from 0 to ``count - 1``; small ones may be lost.
    """
    centers = rng.uniform(0, size, (count, 2))
    noise = ndimage.gaussian_filter(rng.normal(size=(2, size, size)), (0, _SMOOTH, _SMOOTH), mode="nearest")
    noise *= _BEND / noise.std()
    places = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")) + noise
    distances = ((places[None] - centers[:, :, None, None]) ** 2).sum(axis=1)
    return distances.argmin(axis=0)


def land_cover(patches: Patches) -> Patches:
    """Return the patches without simulated targets, with the classes numbered anew."""
    names = tuple(name for name in patches.class_names if name not in _TARGETS)
    numbers = np.array([names.index(name) if name in names else -1 for name in patches.class_names])[patches.labels]
    return Patches(patches.signal[numbers >= 0], numbers[numbers >= 0], names)


def compose_mosaic(patches: Patches, settings: MosaicSettings, rng: np.random.Generator) -> Mosaic:
    """Compose one mosaic of all classes in turn, in random order, so that none is rarer than others.

    Args:
        patches: the classes.
        settings: size of the mosaic and number of regions.
        rng: of all choices.
    """
    count = int(rng.integers(settings.fewest, settings.most + 1))
    regions = region_map(settings.size, count, rng)
    classes = len(patches.class_names)
    decks = [rng.permutation(classes) for _ in range(-(-count // classes))]
    labels = np.concatenate(decks)[:count].astype(np.uint8)
    amplitude = np.zeros(regions.shape, np.float32)
    for number, place in enumerate(ndimage.find_objects(regions + 1, max_label=count)):
        if place is not None:
            inside = regions[place] == number
            members = patches.signal[patches.labels == labels[number]]

            def draw(members: np.ndarray = members) -> np.ndarray:
                return random_flip(members[rng.integers(len(members))], rng)

            amplitude[place][inside] = np.abs(stitch(draw, inside.shape, FEATHER, rng))[inside]
    return Mosaic(amplitude, labels[regions])


def compose_mosaics(data: Path | None, out: Path, settings: MosaicSettings, *, progress: bool = True) -> bool:
    """Compose a data set of patches of land cover (s1.npz), unless it is there; see :func:`.compose`."""

    def fill(folder: Path, split: str, loaded: Sequence[Patches], rngs: Iterable[np.random.Generator]) -> None:
        patches = land_cover(loaded[0])
        images, masks = folder / "img_dir" / split, folder / "ann_dir" / split
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index, rng in enumerate(rngs):
            mosaic = compose_mosaic(patches, settings, rng)
            write_png(gray_levels(mosaic.amplitude), images / f"{split}_{index:04}.png")
            write_png(mosaic.mask, masks / f"{split}_{index:04}.png")
        write_text(folder / CLASSES_FILE, "\n".join(patches.class_names) + "\n")

    return compose(data, out, settings, ("s1",), fill, progress=progress)
