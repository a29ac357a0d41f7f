"""Regions, measures and tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sarhub_models.errors import InputError, OptionError
from sarhub_models.explain import (
    Interval,
    agreement,
    bootstrap,
    find_regions,
    measure_cam,
    measure_points,
    regions_from_masks,
)


def scene(size: int = 128) -> np.ndarray:
    """A target with a hole in the middle, a shadow to its left, a small bright thing and a lonely pixel."""
    image = np.full((size, size), 0.5, np.float32)
    s = size // 128
    image[50 * s : 80 * s, 80 * s : 110 * s] = 1.0
    image[60 * s : 64 * s, 90 * s : 94 * s] = 0.4
    image[50 * s : 80 * s, 45 * s : 75 * s] = 0.1
    image[5 * s : 14 * s, 5 * s : 14 * s] = 0.9
    image[120 * s, 120 * s] = 1.0
    return image


@pytest.mark.parametrize("size", [128, 256])
def test_target_and_shadow_are_found(size: int) -> None:
    s = size // 128
    regions = find_regions(np.stack([scene(size)])[:, None], patch=8 * s)
    target, shadow = regions.target[0], regions.shadow[0]
    assert target[62 * s, 92 * s], "the hole is filled"
    assert not target[10 * s, 10 * s], "only the largest region is kept"
    assert not target[120 * s, 120 * s]
    assert abs(target.sum() - 900 * s**2) < 60 * s**2
    assert shadow[60 * s, 60 * s]
    assert not (target & shadow).any()
    assert not shadow[: 40 * s].any()
    assert not shadow[:, 80 * s :].any()
    assert regions.patches.shape == (1, 16, 16)
    assert regions.patches[0, 8, 12] == 1
    assert regions.patches[0, 8, 7] == 2
    assert regions.patches[0, 0, 15] == 0


def test_what_has_too_few_neighbors_is_dropped() -> None:
    image = np.zeros((128, 128))
    image[::9, ::9] = 1  # nowhere two in a window
    regions = find_regions(image[None])
    assert not regions.target.any()


def test_a_patch_belongs_to_the_target_before_the_shadow_and_to_the_shadow_before_the_background() -> None:
    target, shadow = np.zeros((2, 1, 17, 16), bool)
    target[0, 7, 7] = shadow[0, 0, 0] = shadow[0, 16, 15] = True
    regions = regions_from_masks(target, shadow)
    assert regions.patches.tolist() == [[[1, 0], [0, 0], [0, 2]]]


def test_boxes_are_masks() -> None:
    boxes, none = [[2, 3, 5, 9], [0, 0, 0, 0]], [[0, 0, 1, 1]] * 2
    regions = regions_from_masks(boxes, none, size=(10, 12), patch=4)
    assert [mask.sum() for mask in regions.target] == [18, 0]
    assert regions.target[0, 2:5, 3:9].all()
    assert regions.shadow.sum() == 2
    with pytest.raises(InputError, match="size="):
        regions_from_masks(boxes)
    with pytest.raises(InputError, match="one shape"):
        regions_from_masks(boxes, none[:1], size=(10, 12))
    with pytest.raises(InputError, match="finite"):
        find_regions(np.full((1, 8, 8), np.nan))


def entropy_of(points: list[list[int]]) -> np.ndarray:
    return -np.array([points], dtype=float)


def test_counts_densities_and_shares() -> None:
    target = np.zeros((1, 16, 32), bool)
    target[:, :, :8] = True
    shadow = np.roll(target, 8, axis=2)
    regions = regions_from_masks(target, shadow)
    entropy = entropy_of([[1, 1, 0.0, 0.0], [0, 1, 0.6, 0.0]])  # mean over the background: -0.15
    low, high = measure_points(entropy, regions, ["a"], thresholds=(0.3, 0.5))
    assert (low["chip"], low["b"]) == ("a", 0.3)
    counts = [low[f"count_{name}"] for name in ("target", "shadow", "background")]
    assert counts == [1, 2, 1]
    assert low["density_shadow"] == 1
    assert low["density_background"] == 0.25
    assert low["share"] == 0.75
    assert low["share_target"] == 0.25
    assert low["area"] == 0.5
    assert high["count_background"] == 0
    assert high["share"] == 1


def test_empty_regions_and_chips_without_background_are_not_numbers() -> None:
    nothing, everything = np.zeros((1, 16, 16), bool), np.ones((1, 16, 16), bool)
    entropy = entropy_of([[1, 0], [0, 0]])
    (row,) = measure_points(entropy, regions_from_masks(nothing), ["a"], thresholds=[0.3])
    assert row["count_target"] == 0
    assert math.isnan(row["density_target"])
    assert row["share"] == 0
    (row,) = measure_points(entropy, regions_from_masks(nothing), ["a"], thresholds=[5.0])
    assert math.isnan(row["share"]), "no knowledge point, so no share"
    (row,) = measure_points(entropy, regions_from_masks(everything), ["a"], thresholds=[0.3])
    assert math.isnan(row["count_target"])
    assert math.isnan(row["share"])
    assert row["patches_target"] == 4


def test_activation_maps_are_averaged_over_patches_cut_ones_too() -> None:
    cam = np.zeros((1, 17, 16))
    cam[0, 16, :8] = 1
    target = np.zeros((1, 17, 16), bool)
    target[0, 16, 0] = True
    (row,) = measure_cam(cam, regions_from_masks(target), ["a"], "gradcam")
    assert row["density_target"] == 1
    assert row["share"] == 1
    assert row["map"] == "gradcam"
    assert math.isnan(row["b"])


def test_agreement() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(2, 4, 4))
    points = one > 0
    same = agreement((one, 2 * one + 1), (points, points))
    assert same["correlation"] == pytest.approx(1)
    assert same["overlap"] == pytest.approx(1)
    opposite = agreement((one, -one), (points, ~points))
    assert opposite["correlation"] == pytest.approx(-1)
    assert (opposite["overlap"] == 0).all()
    nothing = agreement((one, np.zeros_like(one)), (points & False, points & False))
    assert np.isnan(nothing["correlation"]).all()
    assert np.isnan(nothing["overlap"]).all()
    assert np.corrcoef(one[1].ravel(), one[0].ravel())[0, 1] == pytest.approx(
        agreement((one[:1], one[1:]), (points[:1], points[1:]))["correlation"][0]
    )


def test_bootstrap_interval_is_that_of_the_normal_law_for_many_values() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap([*values, np.nan], seed=1)
    half = 1.96 * values.std() / 20
    assert (found.mean, found.count) == (pytest.approx(values.mean()), 400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert bootstrap([1.0, 2.0], seed=1) == bootstrap([1.0, 2.0], seed=1)
    assert bootstrap([np.nan]).count == 0
    assert bootstrap([np.nan, 0.5]) == Interval(0.5, 0.5, 0.5, 1)
    assert math.isnan(bootstrap([]).low)
    with pytest.raises(OptionError, match="level"):
        bootstrap([1.0], level=95)
