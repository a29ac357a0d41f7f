"""Find images that share pixels: shifted crops and cuts of one scene, which must not lie on both sides of a split.

Speckle is a fingerprint: two looks at the same place differ in it, two crops of one image do not. So images are
whitened (local mean and contrast removed) and correlated at all shifts at once through the Fourier transform. To
compare each large image with each would take hours; here each is correlated with the *sum* of a block of others. A pair
that shares pixels stands out of the sum by many standard deviations, and only then are the members of the block looked
at one by one. Noise of the sum grows with the root of the members, and the smaller images are, the less stands out of
it: so blocks of small images are small, down to one.

Found are overlaps of a quarter of the smaller image, and of about a tenth from 350 pixels a side on; of less than 36
pixels a side, those of 9 / side and more; more, where neighbors are correlated. Turned, mirrored and resampled copies
are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from .base import ImageDataset

__all__ = ["Leaks", "Pair", "find_leaks", "find_pairs", "group_images"]

_BLOCK = 32  # images in a sum, at most: work shrinks with them
_AREA = 1225  # pixels for each image in a sum: an overlap of a quarter stands out by 8.75 standard deviations
_SMALL = 0.05  # quantile of the images' areas that decides
_WINDOW = 7  # side of the window of the local mean and contrast, in pixels
_CHUNK = 2**22  # values of correlations at once
_KEPT = 512 * 2**20  # bytes of images and transforms that are kept: small chips, which share much, need them often
_DOUBT = 7.0  # standard deviations above which the members of a block are looked at: chance reaches 6
_CERTAIN = 9.0  # and above which a pair is one
_LEAST = 0.1  # correlation of the shared pixels, at least: compression leaves 0.2 and more


@dataclass(frozen=True)
class Pair:
    """Two images that share pixels.

    Attributes:
        first: index of one.
        second: index of the other, above ``first``.
        shift: rows and columns by which the content of the second lies below and right of that of the first.
        overlap: share of the smaller image that both hold.
        correlation: of the whitened shared pixels, in [0, 1].
    """

    first: int
    second: int
    shift: tuple[int, int]
    overlap: float
    correlation: float


@dataclass(frozen=True)
class Leaks:
    """The images of a data set that share pixels.

    Attributes:
        names: of the images, by split.
        groups: number of the group of each, by split; what shares pixels, however indirectly, is one group.
        pairs: the pairs; they count the images of all splits, one after the other.
    """

    names: dict[str, tuple[str, ...]]
    groups: dict[str, np.ndarray]
    pairs: list[Pair]

    def shared(self, split: str, other: str) -> int:
        """Return the number of images of a split whose group has images in another split, or others in the same one."""
        if other == split:
            _, inverse, counts = np.unique(self.groups[split], return_inverse=True, return_counts=True)
            return int((counts[inverse] > 1).sum())
        return int(np.isin(self.groups[split], self.groups[other]).sum())


def find_leaks(splits: dict[str, ImageDataset[Any]], *, advance: Callable[[int], Any] | None = None) -> Leaks:
    """Return the images of some splits that share pixels; of several bands the first is compared.

    Args:
        splits: opened data sets, whose samples have an ``image``.
        advance: called with the number of images done.

    Raises:
        OptionError: there are fewer than two images.
        ImageError: an image is damaged.
    """
    samples = [(data, index) for data in splits.values() for index in range(len(data))]

    def read(number: int) -> np.ndarray:
        data, index = samples[number]
        image = np.abs(data[index].image)
        return np.asarray(image if image.ndim == 2 else image[0], np.float32)

    pairs = find_pairs(read, len(samples), advance=advance)
    groups, begin, by_split = group_images(pairs, len(samples)), 0, {}
    for split, data in splits.items():
        by_split[split] = groups[begin : begin + len(data)]
        begin += len(data)
    return Leaks({split: data.names for split, data in splits.items()}, by_split, pairs)


def find_pairs(
    read: Callable[[int], np.ndarray],
    count: int,
    *,
    border: int | None = None,
    advance: Callable[[int], Any] | None = None,
) -> list[Pair]:
    """Return all pairs of images that share pixels.

    Args:
        read: gives an image by its index, (H, W), real; it is called two to three times for each.
        count: number of images.
        border: find pairs of an image before this index and one from it on, no others.
        advance: called with the number of images done.

    Returns:
        The pairs, sorted.

    Raises:
        OptionError: there are fewer than two images.
    """
    if count < 2:
        raise OptionError(f"expected at least two images to compare, got {count}")
    from scipy.fft import next_fast_len

    shapes = np.array([read(index).shape for index in range(count)])
    size = tuple(next_fast_len(int(side), real=True) for side in shapes.max(axis=0))
    members = int(np.clip(np.quantile(shapes.prod(axis=1), _SMALL) // _AREA, 1, _BLOCK))
    spectra = _Spectra(read, size)
    first = _blocks(0, count if border is None else border, members)
    second = first if border is None else _blocks(border, count, members)
    sums = np.stack([spectra.sum(block) for block in second])
    pairs: list[Pair] = []
    for number, block in enumerate(first):
        later = slice(number if border is None else 0, None)
        for index in block:
            pairs += _pairs_of(spectra, index, second[later], sums[later], size)
        if advance is not None:
            advance(len(block))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _blocks(start: int, stop: int, members: int) -> list[range]:
    return [range(begin, min(begin + members, stop)) for begin in range(start, stop, members)]


def _pairs_of(
    spectra: _Spectra, index: int, blocks: Sequence[range], sums: np.ndarray, size: tuple[int, ...]
) -> Iterator[Pair]:
    """Yield the pairs of an image with later ones of some blocks, whose sums tell if there may be any."""
    own, inside = spectra.of(index), index in blocks[0]
    deviations = _deviations(own, sums[inside:], size)
    if inside:  # without itself and those it was compared with before
        rest = sums[:1] - spectra.sum(range(blocks[0].start, index + 1))
        deviations = np.concatenate([_deviations(own, rest, size), deviations])
    for number in np.flatnonzero(deviations > _DOUBT).tolist():
        members = range(max(blocks[number].start, index + 1), blocks[number].stop)
        yield from filter(None, (spectra.pair(index, other) for other in members))


def group_images(pairs: Sequence[Pair], count: int) -> np.ndarray:
    """Return the number of the group of each image, int64 (count,): what shares pixels, however indirectly, is one.

    Groups are numbered in the order of their first image.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = [pair.first for pair in pairs], [pair.second for pair in pairs]
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group].astype(np.int64)


