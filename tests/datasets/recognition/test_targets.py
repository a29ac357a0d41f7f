from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets import SimulatedTargets
from sarhub_models.datasets.recognition.targets import SPACING, Imaging, render
from sarhub_models.errors import OptionError


def test_the_same_view_of_the_same_object_is_the_same_chip() -> None:
    chip = render(0, 3, 5, size=96)
    assert chip.shape == (96, 96) and chip.dtype == np.float32 and chip.min() >= 0 and chip.max() == 1
    assert np.array_equal(chip, render(0, 3, 5, size=96))
    others = [render(0, 3, 6, size=96), render(0, 4, 5, size=96), render(1, 3, 5, size=96)]
    assert not any(np.array_equal(chip, other) for other in others)


def test_the_object_is_bright_and_in_the_middle() -> None:
    mean = np.mean([render(0, label, view, size=64) for label in range(10) for view in range(10)], axis=0)
    middle, edge = mean[24:40, 24:40].mean(), np.concatenate([mean[:8].ravel(), mean[-8:].ravel()]).mean()
    assert middle > 2 * edge


def test_the_shadow_lies_away_from_the_radar() -> None:
    chips = [render(0, label, view, size=64) for label in range(10) for view in range(10)]
    mean = np.mean([chip / np.median(chip) for chip in chips], axis=0)
    before, behind = mean[8:20, 28:36].mean(), mean[44:56, 28:36].mean()
    assert behind < 0.9 * before


@pytest.mark.parametrize("looks", [1, 2, 4])
def test_looks_are_averaged(looks: int) -> None:
    """Over a calm sea the equivalent number of looks, mean² / variance of the intensity, is theirs."""
    imaging, found = Imaging(sea=1e6, looks=looks), []
    for view in range(40):
        intensity = render(0, 1, view, size=128, imaging=imaging)[:30].astype(float) ** 2  # before the object
        found.append(intensity.mean() ** 2 / intensity.var())
    assert np.mean(found) == pytest.approx(looks, rel=0.15)


def test_a_spiky_sea_is_k_distributed() -> None:
    """Of texture of shape a, speckle of one look has a variance of (2 + 2 / a - 1) times mean²."""
    values = [render(0, 1, view, size=128, imaging=Imaging(sea=2))[:24].astype(float) ** 2 for view in range(200)]
    scaled = np.array([value / value.mean() for value in values])
    assert scaled.var() == pytest.approx(2, rel=0.2)


def test_ambiguities_are_ghosts_at_their_distance_and_level() -> None:
    away, ratios = 30, []
    for view in range(20):
        plain = render(0, 2, view, size=128)
        ghosts = render(0, 2, view, size=128, imaging=Imaging(ambiguity=away * SPACING, level=-6))
        row, column = np.unravel_index(plain.argmax(), plain.shape)
        ratios += [ghosts[row, column + side] for side in (-away, away)]
        assert ghosts[row, column] == pytest.approx(1, abs=0.05), "the object is as bright as before"
    assert np.median(ratios) == pytest.approx(10 ** (-6 / 20), abs=0.05)
    far = render(0, 2, 0, size=64, imaging=Imaging(ambiguity=1000, level=-6))
    assert np.array_equal(far, render(0, 2, 0, size=64)), "beyond the chip there is nothing to be seen"


@pytest.mark.slow
@pytest.mark.parametrize("values", [{"looks": 0}, {"sea": 0}, {"ambiguity": -1}, {"level": 3}])
def test_impossible_imaging_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected looks from 1, sea and ambiguity above 0"):
        SimulatedTargets("unused", "train", **values)


def test_a_reader_takes_the_imaging() -> None:
    image = SimulatedTargets("unused", "train", objects=2, views=2, size=32, looks=2, sea=3)[3].image
    assert np.array_equal(image, render(0, 1, 1, size=32, imaging=Imaging(sea=3, looks=2)))


def test_splits_are_other_views_of_the_same_objects() -> None:
    train, val = (SimulatedTargets("unused", split, objects=3, views=2, size=32) for split in ("train", "val"))
    assert train.class_names == val.class_names == ("0000", "0001", "0002")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2] and len(train) == 6 and train.size(0) == (32, 32)
    image, label, name = train[3]
    assert (label, name) == (1, "0001/0001") and np.array_equal(image, render(0, 1, 1, size=32))
    assert np.array_equal(val[3].image, render(0, 1, 3, size=32))
    with pytest.raises(IndexError):
        train[6]


@pytest.mark.parametrize("options", [{"split": "all"}, {"objects": 0}, {"views": 0}, {"size": 0}])
def test_impossible_options_are_refused(options: dict[str, int | str]) -> None:
    given = {"split": "train"} | options
    with pytest.raises(OptionError, match="expected a split of train, val, test and numbers above 0"):
        SimulatedTargets("unused", **given)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no lists"):
        SimulatedTargets.options(Path("unused"), Path("lists"))
