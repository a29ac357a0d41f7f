from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarhub_models.datasets.simulated import CLASS_NAMES, simulate_chips, speckle
from sarhub_models.errors import OptionError


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(16, 70), st.integers(0, 2**40), st.sampled_from([0.5, 1.0, 4.0, 30.0]))
def test_chips_are_amplitude_in_range_and_follow_the_seed(count: int, size: int, seed: int, looks: float) -> None:
    chips, labels, names = simulate_chips(count, size=size, seed=seed, looks=looks)
    assert chips.shape == (count * len(names), size, size)
    assert chips.dtype == np.float32
    assert chips.min() >= 0
    assert chips.max() <= 1
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(labels), [count] * len(names))
    np.testing.assert_array_equal(simulate_chips(count, size=size, seed=seed, looks=looks)[0], chips)
    assert len({chip.tobytes() for chip in chips}) == len(chips)
    assert (simulate_chips(count, size=size, seed=seed + 1, looks=looks)[0] != chips).any()


def test_more_chips_begin_with_the_same_ones() -> None:
    few, labels_few, _ = simulate_chips(2, size=24, seed=5)
    many, labels_many, _ = simulate_chips(4, size=24, seed=5)
    for label in range(len(CLASS_NAMES)):
        np.testing.assert_array_equal(many[labels_many == label][:2], few[labels_few == label])


@pytest.mark.parametrize("looks", [1.0, 4.0, 16.0])
def test_speckle_has_the_moments_of_goodman(looks: float) -> None:
    intensity = speckle(np.full(400_000, 0.3), looks, np.random.default_rng(0)) / 0.3
    assert intensity.mean() == pytest.approx(1, abs=0.01)
    assert intensity.var() == pytest.approx(1 / looks, rel=0.03)
    if looks == 1:  # exponential
        assert np.mean(intensity > 1) == pytest.approx(np.exp(-1), abs=0.005)


def test_what_makes_a_class_is_visible() -> None:
    chips, labels, names = simulate_chips(30, size=64, seed=1)
    of = {name: chips[labels == i] for i, name in enumerate(names)}
    bright = {name: np.mean(x > 0.5) for name, x in of.items()}
    assert bright["sea"] == 0
    assert bright["ship"] > 0.002
    assert bright["urban"] > bright["vehicle"] > bright["sea"]
    dark = {name: np.mean(x < 0.04) for name, x in of.items()}
    assert dark["vehicle"] > 0.005  # its shadow
    assert dark["forest"] < 0.005
    medians = {name: np.median(x) for name, x in of.items()}
    assert medians["sea"] < medians["vehicle"] < medians["forest"]


def test_a_plain_classifier_tells_the_classes_apart() -> None:
    def describe(x: np.ndarray) -> np.ndarray:
        quantiles = np.log(np.quantile(x, [0.02, 0.1, 0.5, 0.9, 0.98, 1], axis=(1, 2)) + 1e-3)
        blocks = x.reshape(len(x), 8, 8, 8, 8).mean((2, 4))
        return np.column_stack([*quantiles, np.log(blocks.std((1, 2)))])

    train, train_labels, names = simulate_chips(40, size=64, seed=0)
    test, test_labels, _ = simulate_chips(20, size=64, seed=1)
    features, queries = describe(train), describe(test)
    mean, std = features.mean(0), features.std(0)
    distance = np.linalg.norm(((queries - mean) / std)[:, None] - ((features - mean) / std)[None], axis=-1)
    predicted = train_labels[distance.argmin(1)]
    assert np.mean(predicted == test_labels) > 0.85
    assert all(np.mean(predicted[test_labels == i] == i) > 0.5 for i in range(len(names)))


@pytest.mark.parametrize("arguments", [(0, 64, 0), (1, 15, 0), (1, 64, -1)])
def test_impossible_arguments_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(OptionError, match="expected num_per_class"):
        simulate_chips(arguments[0], size=arguments[1], seed=arguments[2])
    for looks in (0.0, -1.0, float("nan")):
        with pytest.raises(OptionError, match="looks"):
            simulate_chips(1, looks=looks)
