"""Judge what sizes of images tell of their classes: a network that sees them resized can learn how they were cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..io.images import image_size

__all__ = ["Sizes", "judge_sizes"]

_TELLING = 0.2  # above the share of the largest class; of MSTAR's ten vehicles sizes alone tell 64 %


@dataclass(frozen=True)
class Sizes:
    """A judgement of the sizes of images.

    Attributes:
        accuracy: share of the images whose class is the one that most others of their size have.
        largest: share of the largest class among them, what a guess without looking gets.
        smallest: shortest side of all images, pixels.
    """

    accuracy: float
    largest: float
    smallest: int

    @property
    def tell(self) -> bool:
        """Return whether sizes alone recognize far more than the largest class."""
        return self.accuracy > self.largest + _TELLING

    def __str__(self) -> str:
        return (
            f"the sizes of the images alone tell the class of {self.accuracy:.0%} of them (the largest class is "
            f"{self.largest:.0%}): as they are resized, a network can learn how they were cut"
        )


def judge_sizes(files: Sequence[Path], labels: Sequence[str], *, held: Sequence[bool] | None = None) -> Sizes:
    """Say how well the sizes of images tell their classes.

    Args:
        files: the images; only headers are read.
        labels: class of each.
        held: which are told by the sizes of the others, some of each kind; ``None``: each by all others.

    Raises:
        ImageError: a header cannot be read.
    """
    sizes = [image_size(file) for file in files]
    asked = [True] * len(files) if held is None else held
    classes: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for index, (size, label) in enumerate(zip(sizes, labels, strict=True)):
        if held is None or not held[index]:
            classes[size][label] += 1

    def told(size: tuple[int, int], label: str) -> bool:
        others = classes[size] if held is not None else classes[size] - Counter([label])
        return bool(others) and others.most_common(1)[0][0] == label

    tried = [pair for pair, wanted in zip(zip(sizes, labels, strict=True), asked, strict=True) if wanted]
    largest = max(Counter(label for _, label in tried).values())
    return Sizes(sum(told(*pair) for pair in tried) / len(tried), largest / len(tried), min(map(min, sizes)))
