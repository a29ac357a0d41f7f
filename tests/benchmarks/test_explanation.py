"""The report of the study: what is paired, and when the claim counts as seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.explanation.report import Result, differences, verdict, write_report
from benchmarks.explanation.runs import NONE, SAR, Cell, grid, starting_point
from benchmarks.explanation.study import without_grid
from sarhub_models.errors import DataError, OptionError
from sarhub_models.explain import measure_points, regions_from_masks


def results(gains: tuple[float, ...]) -> list[Result]:
    """Shares of twelve chips, from SAR larger than from none by a gain that depends on the seed."""
    rng = np.random.default_rng(0)
    target = np.zeros((1, 16, 16), bool)
    target[0, :8, :8] = True
    (row,) = measure_points(np.zeros((1, 2, 2)), regions_from_masks(target), ["a"], thresholds=[0.25])
    found = []
    for chip in range(12):
        base = rng.uniform(0.2, 0.4)
        for seed, gain in enumerate(gains):
            for start in (NONE, SAR):
                share = base + (gain + rng.normal(0, 0.01) if start == SAR else 0)
                cells = {**row, "chip": str(chip), "share": share}
                found.append(Result("net", start, seed, "SAR-HUB", 0.5, cells))
    return found


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((0.1, 0.1, 0.1), "at 1 of 1 thresholds, and lowers it at 0"),
        ((-0.1, -0.1, -0.1), "at 0 of 1 thresholds, and lowers it at 1"),
        ((0.3, 0.3, -0.1), "at 0 of 1 thresholds, and lowers it at 0"),
        ((0.0, 0.0, 0.0), "at 0 of 1 thresholds"),
    ],
)
def test_the_claim_is_seen_where_interval_and_all_seeds_agree(gains: tuple[float, ...], words: str) -> None:
    assert words in verdict(results(gains))


def test_differences_are_paired_by_chip() -> None:
    gain, seeds = differences(results((0.1, 0.2)), "net", "SAR-HUB", "kp, b = 0.25")
    assert gain.mean == pytest.approx(0.15, abs=0.01)
    assert gain.high - gain.low < 0.02, "the chips' own spread, 0.06, does not count"
    assert seeds == pytest.approx([0.1, 0.2], abs=0.02)


def test_report_is_written_even_where_a_network_has_no_points(tmp_path: Path) -> None:
    found = results((0.1,))
    found = [
        r if r.start == SAR else Result(*(r.network, r.start, r.seed, r.rule, r.accuracy), {**r.row, "share": np.nan})
        for r in found
    ]
    text = write_report(found, tmp_path)
    assert "nan" in text
    assert "at 0 of 1 thresholds" in text
    for name in ("measures.csv", "explanation.md", "explanation_SAR-HUB.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_grid_that_all_chips_share_is_removed_and_a_target_stays() -> None:
    rng = np.random.default_rng(0)
    chips = rng.normal(0, 0.1, (5, 16, 16))
    chips[:, 6:9, 6:9] -= 2
    strides = np.zeros((16, 16))
    strides[::4, ::4] = -1.5
    even = without_grid(chips + strides)
    outside = np.ones((16, 16), bool)
    outside[6:9, 6:9] = False
    assert even[:, ::4, ::4].mean() == pytest.approx(even.mean())
    assert even[:, outside].std() < 0.3
    assert even[:, 6:9, 6:9].mean() < even[:, outside].mean() - 1.5


def test_pretrained_weights_are_named_or_the_error_says_how(tmp_path: Path) -> None:
    cells = grid(["mobilenetv3", "resnet18"], 2)
    assert len(cells) == len(set(cells)) == 8
    assert starting_point(Cell("resnet18", NONE, 0), {}) == "none"
    assert starting_point(Cell("mobilenetv3", SAR, 0), {"mobilenetv3": "mobilenetv3_dsn"}) == "mobilenetv3_dsn"
    with pytest.raises(OptionError, match="--pretrained resnet18=RUN_DIR"):
        starting_point(Cell("resnet18", SAR, 0), {})
    with pytest.raises(DataError, match="finished run"):
        starting_point(Cell("resnet18", SAR, 0), {"resnet18": str(tmp_path)})
