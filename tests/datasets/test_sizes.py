from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets.sizes import judge_sizes


@pytest.mark.parametrize(
    ("sides", "accuracy", "tell"),
    [
        ({"a": [40] * 4, "b": [56] * 4}, 1.0, True),
        ({"a": [40, 40, 40, 56], "b": [56, 56, 56, 40]}, 0.75, True),
        ({"a": [40, 40, 40, 40, 40], "b": [40, 40, 40]}, 0.625, False),  # one size: the largest class, no more
        ({"a": [40, 41, 42, 43], "b": [50, 51, 52, 53]}, 0.0, False),  # no size comes twice
    ],
)
def test_each_image_is_judged_by_the_others_of_its_size(
    tmp_path: Path, sides: dict[str, list[int]], accuracy: float, tell: bool
) -> None:
    files, labels = [], []
    for label, lengths in sides.items():
        for index, side in enumerate(lengths):
            files.append(tmp_path / f"{label}{index}.npy")
            labels.append(label)
            np.save(files[-1], np.zeros((side + 3, side), np.float32))
    found = judge_sizes(files, labels)
    assert (found.accuracy, found.tell) == (accuracy, tell)
    assert found.largest == max(map(len, sides.values())) / len(files)
    assert found.smallest == 40
    assert f"{accuracy:.0%} of them" in str(found)


def test_with_a_split_those_held_out_are_judged_by_the_sizes_of_the_others(tmp_path: Path) -> None:
    files, labels, held = [], [], []
    for label, learned, others in (("a", (40, 40, 50), (40, 50, 44)), ("b", (50, 50, 40), (50, 50, 40))):
        for index, side in enumerate((*learned, *others)):
            files.append(tmp_path / f"{label}{index}.npy")
            labels.append(label)
            held.append(index > 2)
            np.save(files[-1], np.zeros((side, side), np.float32))
    found = judge_sizes(files, labels, held=held)  # right: a of 40, both b of 50
    assert (found.accuracy, found.largest, found.tell) == (0.5, 0.5, False)
