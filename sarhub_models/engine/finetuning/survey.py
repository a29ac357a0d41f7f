"""A look at every chip before a fine-tuning: which cannot be used, and which are nearly alike on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...features.stream import Images, stream
from ...transforms import Pipeline
from .table import Chip

_SIDE = 24  # pixels of a thumbnail
_ALIKE = 0.95  # correlation of the thumbnails' details
_MOST = 20_000  # thumbnails of a side that are compared: 50 MB
_BLOCK = 512


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
) -> tuple[list[int], dict[str, str], np.ndarray]:
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
        The indices of the chips that can be used, why others cannot, and what :func:`count_twins` compares, float32
        (N, D).

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
    rows = stream(_details, images, names, workers=workers, on_error=on_error, title="looking at the chips")  # type: ignore[arg-type]
    index_of = {name: index for index, name in enumerate(names)}
    return [index_of[name] for name in rows.names], rows.skipped, rows.values


def _details(inputs: Tensor) -> np.ndarray:
    """Return what is left of thumbnails without their shades, as unit vectors."""
    small = F.interpolate(inputs.mean(dim=1, keepdim=True), (_SIDE, _SIDE), mode="area")
    details = (small - F.avg_pool2d(small, 5, stride=1, padding=2, count_include_pad=False)).flatten(1)
    return F.normalize(details - details.mean(dim=1, keepdim=True), dim=1).numpy()


def count_twins(chips: Sequence[Chip], details: np.ndarray, *, seed: int = 0) -> tuple[int, tuple[str, str] | None]:
    """Count the chips held out of training that nearly equal one that is trained on.

    Args:
        chips: with their splits.
        details: of :func:`look_at`, one row a chip.
        seed: of the draw, where there are too many to compare all.

    Returns:
        Their number, and the names of the most similar pair.
    """
    sides = [np.array([(chip.split == "train") == side for chip in chips]).nonzero()[0] for side in (True, False)]
    rng = np.random.default_rng(seed)
    learnt, held = (s if len(s) <= _MOST else np.sort(rng.choice(s, _MOST, replace=False)) for s in sides)
    count, best, pair = 0, 0.0, None
    known = torch.from_numpy(details[learnt])
    for begin in range(0, len(held), _BLOCK):
        block = held[begin : begin + _BLOCK]
        values, nearest = (torch.from_numpy(details[block]) @ known.T).max(dim=1)
        count += int((values > _ALIKE).sum())
        if values.max() > best:
            best, index = float(values.max()), int(values.argmax())
            pair = chips[learnt[int(nearest[index])]].name, chips[block[index]].name
    return count, pair if count else None
