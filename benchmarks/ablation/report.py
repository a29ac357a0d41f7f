"""The experiment's rows become a table and a figure."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from sarhub_models.engine.report import write_csv
from sarhub_models.io.files import write_text

matplotlib.use("agg")
from matplotlib import pyplot as plt

SCORES = ("overall_accuracy", "class_average", "macro_f1")
# Okabe and Ito's palette: told apart also by colour-blind readers, and in print by the markers.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))


@dataclass(frozen=True)
class Row:
    """The scores of one run on the validation and the test split."""

    network: str
    loss: str
    mapping: str
    seed: int
    epochs: int
    size: int
    val: dict[str, float]
    test: dict[str, float]


@dataclass(frozen=True)
class Group:
    """The runs that differ in their seed only."""

    network: str
    loss: str
    mapping: str
    rows: tuple[Row, ...]

    def spread(self, score: Callable[[Row], float]) -> tuple[float, float]:
        """Return mean and sample standard deviation over the seeds."""
        values = [score(row) for row in self.rows]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def group(rows: Sequence[Row]) -> list[Group]:
    """Put the rows of the same network, loss and mapping together, in the order in which they first occur."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.network, row.loss, row.mapping), []).append(row)
    return [Group(*key, tuple(members)) for key, members in found.items()]


def best_pair(rows: Sequence[Row], network: str) -> tuple[str, str]:
    """Return the loss and mapping of a network with the highest mean overall accuracy on the validation split."""
    groups = [g for g in group(rows) if g.network == network]
    best = max(groups, key=lambda g: g.spread(lambda row: row.val["overall_accuracy"])[0])
    return best.loss, best.mapping


def write_report(rows: Sequence[Row], out: Path) -> None:
    """Write every run (``ablation.csv``), mean ± deviation (``ablation.md``), the figure (``ablation.png``) and what
    each choice changes (``ablation_effects.md``); the last two of the first network, which has the whole grid.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = [
        {
            **{"network": row.network, "loss": row.loss, "mapping": row.mapping, "seed": row.seed},
            **{"epochs": row.epochs, "size": row.size},
            **{f"val_{name}": f"{row.val[name]:.4f}" for name in SCORES},
            **{f"test_{name}": f"{row.test[name]:.4f}" for name in SCORES},
        }
        for row in rows
    ]
    write_csv(table, out / "ablation.csv")
    write_text(out / "ablation.md", markdown(rows))
    small = [row for row in rows if row.network == rows[0].network]
    write_text(out / "ablation_effects.md", effects(small))
    plot(small, out / "ablation.png")


def read_rows(file: Path) -> list[Row]:
    """Return the rows of an ``ablation.csv``, to the digits that it holds."""
    with file.open(newline="", encoding="utf-8") as stream:
        return [
            Row(
                **{name: line[name] for name in ("network", "loss", "mapping")},
                seed=int(line["seed"]),
                epochs=int(line["epochs"]),
                size=int(line["size"]),
                val={name: float(line[f"val_{name}"]) for name in SCORES},
                test={name: float(line[f"test_{name}"]) for name in SCORES},
            )
            for line in csv.DictReader(stream)
        ]


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of mean ± standard deviation over the seeds; the best of a column and network is bold."""
    lines = [
        "| network | mapping | loss | val. overall accuracy | overall accuracy | class average | macro F1 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    columns: list[Callable[[Row], float]] = [lambda row: row.val["overall_accuracy"]]
    columns += [lambda row, name=name: row.test[name] for name in SCORES]  # type: ignore[misc]
    groups = group(rows)
    for g in sorted(groups, key=lambda g: [rows[0].network != g.network, g.network]):
        peers = [peer for peer in groups if peer.network == g.network]
        cells = []
        for column in columns:
            mean, deviation = g.spread(column)
            text = f"{mean:.3f} ± {deviation:.3f}"
            best = len(peers) > 1 and mean == max(peer.spread(column)[0] for peer in peers)
            cells.append(f"**{text}**" if best else text)
        runs = f"{g.network}, {g.rows[0].size} px, {g.rows[0].epochs} epochs"
        lines.append(f"| {runs} | {g.mapping} | {g.loss} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def effects(rows: Sequence[Row]) -> str:
    """Return a table of what a choice changes on the test split, paired over runs alike in all else.

    Every mapping against the logarithm, DRAA against the fixed parameter, and every loss against cross-entropy: mean
    difference ± its standard error.
    """
    mappings, losses = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("mapping", "loss"))
    draws = [(name, f"{name}, DRAA") for name in mappings if f"{name}, DRAA" in mappings]
    choices = [("mapping", mappings[0], other) for other in mappings[1:]]
    choices += [("mapping", fixed, drawn) for fixed, drawn in draws]
    choices += [("loss", losses[0], other) for other in losses[1:]]
    lines = ["| | against | pairs | overall accuracy | macro F1 |", "| --- | --- | --- | --- | --- |"]
    for field, base, other in choices:
        cells = []
        for score in ("overall_accuracy", "macro_f1"):
            differences = paired(rows, field, base, other, score)
            error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
            cells.append(f"{statistics.fmean(differences):+.3f} ± {error:.3f}")
        lines.append(f"| {other} | {base} | {len(differences)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def paired(rows: Sequence[Row], field: str, base: str, other: str, score: str) -> list[float]:
    """Return the test score with ``other`` minus that with ``base``, for each pair of runs that differ in it only."""

    def rest(row: Row) -> tuple[object, ...]:
        return tuple(getattr(row, name) for name in ("network", "loss", "mapping", "seed") if name != field)

    scores = {rest(row): row.test[score] for row in rows if getattr(row, field) == base}
    return [row.test[score] - scores[rest(row)] for row in rows if getattr(row, field) == other and rest(row) in scores]


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draw the overall accuracy on the test split: every run small, mean and deviation large, a colour per loss."""
    groups = group(rows)
    mappings, losses = (list(dict.fromkeys(getattr(g, name) for g in groups)) for name in ("mapping", "loss"))
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for g in groups:
        index = losses.index(g.loss)
        colour, marker = _STYLES[index % len(_STYLES)]
        x = mappings.index(g.mapping) + 0.16 * (index - (len(losses) - 1) / 2)
        mean, deviation = g.spread(lambda row: row.test["overall_accuracy"])
        single = [row.test["overall_accuracy"] for row in g.rows]
        axes.plot([x + 0.05] * len(single), single, ".", color=colour, alpha=0.5, markersize=4)
        label = g.loss if g.mapping == mappings[0] else None
        axes.errorbar(x, mean, deviation, fmt=marker, color=colour, capsize=3, label=label)
    axes.set_xticks(range(len(mappings)), mappings)
    axes.set(ylabel="overall accuracy, test split", title=f"{groups[0].network}, {groups[0].rows[0].epochs} epochs")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=150)
    plt.close(figure)
