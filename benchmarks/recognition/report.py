"""What the finished cells show: the shared table, plots over the labels, confusion matrices."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.experiments.results import Result, markdown, plot_labels, write_results
from sarhub_models.engine.metrics import make_detail
from sarhub_models.engine.report import plot_confusion
from sarhub_models.io.files import write_text

from .grid import METHODS, Cell
from .methods import Finished

__all__ = ["write_report"]

SHOWN = ("overall_accuracy", "macro_f1")
"""Scores in results.md; results.csv has all."""
PLOTTED = "overall_accuracy"


def write_report(
    results: Mapping[tuple[Cell, str], Finished], dataset: str, out: Path, notes: Sequence[str] = ()
) -> str:
    """Write ``results.csv``, ``results.md``, ``accuracy_<method>.png`` and the folder ``confusion``.

    Args:
        results: by cell and method.
        dataset: what the data set is called in the table.
        out: folder of the benchmark.
        notes: what is to be known of the numbers, a paragraph each.

    Returns:
        The text of ``results.md``.
    """
    rows = [
        Result(METHODS[method], dataset, cell.network, cell.start.label, cell.fraction, cell.seed, metric, value)
        for method in METHODS
        for (cell, done), found in results.items()
        if done == method
        for metric, value in found.scores.items()
    ]
    write_results(rows, out / "results.csv")
    tasks = list(METHODS.values())
    shown = sorted(
        (row for row in rows if row.metric in SHOWN), key=lambda row: (tasks.index(row.task), SHOWN.index(row.metric))
    )
    text = "\n".join([markdown(shown), *(f"{note}\n" for note in notes)])
    write_text(out / "results.md", text)
    for method, task in METHODS.items():
        part = [row for row in rows if row.task == task]
        if part:
            plot_labels(part, out / f"accuracy_{method}.png", PLOTTED)
    _draw_confusion(results, out / "confusion")
    return text


def _draw_confusion(results: Mapping[tuple[Cell, str], Finished], out: Path) -> None:
    """Draw one matrix for each method, network, start and fraction, summed over the seeds."""
    groups: dict[str, list[Finished]] = {}
    for (cell, method), found in results.items():
        groups.setdefault(f"{method}-{cell.name.rpartition('-')[0]}", []).append(found)
    out.mkdir(parents=True, exist_ok=True)
    for name, members in groups.items():
        classes = members[0].classes
        counts = _counts([member.predictions for member in members], classes)
        plot_confusion(counts, classes, out / f"{name}.png")


def _counts(files: Sequence[Path], classes: Sequence[str]) -> Tensor:
    """Return the counts of the predictions in files, (C, C), rows true."""
    index = {name: number for number, name in enumerate(classes)}
    pairs = []
    for file in files:
        with file.open(newline="", encoding="utf-8") as stream:
            pairs += [(index[row["label"]], index[row["prediction"]]) for row in csv.DictReader(stream)]
    truth, guess = torch.tensor(pairs).T
    detail: Tensor = make_detail(len(classes), False)(guess, truth)
    return detail