def whiten(image: np.ndarray) -> np.ndarray:
    """Return an image without local mean and contrast, float32 (H, W) of about mean 0 and deviation 1."""
    from scipy.ndimage import uniform_filter

    x = np.log1p(np.maximum(np.nan_to_num(np.asarray(image, np.float32)), 0))
    x -= uniform_filter(x, _WINDOW, mode="reflect")
    power = uniform_filter(x * x, 3 * _WINDOW, mode="reflect")
    deviation = np.sqrt(np.maximum(power, 0)) + 1e-3 * (np.sqrt(power.mean()) + 1e-12)
    return np.clip(x / deviation, -3, 3)


class _Spectra:
    """Whitened images and their Fourier transforms, the last ones of which are kept."""

    def __init__(self, read: Callable[[int], np.ndarray], size: tuple[int, ...]) -> None:
        self.read, self.size = read, size
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # the last one used is at the end
        self.most = max(3 * _BLOCK, _KEPT // (8 * size[0] * size[1]))  # an image and its transform take as much

    def of(self, index: int) -> np.ndarray:
        """Return the transform of an image, complex64."""
        return self._both(index)[1]

    def sum(self, indices: range) -> np.ndarray:
        """Return the sum of some transforms, complex64."""
        total = self.of(indices[0]).copy()
        for index in indices[1:]:
            total += self.of(index)
        return total

    def _both(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        from scipy.fft import rfft2

        if index in self.kept:
            self.kept[index] = found = self.kept.pop(index)
            return found
        if len(self.kept) >= self.most:
            del self.kept[next(iter(self.kept))]
        image = whiten(self.read(index))
        self.kept[index] = image, np.asarray(rfft2(image, self.size)).astype(np.complex64)
        return self.kept[index]

    def pair(self, first: int, second: int) -> Pair | None:
        """Return the pair where two images share pixels, else ``None``."""
        (one, own), (two, other) = self._both(first), self._both(second)
        deviations, shift = _peak(own, other, self.size)
        if deviations < _CERTAIN:
            return None
        found = []
        for row in {shift[0], shift[0] - self.size[0]}:  # a shift is known modulo the size
            for column in {shift[1], shift[1] - self.size[1]}:
                a, b = _shared(one, two, row, column)
                if a.size:
                    correlation = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-12))
                    found.append((correlation * a.size**0.5, correlation, a.size, (row, column)))
        significance, correlation, shared, shift = max(found)
        if correlation < _LEAST or significance < _CERTAIN:
            return None
        return Pair(first, second, shift, shared / min(one.size, two.size), min(correlation, 1.0))


def _shared(one: np.ndarray, two: np.ndarray, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what two images have in common if the second is shifted by so many rows and columns."""
    height = min(one.shape[0], two.shape[0] - row) - max(0, -row)
    width = min(one.shape[1], two.shape[1] - column) - max(0, -column)
    if height <= 0 or width <= 0:
        return one[:0], two[:0]
    top, left = max(0, -row), max(0, -column)
    return (
        one[top : top + height, left : left + width],
        two[top + row : top + row + height, left + column : left + column + width],
    )


def _deviations(one: np.ndarray, others: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the highest correlation of an image with each of others, by their transforms, in standard deviations."""
    from scipy.fft import irfft2

    step = max(1, _CHUNK // (size[0] * size[1]))
    found = np.zeros(len(others))
    for begin in range(0, len(others), step):
        correlations = np.asarray(irfft2(np.conj(one) * others[begin : begin + step], size))
        values = correlations.reshape(len(correlations), -1)
        found[begin : begin + step] = values.max(axis=1) / (values.std(axis=1) + 1e-12)
    return found


def _peak(a: np.ndarray, b: np.ndarray, size: tuple[int, ...]) -> tuple[float, tuple[int, int]]:
    """Return the highest correlation of two images, by their transforms, in standard deviations, and its shift."""
    from scipy.fft import irfft2

    correlation = np.asarray(irfft2(np.conj(a) * b, size))
    place = int(correlation.argmax())
    row, column = divmod(place, size[1])
    return float(correlation.flat[place] / (correlation.std() + 1e-12)), (row, column)
