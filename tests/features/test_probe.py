"""Accuracies of kNN and of a linear probe, and the similarity of features."""

from __future__ import annotations

import numpy as np
import pytest

from sarhub_models.errors import OptionError
from sarhub_models.features.probe import cka, few_shot, probe


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


def test_few_shots_are_better_with_more_of_them_and_say_how_sure_they_are() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(["a", "b", "c"]), 60)
    features = rng.normal(size=(180, 8)) + 1.2 * np.eye(3)[np.repeat(np.arange(3), 60)] @ rng.normal(size=(3, 8))
    found = [few_shot(features, labels, shots=shots, draws=8) for shots in (1, 5, 20)]
    assert [one.shots for one in found] == [1, 5, 20]
    assert found[0].accuracy < found[1].accuracy < found[2].accuracy
    assert all(one.low <= one.accuracy <= one.high for one in found)
    assert few_shot(features, labels, shots=5, draws=8) == found[1]
    split = np.where(np.arange(180) % 2 == 0, "train", "test")
    assert 0.3 < few_shot(features, labels, split, shots=5).accuracy <= 1
    with pytest.raises(OptionError, match="more than 60 chips"):
        few_shot(features, labels, shots=60)
