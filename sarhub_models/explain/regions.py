"""Find target, shadow and background of chips.

SAR-HUB's rules (Remote Sensing 15(23), 5534, 2023) for chips with one target in the middle and its shadow to one side.
They are rules of thumb: look at the pictures, and give masks or boxes of your own where they fail.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..errors import ImageError, InputError
from ..io.images import SUFFIXES, read_image
from .objective import grid_shape

__all__ = [
    "BACKGROUND",
    "REGION_NAMES",
    "SHADOW",
    "TARGET",
    "Regions",
    "find_regions",
    "read_regions",
    "regions_from_masks",
    "tidy",
]

BACKGROUND, TARGET, SHADOW = 0, 1, 2
REGION_NAMES = ("background", "target", "shadow")
"""Name of each number in :attr:`Regions.patches`."""

_TARGET_PERCENTILE = 70
_SHADOW_WINDOW = (slice(40, 96), slice(40, 80))  # rows and columns of a chip of 128 pixels
_SHADOW_SIZE = 128
_WINDOW, _NEIGHBORS = 7, 15
_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Regions:
    """Target, shadow and background of chips.

    Attributes:
        target: bool (N, H, W).
        shadow: bool (N, H, W), without pixels of the target.
        patches: uint8 (N, R, C), 0 background, 1 target, 2 shadow: a patch belongs to the target if any of its pixels
            does, else to the shadow if any does, else to the background.
        patch: side of a patch in pixels.
    """

    target: np.ndarray
    shadow: np.ndarray
    patches: np.ndarray
    patch: int

    @property
    def background(self) -> np.ndarray:
        """Patches of the background, bool (N, R, C)."""
        return self.patches == BACKGROUND


def find_regions(chips: np.ndarray, *, patch: int = 8) -> Regions:
    """Find target and shadow by brightness.

    Target: pixels above the 70th percentile of the chip. Shadow: pixels at or below its median inside rows 40 to 95
    and columns 40 to 79 of a chip of 128 pixels, scaled to other sizes. Of each, pixels with fewer than 15 set
    neighbors in the 7×7 window around them are dropped, holes are filled, and the largest region (8-connected; of
    several of a size the first) is kept.

    Args:
        chips: amplitude on any scale that rises with it, (N, H, W) or (N, C, H, W), of which the first channel counts.
        patch: side of a patch in pixels.

    Returns:
        The regions. A region of which nothing is left is empty; without background, knowledge points are undefined.

    Raises:
        InputError: another shape, or a value that is not finite.
    """
    images = np.asarray(chips)
    images = images[:, 0] if images.ndim == 4 else images
    if images.ndim != 3 or images.size == 0 or not np.isfinite(images).all():
        raise InputError(f"expected finite chips of shape (N, H, W) or (N, C, H, W), got {np.shape(chips)}")
    target = np.stack([tidy(image > np.percentile(image, _TARGET_PERCENTILE)) for image in images])
    shadow = np.stack([tidy((image <= np.median(image)) & _shadow_window(image.shape)) for image in images])
    return regions_from_masks(target, shadow, patch=patch)


def regions_from_masks(
    target: np.ndarray | Sequence[Sequence[int]],
    shadow: np.ndarray | Sequence[Sequence[int]] | None = None,
    *,
    size: tuple[int, int] | None = None,
    patch: int = 8,
) -> Regions:
    """Return the regions of masks or boxes that are known.

    Args:
        target: bool (N, H, W), or boxes (N, 4): first row, first column, and behind the last row and column, in
            pixels. An empty box is an empty region.
        shadow: the same of the shadow; by default there is none.
        size: (H, W) of the chips, which boxes need.
        patch: side of a patch in pixels.

    Raises:
        InputError: another shape, boxes without size, or targets and shadows of different shapes.
    """
    bright = _as_masks(target, size)
    dark = np.zeros_like(bright) if shadow is None else _as_masks(shadow, size)
    if bright.shape != dark.shape:
        raise InputError(f"expected target and shadow of one shape, got {bright.shape} and {dark.shape}")
    dark = dark & ~bright
    patches = np.where(any_in_patch(bright, patch), TARGET, np.where(any_in_patch(dark, patch), SHADOW, BACKGROUND))
    return Regions(bright, dark, patches.astype(np.uint8), patch)


def read_regions(
    folder: str | os.PathLike[str], names: Sequence[str], size: tuple[int, int], *, patch: int = 8
) -> Regions:
    """Read the regions of chips from masks: images of 0 (background), 1 (target) and 2 (shadow).

    Args:
        folder: the mask of the chip ``a/b.npy`` is ``<folder>/a/b`` with a suffix of
            :func:`~sarhub_models.io.images.read_image`.
        names: of the chips, their paths with ``/``.
        size: (H, W) of the chips as they are explained; a mask of another size is resized, nearest pixel.
        patch: side of a patch in pixels.

    Raises:
        ImageError: a mask is missing or cannot be read, or holds another value; it is named.
    """
    masks = np.stack([_resized(_read_mask(Path(folder), name), size) for name in names])
    return regions_from_masks(masks == TARGET, masks == SHADOW, patch=patch)


def _read_mask(folder: Path, name: str) -> np.ndarray:
    stem = Path(name).with_suffix("")
    candidates = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
    file = next((file for file in candidates if file.is_file()), None)
    if file is None:
        raise ImageError(f"expected the mask of {name} in {folder / stem} with {', '.join(SUFFIXES)}, found none")
    mask = read_image(file)
    if not np.isin(mask, (BACKGROUND, TARGET, SHADOW)).all():
        raise ImageError(
            f"{file}: expected a mask of 0 (background), 1 (target) and 2 (shadow), got values from {mask.min()} to "
            f"{mask.max()}"
        )
    return mask


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask (H, W) of another size: each pixel takes the value at its center."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def any_in_patch(masks: np.ndarray, patch: int) -> np.ndarray:
    """Return ``True`` for patches with any pixel set: bool (N, H, W) becomes (N, R, C)."""
    rows, columns = grid_shape(masks.shape[1:], patch)
    padded = np.zeros((len(masks), rows * patch, columns * patch), dtype=bool)
    padded[:, : masks.shape[1], : masks.shape[2]] = masks
    return np.asarray(padded.reshape(len(masks), rows, patch, columns, patch).any(axis=(2, 4)))


def _as_masks(given: np.ndarray | Sequence[Sequence[int]], size: tuple[int, int] | None) -> np.ndarray:
    array = np.asarray(given)
    if array.ndim == 3:
        return array.astype(bool)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"expected masks (N, H, W) or boxes (N, 4), got shape {array.shape}")
    if size is None:
        raise InputError("boxes need the size of the chips: size=(H, W)")
    rows, columns = np.arange(size[0])[None, :, None], np.arange(size[1])[None, None, :]
    top, left, bottom, right = (edge[:, None, None] for edge in array.T)
    inside: np.ndarray = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside


def _shadow_window(shape: tuple[int, ...]) -> np.ndarray:
    window = np.zeros(shape, dtype=bool)
    rows, columns = (
        slice(*(round(edge * length / _SHADOW_SIZE) for edge in (part.start, part.stop)))
        for part, length in zip(_SHADOW_WINDOW, shape, strict=True)
    )
    window[rows, columns] = True
    return window


def tidy(mask: np.ndarray) -> np.ndarray:
    """Drop lonely pixels of a mask (H, W), fill its holes and keep its largest region, as :func:`find_regions` says."""
    window = np.ones((_WINDOW, _WINDOW), dtype=np.int32)
    window[_WINDOW // 2, _WINDOW // 2] = 0
    neighbors = ndimage.convolve(mask.astype(np.int32), window, mode="constant")
    filled = ndimage.binary_fill_holes(mask & (neighbors >= _NEIGHBORS))
    labels, count = ndimage.label(filled, structure=_EIGHT)
    if count == 0:
        return np.zeros_like(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1
