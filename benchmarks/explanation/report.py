"""The study's measures become a table, a figure and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarhub_models.explain import Interval, bootstrap
from sarhub_models.explain.figures import distribution_figure, save_figure
from sarhub_models.explain.regions import REGION_NAMES
from sarhub_models.io.files import write_text
from sarhub_models.io.tables import write_table

from .runs import NONE, SAR

__all__ = ["Result", "verdict", "write_report"]


@dataclass(frozen=True)
class Result:
    """One row of measures of one network.

    Attributes:
        network: architecture.
        start: what it was fine-tuned from.
        seed: of the fine-tuning.
        rule: of the regions.
        accuracy: on the test split.
        row: of :func:`~sarhub_models.explain.measure_points` or ``measure_cam``, for one chip.
    """

    network: str
    start: str
    seed: int
    rule: str
    accuracy: float
    row: Mapping[str, Any]

    @property
    def panel(self) -> str:
        """The map, and b where there is one."""
        kind, b = self.row["map"], self.row["b"]
        return kind if np.isnan(b) else f"{kind}, b = {b:g}"


def chip_means(results: Sequence[Result], measure: str = "share") -> tuple[list[str], np.ndarray]:
    """Return chips and the mean of a measure over seeds of each, NaN where no seed has it."""
    found: dict[str, list[float]] = {}
    for result in results:
        found.setdefault(result.row["chip"], []).append(result.row[measure])
    return list(found), np.array([_mean(values) for values in found.values()])


def differences(results: Sequence[Result], network: str, rule: str, panel: str) -> tuple[Interval, np.ndarray]:
    """Return how much more of a map lies on target and shadow from SAR pre-trained weights than from none.

    Returns:
        The mean over chips with its interval (paired by chip, mean over seeds), and the difference of each seed.
    """
    part = [r for r in results if (r.network, r.rule, r.panel) == (network, rule, panel)]
    of = {start: [r for r in part if r.start == start] for start in (NONE, SAR)}
    gain = chip_means(of[SAR])[1] - chip_means(of[NONE])[1]
    by_seed = [
        _mean([r.row["share"] for r in of[SAR] if r.seed == seed])
        - _mean([r.row["share"] for r in of[NONE] if r.seed == seed])
        for seed in sorted({r.seed for r in part})
    ]
    return bootstrap(gain), np.array(by_seed)


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are numbers, NaN if there is none."""
    return float(np.mean([value for value in values if np.isfinite(value)] or [np.nan]))


def per_chip(results: Sequence[Result]) -> str:
    """Return the mean number of knowledge points of a chip from none and from SAR; nothing for activation maps."""
    if results[0].row["map"] != "kp":
        return ""
    counts = []
    for start in (NONE, SAR):
        rows = [r.row for r in results if r.start == start]
        counts.append(_mean([sum(row[f"count_{name}"] for name in REGION_NAMES) for row in rows]))
    return " / ".join(f"{count:.1f}" for count in counts)


def write_report(results: Sequence[Result], out: Path) -> str:
    """Write every measure (``measures.csv``), the table (``explanation.md``) and the figure; return the table."""
    rows = [
        {"network": r.network, "start": r.start, "seed": r.seed, "regions": r.rule, "accuracy": r.accuracy, **r.row}
        for r in results
    ]
    write_table(rows, out / "measures.csv")
    text = markdown(results)
    write_text(out / "explanation.md", text)
    _draw(results, out)
    return text


def markdown(results: Sequence[Result]) -> str:
    """Return the table and the sentences below it."""
    lines = [
        "| network | regions | map | from none | from SAR | by area | SAR − none | of each seed | KP, none / SAR |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for network in dict.fromkeys(r.network for r in results):
        for rule in dict.fromkeys(r.rule for r in results):
            for panel in dict.fromkeys(r.panel for r in results if r.rule == rule):
                part = [r for r in results if (r.network, r.rule, r.panel) == (network, rule, panel)]
                shares = [bootstrap(chip_means([r for r in part if r.start == s])[1]) for s in (NONE, SAR)]
                area = np.mean([r.row["area"] for r in part])
                gain, seeds = differences(results, network, rule, panel)
                each = ", ".join(f"{value:+.3f}" for value in seeds)
                cells = [network, rule, panel, *map(str, shares), f"{area:.3f}", str(gain), each, per_chip(part)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", accuracies(results), "", verdict(results)]) + "\n"


def accuracies(results: Sequence[Result]) -> str:
    """Say how well the networks classify the test split."""
    parts = []
    for network in dict.fromkeys(r.network for r in results):
        for start in (NONE, SAR):
            values = {r.seed: r.accuracy for r in results if (r.network, r.start) == (network, start)}
            spread = f"{np.mean([*values.values()]):.3f} ({', '.join(f'{v:.3f}' for v in values.values())})"
            parts.append(f"{network} from {start} {spread}")
    return f"Overall accuracy on the test split, mean (seeds): {'; '.join(parts)}."


def verdict(results: Sequence[Result]) -> str:
    """Say whether SAR pre-training puts a larger share of knowledge points on target and shadow.

    Seen means: the interval over chips is above 0 and all seeds agree. One sentence a network and kind of regions.
    """
    sentences = []
    for network in dict.fromkeys(r.network for r in results):
        for rule in dict.fromkeys(r.rule for r in results):
            seen, against, total = 0, 0, 0
            for panel in dict.fromkeys(r.panel for r in results if r.row["map"] == "kp"):
                gain, seeds = differences(results, network, rule, panel)
                seen += bool(gain.low > 0 and (seeds > 0).all())
                against += bool(gain.high < 0 and (seeds < 0).all())
                total += 1
            sentences.append(
                f"{network}, {rule} regions: SAR pre-training raises the share of knowledge points on target and "
                f"shadow at {seen} of {total} thresholds, and lowers it at {against} "
                "(the interval over chips excludes 0, and all seeds have one sign)."
            )
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _draw(results: Sequence[Result], out: Path) -> None:
    for rule in dict.fromkeys(r.rule for r in results):
        values: dict[str, dict[str, np.ndarray]] = {}
        for panel in dict.fromkeys(r.panel for r in results if r.rule == rule):
            part = [r for r in results if (r.rule, r.panel) == (rule, panel)]
            keys = dict.fromkeys((r.network, r.start) for r in part)
            values[panel] = {
                f"{n}, {s}": chip_means([r for r in part if (r.network, r.start) == (n, s)])[1] for n, s in keys
            }
        intervals = {panel: {name: bootstrap(v) for name, v in column.items()} for panel, column in values.items()}
        area = float(np.mean([r.row["area"] for r in results if r.rule == rule]))
        figure = distribution_figure(values, intervals, "share on target and shadow", chance=area, palette="colorblind")
        save_figure(figure, out / f"explanation_{rule.replace(', ', '_').replace(' ', '_')}.png")
