"""The table that all experiments share, one row a number, and what is made of it.

A row says what was measured (task, data set, metric), with what (network, initialization, fraction of the training
labels, seed), and the value. From such rows come the table of mean ± standard deviation over the seeds, the paired
comparison of initializations, and the plot of a metric over the number of labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from sarhub_models.errors import DataError, InputError
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import write_text

from .trial import Trial

__all__ = [
    "COLUMNS",
    "PALETTE",
    "compare",
    "markdown",
    "markdown_table",
    "merged",
    "plot_labels",
    "plot_spread",
    "read_results",
    "spread",
    "table",
    "write_report",
    "write_results",
]

COLUMNS = ("task", "dataset", "network", "init", "fraction", "seed", "metric", "value")
# Okabe and Ito's palette: told apart also by color-blind readers, and in print by the markers.
PALETTE = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))
TESTS = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}
Test = Literal["t", "wilcoxon"]
_NUMBERS = {"fraction": float, "seed": int, "value": float}
_RENAMED = {"recognition, nearest neighbours": "recognition, kNN"}  # tasks in tables of earlier versions


def table(scores: Mapping[Trial, Mapping[str, float]]) -> pd.DataFrame:
    """Return scores by trial as rows with the columns :data:`COLUMNS`."""
    rows = [
        (trial.task, trial.dataset, trial.network, trial.label, trial.fraction, trial.seed, metric, value)
        for trial, found in scores.items()
        for metric, value in found.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(_NUMBERS)


def write_results(rows: pd.DataFrame, file: Path) -> None:
    """Write rows as CSV with a header, exactly; the file is never seen half.

    Raises:
        InputError: there are no rows.
    """
    if rows.empty:
        raise InputError(f"no results to write to {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, rows.to_csv(index=False))


def read_results(file: Path) -> pd.DataFrame:
    """Read what :func:`write_results` wrote, exactly.

    Raises:
        DataError: the file is not there, or has other columns or a value that is no number.
    """
    try:
        found = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except pd.errors.EmptyDataError:
        found = pd.DataFrame()
    except (OSError, ValueError) as err:
        raise DataError(f"{file} cannot be read as a table of results: {err}") from err
    if tuple(found.columns) != COLUMNS:
        names = ", ".join(map(str, found.columns))
        raise DataError(f"{file} is no table of results: expected the columns {', '.join(COLUMNS)}, got {names}")
    numbers = found[list(_NUMBERS)].apply(pd.to_numeric, errors="coerce")
    wrong = numbers.isna().any(axis=1).to_numpy()
    if wrong.any() or not isinstance(found.index, pd.RangeIndex):  # a line with more values becomes an index
        raise DataError(f"{file}, line {2 + int(wrong.argmax())}: not a row of results")
    return found.astype(_NUMBERS).replace({"task": _RENAMED})


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table with new ones in the place of those of the same runs and metrics."""
    keys = list(COLUMNS[:-1])
    both = pd.concat([old, new], ignore_index=True)
    first = both.drop_duplicates(keys)[keys]
    return first.merge(both.drop_duplicates(keys, keep="last"), on=keys, how="left")


def spread(values: Iterable[float]) -> str:
    """Return mean ± sample standard deviation as a text, the mean alone of one value."""
    numbers = np.asarray(list(values))
    return f"{numbers.mean():.3f}" + (f" ± {numbers.std(ddof=1):.3f}" if len(numbers) > 1 else "")


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    rule = "| " + " | ".join(["---"] * len(heads)) + " |"
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(map(str, line))} |" for line in lines)])


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.4g} %"


