"""Images that share pixels are found at any shift; those that do not, though of one kind, are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sarhub_models.datasets import FolderDataset
from sarhub_models.datasets.groups import split_groups
from sarhub_models.datasets.leaks import find_leaks, find_pairs, group_images
from sarhub_models.errors import OptionError


def speckle(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return amplitudes of correlated speckle, as a radar's are, with a bright patch."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    amplitude = np.abs(ndimage.uniform_filter(field.real, 2) + 1j * ndimage.uniform_filter(field.imag, 2))
    amplitude[10:20, 10:25] *= 5
    return amplitude.astype(np.float32)


SCENE = speckle(0, (300, 400))
CROPS = {
    "first": SCENE[20:150, 30:190],
    "shifted": SCENE[80:200, 90:260],  # shares 70 by 100 pixels with the first
    "brighter": 3 * SCENE[81:190, 10:150] ** 0.8,  # another contrast
    "apart": SCENE[200:300, 260:400],  # of the same scene, but of other pixels
}


def test_crops_of_one_scene_are_pairs_with_their_shift() -> None:
    images = list(CROPS.values()) + [speckle(seed, (120, 130)) for seed in range(1, 40)]
    pairs = {(pair.first, pair.second): pair for pair in find_pairs(lambda index: images[index], len(images))}
    assert set(pairs) == {(0, 1), (0, 2), (1, 2)}
    assert pairs[0, 1].shift == (-60, -60)
    assert pairs[0, 1].overlap == pytest.approx(70 * 100 / (120 * 170 if 120 * 170 < 130 * 160 else 130 * 160))
    assert pairs[0, 1].correlation == pytest.approx(1, abs=0.05)
    assert pairs[0, 2].correlation > 0.8
    groups = group_images(list(pairs.values()), len(images))
    assert groups[:5].tolist() == [0, 0, 0, 1, 2] and len(set(groups.tolist())) == len(images) - 2


def test_pairs_do_not_depend_on_the_order() -> None:
    images = [speckle(seed, (64, 64)) for seed in range(70)]
    images[68] = images[3][5:60, 2:50]
    assert [(p.first, p.second) for p in find_pairs(lambda i: images[i], 70)] == [(3, 68)]
    backwards = find_pairs(lambda i: images[69 - i], 70)
    assert [(p.first, p.second) for p in backwards] == [(1, 66)]


def test_pairs_across_a_border_alone() -> None:
    images = [speckle(seed, (64, 64)) for seed in range(80)]
    images[5], images[60], images[70] = images[3][5:60, 2:50], images[3][5:60, 2:50], images[50][:60, :40]
    pairs = find_pairs(lambda index: images[index], 80, border=40)
    assert [(pair.first, pair.second) for pair in pairs] == [(3, 60), (5, 60)]


@pytest.mark.parametrize(("side", "shift"), [(24, 0), (32, 0), (32, 10), (64, 40), (64, 32), (128, 84)])
def test_small_chips_are_compared_as_if_they_were_alone(side: int, shift: int) -> None:
    """What two chips share is seen beside many others, too: noise of a sum of these must not hide it."""
    count = 40
    large = [speckle(seed, (side + shift, side)) for seed in range(count)]
    images = [image[:side] for image in large] + [image[shift:] for image in large]
    found = {(pair.first, pair.second) for pair in find_pairs(lambda index: images[index], 2 * count)}
    assert found == {(index, index + count) for index in range(count)}


def test_images_without_texture_are_no_pairs() -> None:
    images = [np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32), speckle(1, (40, 40))]
    assert find_pairs(lambda index: images[index], 3) == []
    with pytest.raises(OptionError, match="at least two images"):
        find_pairs(lambda index: images[index], 1)


def test_splits_that_share_pixels_are_named(tmp_path: Path) -> None:
    for split, names in {"train": ["first", "apart"], "test": ["shifted"]}.items():
        for name in names:
            file = tmp_path / split / "sea" / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(40 * CROPS[name], 0, 255).astype(np.uint8)).save(file)
    leaks = find_leaks({split: FolderDataset(tmp_path / split) for split in ("train", "test")})
    assert leaks.names == {"train": ("sea/apart.png", "sea/first.png"), "test": ("sea/shifted.png",)}
    assert leaks.shared("test", "train") == 1 and leaks.shared("train", "test") == 1
    assert leaks.shared("train", "train") == 0
    Image.open(tmp_path / "train" / "sea" / "first.png").save(tmp_path / "train" / "sea" / "copy.png")
    assert find_leaks({"train": FolderDataset(tmp_path / "train")}).shared("train", "train") == 2
    assert leaks.groups["train"].tolist() == [0, 1] and leaks.groups["test"].tolist() == [1]


def test_groups_stay_together_and_every_class_is_shared_out() -> None:
    groups = [f"{label}{number // 4}" for label in "ab" for number in range(200)]
    labels = [group[0] for group in groups]
    parts = split_groups(groups, labels=labels)
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups)), "no group is in two splits"
    for label in "ab":
        counts = [
            sum(p == s and x == label for p, x in zip(parts, labels, strict=True)) for s in ("train", "val", "test")
        ]
        assert counts == pytest.approx([140, 30, 30], abs=4)
    assert split_groups(groups[::-1], labels=labels[::-1]) == parts[::-1], "the order does not matter"
