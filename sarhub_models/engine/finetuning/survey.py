"""A look at every chip before a fine-tuning: which cannot be used, and which share pixels across the splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...datasets.leaks import find_pairs
from ...features.stream import Images, stream
from ...io.images import read_pixels
from ...io.progress import progress_bar
from ...transforms import Pipeline
from .table import Chip

_PAIRS = 1e6  # chips trained on × chips held out that are compared, of up to _COMMON pixels: half a minute on one core
_COMMON = 128**2
_ALIKE = 0.4  # correlation of shared pixels: two looks at one vehicle from one side, on one ground, reach 0.3
_LEVEL = 100.0  # median of the chips that are compared: their logarithm is of 1 + x, next to which x must not be small
_SMALL = 1e-12
_TRIED = 50  # chips of a side whose size is looked at


def look_at(
    root: Path,
    chips: Sequence[Chip],
    transform: Pipeline,
    *,
    full_scale: float | None = None,
    bands: Sequence[str] | None = None,
    band: Sequence[int] | None = None,
    nodata: str = "refuse",
    workers: int = 0,
    on_error: str = "stop",
) -> tuple[list[int], dict[str, str]]:
    """Read every chip as it will be read in training.

    Args:
        root: folder of the chips.
        chips: their names.
        transform: of the network, in evaluation mode, with one size for all.
        full_scale: as of :func:`~sarhub_models.features.extract.extract_features`, and so are the others.
        bands: names of the bands in the files.
        band: their positions.
        nodata: policy for pixels without data.
        workers: processes that read.
        on_error: ``"stop"`` at a chip that cannot be used, or ``"skip"`` it.

    Returns:
        The indices of the chips that can be used, and why others cannot.

    Raises:
        ImageError: a chip cannot be used; the message names it.
    """
    paths = [root / chip.name for chip in chips]
    images = Images(
        paths,
        transform,
        full_scale=full_scale if transform.takes_amplitude else None,
        band=None if band is None else band[0] if len(band) == 1 else band,
        bands=bands,
        nodata=nodata,
    )
    names = [chip.name for chip in chips]
    rows = stream(_looked_at, images, names, workers=workers, on_error=on_error, title="looking at the chips")  # type: ignore[arg-type]
    index_of = {name: index for index, name in enumerate(names)}
    return [index_of[name] for name in rows.names], rows.skipped


def _looked_at(inputs: Tensor) -> np.ndarray:
    return np.zeros((len(inputs), 1), np.float32)


@dataclass(frozen=True)
class Twins:
    """Chips that are held out of training and share pixels with one that is trained on.

    Attributes:
        count: how many.
        compared: chips held out that were looked at.
        pair: names of one that is trained on and one that is not, whose shared pixels agree best; ``None`` without any.
    """

    count: int
    compared: int
    pair: tuple[str, str] | None


def find_twins(root: Path, chips: Sequence[Chip], *, seed: int = 0, **reading: Any) -> Twins:
    """Find the chips held out of training that share pixels with one that is trained on.

    Of many or large chips some are drawn, so that it takes half a minute or so.

    Args:
        root: folder of the chips.
        chips: with their splits.
        seed: of the draw.
        **reading: of :func:`~sarhub_models.io.images.read_pixels`.
    """

    def read(chip: Chip) -> np.ndarray:
        image = np.abs(read_pixels(root / chip.name, **reading)).astype(np.float32)
        image = image if image.ndim == 2 else image[0]
        return image * (_LEVEL / max(float(np.median(image)), _SMALL))

    sides = [[chip for chip in chips if (chip.split == "train") == side] for side in (True, False)]
    area = max(read(chip).size for side in sides for chip in side[:_TRIED])
    share = min(1.0, (_PAIRS / (max(1, area / _COMMON) * len(sides[0]) * len(sides[1]))) ** 0.5)
    rng = np.random.default_rng(seed)
    learned, held = (
        [side[index] for index in np.sort(rng.permutation(len(side))[: max(1, round(share * len(side)))])]
        for side in sides
    )
    both = [*learned, *held]
    with progress_bar("comparing the chips", len(learned)) as advance:
        found = find_pairs(lambda index: read(both[index]), len(both), border=len(learned), advance=advance)
    pairs = [pair for pair in found if pair.correlation > _ALIKE]
    best = max(pairs, key=lambda pair: (pair.overlap * pair.correlation, pair.first), default=None)
    names = None if best is None else (both[best.first].name, both[best.second].name)
    return Twins(len({pair.second for pair in pairs}), len(held), names)
