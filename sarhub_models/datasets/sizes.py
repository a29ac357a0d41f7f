"""Judge what sizes of images tell of their classes: a network that sees them resized can learn how they were cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..io.images import image_size

__all__ = ["Sizes", "judge_sizes"]

_TELLING = 0.2  # above chance; the sizes of MSTAR's ten vehicles are 0.5 above it
_NEIGHBORS = 5


@dataclass(frozen=True)
class Sizes:
    """A judgement of the sizes of images.

    Attributes:
        accuracy: mean over the classes of the share of their images that are told by the class of most of the images
            whose sizes are next to theirs.
        chance: what a guess gets.
        smallest: shortest side of all images, pixels.
        median: of the shortest sides, pixels.
    """

    accuracy: float
    chance: float
    smallest: int
    median: float

    @property
    def tell(self) -> bool:
        """Return whether sizes alone recognize far more than a guess."""
        return self.accuracy > self.chance + _TELLING

    def __str__(self) -> str:
        return (
            f"the sizes of the images alone tell the classes with an accuracy of {self.accuracy:.0%} (chance: "
            f"{self.chance:.0%}): as they are resized, a network can learn how they were cut"
        )


def judge_sizes(files: Sequence[Path], labels: Sequence[str], *, held: Sequence[bool] | None = None) -> Sizes | None:
    """Say how well the sizes of images tell their classes, by the nearest neighbors of height and width.

    Args:
        files: the images; only headers are read.
        labels: class of each, or several with ``;`` between them, which count as one.
        held: which are told by the sizes of the others; ``None``: each by all others.

    Returns:
        The judgement; ``None`` where there are too few images, or one class.

    Raises:
        ImageError: a header cannot be read.
    """
    from sklearn.metrics import recall_score  # of an extra, which not all who import this have
    from sklearn.neighbors import NearestNeighbors

    classes = np.asarray([";".join(sorted(label.split(";"))) for label in labels])
    asked = np.ones(len(files), bool) if held is None else np.asarray(held, bool)
    known = np.ones(len(files), bool) if held is None else ~asked
    if known.sum() <= _NEIGHBORS or not asked.any() or len(set(classes[asked])) < 2:
        return None
    sides = np.asarray([image_size(file) for file in files])
    places = np.log(sides)
    found = NearestNeighbors(n_neighbors=_NEIGHBORS).fit(places[known])
    # without points, each image is left out of its own neighbors
    near = found.kneighbors(None if held is None else places[asked], return_distance=False)
    told = [Counter(votes).most_common(1)[0][0] for votes in classes[known][near]]
    accuracy = recall_score(classes[asked], told, average="macro", labels=sorted(set(classes[asked])), zero_division=0)
    return Sizes(float(accuracy), 1 / len(set(classes)), int(sides.min()), float(np.median(sides.min(axis=1))))
