"""What the sizes of images tell of their classes."""

from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets.sizes import judge_sizes


def write(root: Path, sides: dict[str, list[int]]) -> tuple[list[Path], list[str]]:
    """Write images of these widths, a little higher, for each label."""
    files, labels = [], []
    for label, lengths in sides.items():
        for side in lengths:
            files.append(root / f"{len(files)}.npy")
            labels.append(label)
            np.save(files[-1], np.zeros((side + 3, side), np.float32))
    return files, labels


@pytest.mark.parametrize(
    ("sides", "low", "high", "tell"),
    [
        ({"a": [40] * 8, "b": [56] * 8}, 1, 1, True),
        # cut to the objects: none comes twice
        ({"a": list(range(40, 60)), "b": list(range(90, 130, 2))}, 0.9, 1, True),
        ({"a": [40] * 85, "b": [56] * 15}, 1, 1, True),  # however large the largest class
        ({"a": [40] * 8, "b": [40] * 8}, 0, 0.5, False),
        ({"a": [40, 56] * 8, "b": [56, 40] * 8}, 0, 0.6, False),
        ({"b;a": [40] * 8, "a;b": [40] * 8, "c": [70] * 8}, 1, 1, True),  # several labels, in any order
    ],
)
def test_each_image_is_judged_by_those_next_to_it(
    tmp_path: Path, sides: dict[str, list[int]], low: float, high: float, tell: bool
) -> None:
    found = judge_sizes(*write(tmp_path, sides))
    assert found is not None and low <= found.accuracy <= high and found.tell == tell
    assert found.chance == 0.5
    assert (found.smallest, found.median) == (40, np.median([side for one in sides.values() for side in one]))
    assert f"{found.accuracy:.0%} (chance: 50%)" in str(found)


def test_with_a_split_those_held_out_are_judged_by_the_sizes_of_the_others(tmp_path: Path) -> None:
    files, labels = write(tmp_path, {"a": [40] * 8 + [56] * 4, "b": [56] * 8 + [40] * 4})
    found = judge_sizes(files, labels, held=[index % 12 > 7 for index in range(24)])
    assert found is not None and (found.accuracy, found.tell) == (0, False)


@pytest.mark.parametrize("held", [[False] * 16, [True] * 16])
def test_without_images_on_one_side_there_is_no_judgement(tmp_path: Path, held: list[bool]) -> None:
    files, labels = write(tmp_path, {"a": [40] * 8, "b": [56] * 8})
    assert judge_sizes(files, labels, held=held) is None
    assert judge_sizes(files[:8], labels[:8]) is None
