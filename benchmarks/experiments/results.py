"""The table that recognition, detection and segmentation share: one row a number, and what is made of the rows.

A row says what was measured (task, data set, metric), with what (network, initialization, fraction of the training
labels, seed), and the value. From such rows come the table of mean ± standard deviation over the seeds, the paired
comparison of initializations, and the plot of a metric over the number of labels.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from sarhub_models.engine.report import write_csv
from sarhub_models.errors import DataError, InputError
from sarhub_models.io.files import write_text

__all__ = [
    "Comparison",
    "Result",
    "compare_inits",
    "comparison_table",
    "markdown",
    "plot_labels",
    "read_results",
    "spread",
    "spread_table",
    "write_report",
    "write_results",
]

Test = Literal["t", "wilcoxon"]
TESTS = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}
# Okabe and Ito's palette: told apart also by colour-blind readers, and in print by the markers.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))


@dataclass(frozen=True)
class Result:
    """One number.

    Attributes:
        task: what the network was used for, such as ``"recognition"``.
        dataset: on what.
        network: architecture; where the images are prepared for one of several models with it, also for which, such as
            ``"resnet50 (ben)"``, so that only runs on the same images are compared.
        init: label of the weights it started from.
        fraction: of the training labels that were used, in (0, 1].
        seed: of the run.
        metric: what was measured, on data that were not trained on.
        value: the number; in [0, 1] for the scores of this package.
    """

    task: str
    dataset: str
    network: str
    init: str
    fraction: float
    seed: int
    metric: str
    value: float


@dataclass(frozen=True)
class Comparison:
    """One initialization against another, over runs that differ in nothing else.

    Attributes:
        task: as in :class:`Result`, like ``dataset``, ``network``, ``fraction`` and ``metric``.
        dataset: see above.
        network: see above.
        fraction: see above.
        metric: see above.
        base: label of the initialization that is compared with.
        other: label of the initialization that is compared.
        n: pairs of runs, one a seed.
        difference: mean over the pairs of the value from ``other`` minus that from ``base``.
        deviation: sample standard deviation of these differences; 0 for one pair.
        p: two-sided p-value of the paired test, not corrected for the number of tests; ``None`` where there is no test:
            for one pair, or where all differences are alike.
    """

    task: str
    dataset: str
    network: str
    fraction: float
    metric: str
    base: str
    other: str
    n: int
    difference: float
    deviation: float
    p: float | None


def write_results(rows: Sequence[Result], file: Path) -> None:
    """Write rows as CSV with a header, in the long format; the file is never seen half.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError(f"no results to write to {file}")
    write_csv([asdict(row) for row in rows], file)


