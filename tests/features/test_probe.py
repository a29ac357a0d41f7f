"""Accuracies of kNN and of a linear probe, and the similarity of features."""

from __future__ import annotations

import numpy as np
import pytest

from sarhub_models.errors import OptionError
from sarhub_models.features.probe import cka, probe


def test_cka_knows_rotations_and_strangers() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(500, 8))
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert cka(a, 3 * a @ rotation + 5) == pytest.approx(1)
    assert cka(a, rng.normal(size=(500, 8))) < 0.05
    assert cka(a, a[:, :4]) == pytest.approx(cka(a[:, :4], a))
    assert cka(a, np.ones((500, 2))) == 0


def test_probe_tests_only_on_chips_it_did_not_learn_from() -> None:
    rng = np.random.default_rng(0)
    features, names = rng.normal(size=(200, 50)), np.array(["a", "b"])[rng.integers(0, 2, 200)]
    for split in (None, np.where(np.arange(200) % 4 == 0, "test", "train")):
        scores = probe(features, names, split)
        assert 0.3 < scores.linear < 0.7 and 0.3 < scores.knn < 0.7
    lopsided = np.where(np.arange(200) < 180, "a", "b")
    constant = probe(np.ones((200, 3)) + 1e-9 * features[:, :3], lopsided)
    assert constant.linear == pytest.approx(0.9, abs=0.02)
    assert constant.linear_balanced == pytest.approx(0.5, abs=0.05)
    for labels_, split in ((np.array(["a"] * 200), None), (names, np.array(["train"] * 200))):
        with pytest.raises(OptionError, match="two classes"):
            probe(features, labels_, split)


def test_knn_takes_the_angle_between_centered_features() -> None:
    rng = np.random.default_rng(0)
    names = np.array(["a", "b"])[rng.integers(0, 2, 200)]
    angle = np.where(names == "a", 0, np.pi) + rng.normal(scale=0.1, size=200)
    features = np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(1, 5, (200, 1))
    # Seen from zero, far behind one of the classes, all chips lie in one direction
    assert probe(features + np.array([1e4, 0]), names).knn == 1


def test_knn_keeps_the_scale_of_each_feature_and_the_probe_does_not() -> None:
    rng = np.random.default_rng(0)
    names = np.array(["a", "b"])[rng.integers(0, 2, 200)]
    telling = np.where(names == "a", -1.0, 1.0)[:, None] + rng.normal(scale=0.3, size=(200, 1))
    noise = rng.normal(scale=1e-3, size=(200, 60))
    scores = probe(np.hstack([telling, noise]), names)
    assert scores.knn > 0.98, "if the noise were scaled up to the telling feature, it would decide"
    assert scores.linear == pytest.approx(probe(np.hstack([telling, 1e3 * noise]), names).linear)
