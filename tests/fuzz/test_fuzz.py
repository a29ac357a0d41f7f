"""A fixed number of changed files of every kind; the same ones every time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .mutation import mutate
from .running import Target, check
from .targets import TARGETS

EXAMPLES = 250


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_valid_files_are_read(target: Target, tmp_path: Path) -> None:
    for number, sample in enumerate(target.samples()):
        end = check(target, sample.content, tmp_path / f"{number}{target.suffix}")
        assert end == "read" or target.name in ("list", "checkpoint", "npz"), number


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_changed_files_are_read_or_refused(target: Target, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    samples = list(target.samples())
    count = 0

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(samples), st.randoms(use_true_random=False))
    def run(sample: object, chance: random.Random) -> None:
        nonlocal count
        count += 1  # readers keep what they know of a file by its name
        check(target, mutate(sample, samples, chance), folder / f"{count}{target.suffix}")  # type: ignore[arg-type]

    run()