def read_results(file: Path) -> list[Result]:
    """Read what :func:`write_results` wrote, exactly.

    Raises:
        DataError: the file is not there, or has other columns or a value that is no number.
    """
    names = [field.name for field in fields(Result)]
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            if reader.fieldnames != names:
                raise DataError(f"{file} is no table of results: expected the columns {names}, got {reader.fieldnames}")
            return [_result(file, number, line) for number, line in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        if isinstance(err, DataError):
            raise
        raise DataError(f"{file} cannot be read as a table of results: {err}") from err


def _result(file: Path, number: int, line: dict[str, str]) -> Result:
    try:
        numbers = {"fraction": float(line["fraction"]), "seed": int(line["seed"]), "value": float(line["value"])}
        return Result(**{**line, **numbers})  # type: ignore[arg-type]
    except (TypeError, ValueError) as err:
        raise DataError(f"{file}, line {number}: not a row of results ({err})") from None


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation (0 for one value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _label(fraction: float) -> str:
    return f"{100 * fraction:.4g} %"


def _distinct(rows: Iterable[Result], *names: str) -> list[tuple[object, ...]]:
    """Return the distinct values of fields, in the order in which they first occur."""
    return list(dict.fromkeys(tuple(getattr(row, name) for name in names) for row in rows))


def _where(rows: Iterable[Result], **values: object) -> list[Result]:
    return [row for row in rows if all(getattr(row, name) == value for name, value in values.items())]


def markdown(rows: Sequence[Result], columns: Literal["fraction", "metric"] = "fraction", test: Test = "t") -> str:
    """Return tables of mean ± standard deviation over the seeds, each with the paired comparisons below.

    Args:
        rows: the results.
        columns: ``"fraction"`` gives a table for each task, data set and metric, with a column a fraction;
            ``"metric"`` gives one for each task, data set and fraction, with a column a metric.
        test: of the comparisons, see :func:`compare_inits`.

    Raises:
        InputError: a run has a metric twice.
    """
    _check_unique(rows)
    other = "metric" if columns == "fraction" else "fraction"
    parts, compared = [], False
    for task, dataset, value in _distinct(rows, "task", "dataset", other):
        part = _where(rows, task=task, dataset=dataset, **{other: value})
        title = str(value).replace("_", " ") if other == "metric" else f"{_label(float(str(value)))} of the labels"
        parts += [f"### {task}, {dataset}: {title}", spread_table(part, columns)]
        if comparisons := compare_inits(part, test):
            parts.append(comparison_table(comparisons))
            compared = True
    if compared:
        parts.append(
            "Differences are those of runs with the same seed, mean ± standard deviation over n pairs; p is that of "
            f"the {TESTS[test]}, two-sided, not corrected for the number of comparisons."
        )
    return "\n\n".join(parts) + "\n"


def _check_unique(rows: Sequence[Result]) -> None:
    seen = set()
    for row in rows:
        run = (row.task, row.dataset, row.network, row.init, row.fraction, row.seed, row.metric)
        if run in seen:
            raise InputError(f"expected one value a run and metric, got several for {', '.join(map(str, run))}")
        seen.add(run)


def spread_table(rows: Sequence[Result], columns: Literal["fraction", "metric"]) -> str:
    """Return one table: a row for each network and initialization, a column for each fraction or metric.

    A cell is mean ± sample standard deviation over the seeds; the best mean of a network is bold. Where a cell has
    fewer seeds than others, it says how many.
    """
    values = sorted({row.fraction for row in rows}) if columns == "fraction" else _ordered_metrics(rows)
    heads = [_label(v) if isinstance(v, float) else str(v).replace("_", " ") for v in values]
    lines = [f"| network | init | {' | '.join(heads)} |", "| --- " * (2 + len(heads)) + "|"]
    seeds = max(len(_where(rows, **dict(zip(_CELL, cell, strict=True)))) for cell in _distinct(rows, *_CELL))
    for network, init in _distinct(rows, "network", "init"):
        cells = []
        for value in values:
            column = _where(rows, network=network, **{columns: value})
            means = {i: spread([r.value for r in _where(column, init=i)])[0] for (i,) in _distinct(column, "init")}
            found = [r.value for r in _where(column, init=init)]
            best = len(means) > 1 and init in means and means[init] == max(means.values())
            cells.append(_cell(found, seeds, best))
        lines.append(f"| {network} | {init} | {' | '.join(cells)} |")
    note = "One seed." if seeds == 1 else f"Mean ± standard deviation over {seeds} seeds."
    return "\n".join([*lines, "", note])


_CELL = ("network", "init", "fraction", "metric")


def _ordered_metrics(rows: Sequence[Result]) -> list[str]:
    return [str(metric) for (metric,) in _distinct(rows, "metric")]


def _cell(values: Sequence[float], seeds: int, best: bool) -> str:
    if not values:
        return "–"
    mean, deviation = spread(values)
    text = f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ± {deviation:.3f}"
    text = f"**{text}**" if best else text
    return text if len(values) == seeds else f"{text} (n = {len(values)})"


def compare_inits(rows: Sequence[Result], test: Test = "t") -> list[Comparison]:
    """Compare every pair of initializations over the seeds that both have, all else alike.

    The initialization that comes first in the rows is the one compared with.

    Args:
        rows: the results.
        test: ``"t"``, the paired t-test; or ``"wilcoxon"``, the signed-rank test, which supposes no distribution but
            cannot go below p = 2 / 2ⁿ for n pairs.

    Returns:
        A comparison for each pair that has at least one seed in common.
    """
    found = []
    keys = ("task", "dataset", "network", "fraction", "metric")
    networks = [str(network) for (network,) in _distinct(rows, "network")]
    for group in sorted(_distinct(rows, *keys), key=lambda group: networks.index(str(group[2]))):
        same = dict(zip(keys, group, strict=True))
        part = _where(rows, **same)
        scores = {init: {r.seed: r.value for r in _where(part, init=init)} for (init,) in _distinct(rows, "init")}
        labels = [str(init) for init in scores]
        for index, base in enumerate(labels):
            for other in labels[index + 1 :]:
                shared = [seed for seed in scores[base] if seed in scores[other]]
                if shared:
                    gains = np.array([scores[other][seed] - scores[base][seed] for seed in shared])
                    numbers = (len(gains), *spread(gains.tolist()), _p_value(gains, test))
                    found.append(Comparison(*group, base, other, *numbers))  # type: ignore[arg-type]
    return found


def _p_value(gains: np.ndarray, test: Test) -> float | None:
    """Return the two-sided p-value of differences, or ``None`` where they do not vary and nothing can be tested."""
    if len(gains) < 2 or np.ptp(gains) <= 1e-12:
        return None
    p = float((stats.ttest_1samp(gains, 0.0) if test == "t" else stats.wilcoxon(gains)).pvalue)
    return p if math.isfinite(p) else None


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return comparisons as a table."""
    heads = ("network", "labels", "init", "against", "difference", "p", "n")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    metrics = len({c.metric for c in comparisons}) > 1
    for c in comparisons:
        labels = f"{_label(c.fraction)}, {c.metric.replace('_', ' ')}" if metrics else _label(c.fraction)
        change = f"{c.difference:+.3f}" if c.n == 1 else f"{c.difference:+.3f} ± {c.deviation:.3f}"
        p = "–" if c.p is None else "< 0.001" if c.p < 0.001 else f"{c.p:.3f}"
        lines.append(f"| {c.network} | {labels} | {c.other} | {c.base} | {change} | {p} | {c.n} |")
    return "\n".join(lines)


def plot_labels(rows: Sequence[Result], file: Path, metric: str) -> None:
    """Draw a metric over the share of the labels: a panel a network, a line an initialization, every run a dot.

    Args:
        rows: results of one task and data set.
        file: the picture; the ending decides the format.
        metric: which one.

    Raises:
        InputError: no result has this metric.
    """
    rows = _where(rows, metric=metric)
    if not rows:
        raise InputError(f"no result of the metric {metric!r} to draw")
    networks, inits = ([str(v) for (v,) in _distinct(rows, name)] for name in ("network", "init"))
    fractions = sorted({row.fraction for row in rows})
    figure = Figure(figsize=(1.2 + 3.6 * len(networks), 3.8), layout="constrained")
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(panels, networks, strict=True):
        for index, init in enumerate(inits):
            line = _where(rows, network=network, init=init)
            colour, marker = _STYLES[index % len(_STYLES)]
            shift = 1.03 ** (index - (len(inits) - 1) / 2)  # beside each other, on a logarithmic axis
            places = [f for f in fractions if _where(line, fraction=f)]
            if not places:
                continue
            spreads = [spread([r.value for r in _where(line, fraction=f)]) for f in places]
            axes.plot([r.fraction * shift for r in line], [r.value for r in line], ".", color=colour, alpha=0.4)
            means, deviations = zip(*spreads, strict=True)
            x = [f * shift for f in places]
            axes.errorbar(x, means, deviations, fmt=f"{marker}-", color=colour, capsize=3, label=init)
        axes.set(xscale="log", title=network, xlabel="labels used for training")
        axes.set_xticks(fractions, [_label(f) for f in fractions])
        axes.minorticks_off()
        axes.grid(axis="y", alpha=0.3)
        axes.legend()
    panels[0].set_ylabel(metric.replace("_", " "))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def write_report(
    rows: Sequence[Result], out: Path, columns: Literal["fraction", "metric"] = "fraction", test: Test = "t"
) -> str:
    """Write ``results.csv`` and ``results.md`` into a folder; return the text of the latter.

    Raises:
        InputError: there are no rows, or a run has a metric twice.
    """
    write_results(rows, out / "results.csv")
    text = markdown(rows, columns, test)
    write_text(out / "results.md", text)
    return text