def markdown(
    rows: pd.DataFrame, columns: Literal["fraction", "metric"] = "fraction", test: Test = "t", notes: Sequence[str] = ()
) -> str:
    """Return tables of mean ± standard deviation over the seeds, each with the paired comparisons below.

    Args:
        rows: the results.
        columns: ``"fraction"`` gives a table for each task, data set and metric, with a column a fraction;
            ``"metric"`` gives one for each task, data set and fraction, with a column a metric.
        test: of the comparisons, see :func:`compare`.
        notes: paragraphs at the end.

    Raises:
        InputError: a run has a metric twice.
    """
    twice = rows[rows.duplicated(list(COLUMNS[:-1]))]
    if not twice.empty:
        run = ", ".join(map(str, twice.iloc[0][list(COLUMNS[:-1])]))
        raise InputError(f"expected one value a run and metric, got several for {run}")
    other = "metric" if columns == "fraction" else "fraction"
    parts, compared = [], False
    for (task, dataset, value), part in rows.groupby(["task", "dataset", other], sort=False):
        title = value.replace("_", " ") if other == "metric" else f"{_percent(value)} of the labels"
        parts += [f"### {task}, {dataset}: {title}", _spread_table(part, columns)]
        if not (found := compare(part, test)).empty:
            parts.append(_comparison_table(found))
            compared = True
    if compared:
        parts.append(
            "Differences are those of runs with the same seed, mean ± standard deviation over n pairs; p is that of "
            f"the {TESTS[test]}, two-sided, not corrected for the number of comparisons."
        )
    return "\n\n".join([*parts, *notes]) + "\n"


def _spread_table(rows: pd.DataFrame, columns: str) -> str:
    """Return one table: a row for each network and initialization, a column for each fraction or metric.

    The best mean of a network is bold. Where a value has fewer seeds than others, it says how many.
    """
    values = sorted(rows["fraction"].unique()) if columns == "fraction" else list(rows["metric"].unique())
    heads = [_percent(v) if columns == "fraction" else v.replace("_", " ") for v in values]
    groups = rows.groupby(["network", columns, "init"], sort=False)["value"]
    scores = {key: list(found) for key, found in groups}
    seeds = int(groups.size().max())

    def text(network: str, init: str, value: object) -> str:
        if (found := scores.get((network, value, init))) is None:
            return "–"
        peers = [float(np.mean(scores[key])) for key in scores if key[:2] == (network, value)]
        best = len(peers) > 1 and float(np.mean(found)) == max(peers)
        shown = f"**{spread(found)}**" if best else spread(found)
        return shown if len(found) == seeds else f"{shown} (n = {len(found)})"

    names = rows[["network", "init"]].drop_duplicates().itertuples(index=False)
    lines = [(network, init, *(text(network, init, value) for value in values)) for network, init in names]
    note = "One seed." if seeds == 1 else f"Mean ± standard deviation over {seeds} seeds."
    return f"{markdown_table(['network', 'init', *heads], lines)}\n\n{note}"


def compare(rows: pd.DataFrame, test: Test = "t") -> pd.DataFrame:
    """Compare every pair of initializations over the seeds that both have, all else alike.

    The initialization that comes first in the rows is the one compared with.

    Args:
        rows: the results.
        test: ``"t"``, the paired t-test; or ``"wilcoxon"``, the signed-rank test, which supposes no distribution but
            cannot go below p = 2 / 2ⁿ for n pairs.

    Returns:
        A row for each pair that has at least one seed in common: ``task``, ``dataset``, ``network``, ``fraction``,
        ``metric``, the labels ``base`` and ``other``, ``n`` pairs, ``difference`` and ``deviation``, mean and sample
        standard deviation of other minus base, and the two-sided ``p``, not corrected for the number of tests; NaN
        where there is no test: for one pair, or where all differences are alike.
    """
    keys = ["task", "dataset", "network", "fraction", "metric"]
    inits = list(rows["init"].unique())
    order = {network: number for number, network in enumerate(rows["network"].unique())}
    found = []
    for key, part in sorted(rows.groupby(keys, sort=False), key=lambda item: order[item[0][2]]):
        scores = part.pivot(index="seed", columns="init", values="value").reindex(columns=inits)
        for base, other in itertools.combinations(inits, 2):
            if len(gains := (scores[other] - scores[base]).dropna()):
                deviation = gains.std() if len(gains) > 1 else 0.0
                found.append((*key, base, other, len(gains), gains.mean(), deviation, _p_value(gains.to_numpy(), test)))
    return pd.DataFrame(found, columns=[*keys, "base", "other", "n", "difference", "deviation", "p"])


