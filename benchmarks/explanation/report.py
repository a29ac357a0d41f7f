"""The table, the figures and the verdict of the study."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.experiments.results import compare, markdown_table
from sarhub_models.explain import Interval, bootstrap
from sarhub_models.explain.figures import distribution_figure
from sarhub_models.explain.regions import REGION_NAMES
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import write_text

__all__ = ["accuracies", "differences", "verdict", "write_report"]

# Rows are those of measure_points and measure_cam, a chip each, with what was explained: network, init, seed, regions
# (their rule) and accuracy (on the test split).


def write_report(rows: pd.DataFrame, out: Path, *, note: str = "") -> str:
    """Write every measure (``measures.csv``), the tables (``explanation.md``) and the figures; return the tables.

    Args:
        rows: of all trials.
        out: folder of the report.
        note: a sentence below the tables.
    """
    write_text(out / "measures.csv", rows.to_csv(index=False))
    rows = rows.assign(
        panel=[kind if np.isnan(b) else f"{kind}, b = {b:g}" for kind, b in rows[["map", "b"]].to_numpy()]
    )
    text = markdown(rows) + (f"\n{note}\n" if note else "")
    write_text(out / "explanation.md", text)
    _draw(rows, out)
    return text


def chip_means(rows: pd.DataFrame) -> pd.Series:
    """Return the mean share on target and shadow of each chip over the seeds, NaN where no seed has it."""
    return rows.groupby("chip", sort=False)["share"].mean()


def differences(rows: pd.DataFrame, *, label: str = "SAR") -> tuple[Interval, np.ndarray]:
    """Return how much more of a map lies on target and shadow from pre-trained weights than from none.

    Args:
        rows: of one network, rule and map.
        label: of the pre-trained weights.

    Returns:
        The mean over chips with its interval (paired by chip, mean over seeds), and the difference of each seed.
    """
    given, none = (rows[rows["init"] == start] for start in (label, "none"))
    seeds = given.groupby("seed")["share"].mean() - none.groupby("seed")["share"].mean()
    return bootstrap((chip_means(given) - chip_means(none)).to_numpy()), seeds.to_numpy()


def _per_chip(rows: pd.DataFrame, label: str) -> str:
    """Return the mean number of knowledge points of a chip from none and from weights; nothing for activation maps."""
    if rows["map"].iloc[0] != "kp":
        return ""
    counts = rows[[f"count_{name}" for name in REGION_NAMES]].sum(axis=1, skipna=False)
    return " / ".join(f"{counts[rows['init'] == start].mean():.1f}" for start in ("none", label))


def markdown(rows: pd.DataFrame) -> str:
    """Return a table for each kind of pre-trained weights, and the sentences below them."""
    tables = [_table(rows[rows["network"].isin(_having(rows, label))], label) for label in _labels(rows)]
    return "\n".join([*tables, accuracies(rows), "", verdict(rows)]) + "\n"


def _labels(rows: pd.DataFrame) -> list[str]:
    return [label for label in rows["init"].unique() if label != "none"]


def _having(rows: pd.DataFrame, label: str) -> list[str]:
    return list(rows.loc[rows["init"] == label, "network"].unique())


def _table(rows: pd.DataFrame, label: str) -> str:
    heads = ("network", "regions", "map", "from none", f"from {label}", "by area", f"{label} − none", "of each seed")
    lines = []
    for key, part in rows.groupby(["network", "regions", "panel"], sort=False):
        shares = [bootstrap(chip_means(part[part["init"] == start]).to_numpy()) for start in ("none", label)]
        gain, seeds = differences(part, label=label)
        each = ", ".join(f"{value:+.3f}" for value in seeds)
        lines.append((*key, *shares, f"{part['area'].mean():.3f}", gain, each, _per_chip(part, label)))
    networks, rules = (list(rows[name].unique()) for name in ("network", "regions"))
    lines.sort(key=lambda line: (networks.index(line[0]), rules.index(line[1])))
    return markdown_table((*heads, f"KP, none / {label}"), lines) + "\n"


def accuracies(rows: pd.DataFrame) -> str:
    """Return sentences on how well the networks classify the test split, and how they compare."""
    scores = rows.drop_duplicates(["network", "init", "seed"]).rename(columns={"accuracy": "value"})
    parts = []
    for (network, init), part in scores.groupby(["network", "init"], sort=False):
        values = part["value"]
        parts.append(f"{network} from {init} {values.mean():.3f} ({', '.join(f'{value:.3f}' for value in values)})")
    pairs = compare(scores.assign(task="recognition", dataset="", fraction=1.0, metric="overall_accuracy"))
    found = [
        f"{row.network} from {row.other} against {row.base} {row.difference:+.3f} (p {row.p:.2g}, n {row.n})"
        for row in pairs[pairs["n"] > 1].itertuples()
    ]
    text = f"Overall accuracy on the test split, mean (seeds): {'; '.join(parts)}."
    return text + (f" Paired by seed: {'; '.join(found)}." if found else "")


def verdict(rows: pd.DataFrame) -> str:
    """Return whether pre-training puts a larger share of knowledge points on target and shadow.

    There is a line for each network, rule and kind of weights: it does where the interval over chips is above 0 and
    all seeds agree.
    """
    sentences = []
    points = rows[rows["map"] == "kp"]
    groups = points.groupby(["network", "regions"], sort=False)
    for label, ((network, rule), part) in itertools.product(_labels(points), groups):
        if network not in _having(points, label):
            continue
        found = [differences(panel, label=label) for _, panel in part.groupby("panel", sort=False)]
        seen = sum(bool(gain.low > 0 and (seeds > 0).all()) for gain, seeds in found)
        against = sum(bool(gain.high < 0 and (seeds < 0).all()) for gain, seeds in found)
        sentences.append(
            f"- {network}, {rule} regions: {label} pre-training raises the share of knowledge points on target and "
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
