"""The table, the figures and the verdict of the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.experiments.results import markdown_table
from sarhub_models.explain import Interval, bootstrap
from sarhub_models.explain.figures import distribution_figure
from sarhub_models.explain.regions import REGION_NAMES
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import write_text

__all__ = ["differences", "verdict", "write_report"]

# Rows are those of measure_points and measure_cam, a chip each, with what was explained: network, init, seed, regions
# (their rule) and accuracy (on the test split).


def write_report(rows: pd.DataFrame, out: Path) -> str:
    """Write every measure (``measures.csv``), the table (``explanation.md``) and the figures; return the table."""
    write_text(out / "measures.csv", rows.to_csv(index=False))
    rows = rows.assign(
        panel=[kind if np.isnan(b) else f"{kind}, b = {b:g}" for kind, b in rows[["map", "b"]].to_numpy()]
    )
    text = markdown(rows)
    write_text(out / "explanation.md", text)
    _draw(rows, out)
    return text


def chip_means(rows: pd.DataFrame) -> pd.Series:
    """Return the mean share on target and shadow of each chip over the seeds, NaN where no seed has it."""
    return rows.groupby("chip", sort=False)["share"].mean()


def differences(rows: pd.DataFrame) -> tuple[Interval, np.ndarray]:
    """Return how much more of a map lies on target and shadow from SAR pre-trained weights than from none.

    Args:
        rows: of one network, rule and map.

    Returns:
        The mean over chips with its interval (paired by chip, mean over seeds), and the difference of each seed.
    """
    sar, none = (rows[rows["init"] == label] for label in ("SAR", "none"))
    seeds = sar.groupby("seed")["share"].mean() - none.groupby("seed")["share"].mean()
    return bootstrap((chip_means(sar) - chip_means(none)).to_numpy()), seeds.to_numpy()


def _per_chip(rows: pd.DataFrame) -> str:
    """Return the mean number of knowledge points of a chip from none and from SAR; nothing for activation maps."""
    if rows["map"].iloc[0] != "kp":
        return ""
    counts = rows[[f"count_{name}" for name in REGION_NAMES]].sum(axis=1, skipna=False)
    return " / ".join(f"{counts[rows['init'] == label].mean():.1f}" for label in ("none", "SAR"))


def markdown(rows: pd.DataFrame) -> str:
    """Return the table and the sentences below it."""
    heads = ("network", "regions", "map", "from none", "from SAR", "by area", "SAR − none", "of each seed")
    lines = []
    for key, part in rows.groupby(["network", "regions", "panel"], sort=False):
        shares = [bootstrap(chip_means(part[part["init"] == label]).to_numpy()) for label in ("none", "SAR")]
        gain, seeds = differences(part)
        each = ", ".join(f"{value:+.3f}" for value in seeds)
        lines.append((*key, *shares, f"{part['area'].mean():.3f}", gain, each, _per_chip(part)))
    networks, rules = (list(rows[name].unique()) for name in ("network", "regions"))
    lines.sort(key=lambda line: (networks.index(line[0]), rules.index(line[1])))
    table = markdown_table((*heads, "KP, none / SAR"), lines)
    return "\n".join([table, "", accuracies(rows), "", verdict(rows)]) + "\n"


def accuracies(rows: pd.DataFrame) -> str:
    """Return a sentence on how well the networks classify the test split."""
    parts = []
    for (network, init), part in rows.groupby(["network", "init"], sort=False):
        values = part.groupby("seed", sort=False)["accuracy"].first()
        parts.append(f"{network} from {init} {values.mean():.3f} ({', '.join(f'{value:.3f}' for value in values)})")
    return f"Overall accuracy on the test split, mean (seeds): {'; '.join(parts)}."


def verdict(rows: pd.DataFrame) -> str:
    """Return whether SAR pre-training puts a larger share of knowledge points on target and shadow, a line a network
    and rule: it does where the interval over chips is above 0 and all seeds agree.
    """
    sentences = []
    points = rows[rows["map"] == "kp"]
    for (network, rule), part in points.groupby(["network", "regions"], sort=False):
        found = [differences(panel) for _, panel in part.groupby("panel", sort=False)]
        seen = sum(bool(gain.low > 0 and (seeds > 0).all()) for gain, seeds in found)
        against = sum(bool(gain.high < 0 and (seeds < 0).all()) for gain, seeds in found)
        sentences.append(
            f"- {network}, {rule} regions: SAR pre-training raises the share of knowledge points on target and "
            f"shadow at {seen} of {len(found)} thresholds, and lowers it at {against} "
            "(the interval over chips excludes 0, and all seeds have one sign)."
        )
    return "\n".join(sentences)


def _draw(rows: pd.DataFrame, out: Path) -> None:
    for rule, part in rows.groupby("regions", sort=False):
        values = {
            panel: {
                f"{network}, {init}": chip_means(one).to_numpy()
                for (network, init), one in column.groupby(["network", "init"], sort=False)
            }
            for panel, column in part.groupby("panel", sort=False)
        }
        intervals = {panel: {name: bootstrap(v) for name, v in column.items()} for panel, column in values.items()}
        area = float(part["area"].mean())
        figure = distribution_figure(values, intervals, "share on target and shadow", chance=area, palette="colorblind")
        save_figure(figure, out / f"explanation_{rule.replace(', ', '_').replace(' ', '_')}.png")