def _p_value(gains: np.ndarray, test: Test) -> float:
    if len(gains) < 2 or np.ptp(gains) <= 1e-12:
        return float("nan")
    return float((stats.ttest_1samp(gains, 0.0) if test == "t" else stats.wilcoxon(gains)).pvalue)


def _comparison_table(found: pd.DataFrame) -> str:
    metrics = found["metric"].nunique() > 1
    lines = []
    for row in found.itertuples():
        labels = f"{_percent(row.fraction)}, {row.metric.replace('_', ' ')}" if metrics else _percent(row.fraction)
        change = f"{row.difference:+.3f}" + (f" ± {row.deviation:.3f}" if row.n > 1 else "")
        p = "–" if np.isnan(row.p) else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"
        lines.append((row.network, labels, row.other, row.base, change, p, row.n))
    return markdown_table(("network", "labels", "init", "against", "difference", "p", "n"), lines)


def plot_spread(
    axes: Axes, index: int, x: Sequence[float], values: Sequence[Sequence[float]], label: str, line: str = "-"
) -> None:
    """Draw values at places: every one a dot, mean ± standard deviation large, in the color and marker of an index."""
    color, marker = PALETTE[index % len(PALETTE)]
    for place, found in zip(x, values, strict=True):
        axes.plot([place] * len(found), found, ".", color=color, alpha=0.4, markersize=4)
    means = [float(np.mean(found)) for found in values]
    deviations = [float(np.std(found, ddof=1)) if len(found) > 1 else 0.0 for found in values]
    axes.errorbar(x, means, deviations, fmt=f"{marker}{line}", color=color, capsize=3, label=label)
    axes.grid(axis="y", alpha=0.3)


def plot_labels(rows: pd.DataFrame, file: Path, metric: str) -> None:
    """Draw a metric over the share of the labels: a panel a network, a line an initialization, every run a dot.

    Args:
        rows: results of one task and data set.
        file: the picture; the ending decides the format.
        metric: which one.

    Raises:
        InputError: no result has this metric.
    """
    rows = rows[rows["metric"] == metric]
    if rows.empty:
        raise InputError(f"no result of the metric {metric!r} to draw")
    networks, inits = rows["network"].unique(), list(rows["init"].unique())
    fractions = sorted(rows["fraction"].unique())
    figure = Figure(figsize=(1.2 + 3.6 * len(networks), 3.8), layout="constrained")
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(panels, networks, strict=True):
        for init, line in rows[rows["network"] == network].groupby("init", sort=False):
            index = inits.index(init)
            shift = 1.03 ** (index - (len(inits) - 1) / 2)  # beside each other, on a logarithmic axis
            values = dict(list(line.groupby("fraction")["value"]))
            plot_spread(axes, index, [share * shift for share in values], [*map(list, values.values())], init)
        axes.set(xscale="log", title=network, xlabel="labels used for training")
        axes.set_xticks(fractions, [_percent(share) for share in fractions])
        axes.minorticks_off()
        axes.legend()
    panels[0].set_ylabel(metric.replace("_", " "))
    save_figure(figure, file, dpi=150)


def write_report(rows: pd.DataFrame, out: Path, columns: Literal["fraction", "metric"] = "fraction") -> str:
    """Write ``results.csv`` and ``results.md`` into a folder; return the text of the latter.

    Raises:
        InputError: there are no rows, or a run has a metric twice.
    """
    write_results(rows, out / "results.csv")
    text = markdown(rows, columns)
    write_text(out / "results.md", text)
    return text
