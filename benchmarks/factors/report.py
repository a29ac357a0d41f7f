"""The table of the study: each combination of factors with its scores, best first, means over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.experiments.results import markdown_table
from benchmarks.experiments.trial import Trial
from sarhub_models.io.files import write_text

SCORES = ("knn", "probe", "few")
RESULTS, REPORT = "factors.csv", "factors.md"
_FACTORS = ["start", "objective", "mapping", "left out", "classes"]


def mean_score(scores: Mapping[str, float]) -> float:
    """Return the mean over tasks and classifiers, by which combinations are ranked."""
    return float(np.mean(list(scores.values())))


def write_report(found: Mapping[Trial, Mapping[str, float]], out: Path) -> str:
    """Write a row for each run, and the table in Markdown, which is returned.

    Args:
        found: scores of the finished runs.
        out: folder of both files.
    """
    rows = []
    for trial, scores in found.items():
        objective, mapping, left_out, classes = trial.variant.split(" | ")
        factors = dict(zip(_FACTORS, (trial.label, objective, mapping, left_out, classes), strict=True))
        rows.append({"network": trial.network, **factors, "seed": trial.seed, **scores, "mean": mean_score(scores)})
    table = pd.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / RESULTS, table.round(4).to_csv(index=False))
    columns = [*next(iter(found.values()), {}), "mean"]
    grouped = table.groupby(_FACTORS)[columns]
    means, spreads, counts = grouped.mean(), grouped.std(), grouped.size()
    lines = []
    for factors, row in means.sort_values("mean", ascending=False).iterrows():
        several = counts[factors] > 1
        cells = [f"{row[c]:.3f} ± {spreads.loc[factors, c]:.3f}" if several else f"{row[c]:.3f}" for c in columns]
        lines.append((*factors, str(counts[factors]), *cells))
    text = markdown_table((*_FACTORS, "runs", *columns), lines)
    write_text(out / REPORT, text)
    return text
