"""The report of recognition: the shared table, plots over the labels, confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.experiments.results import markdown, plot_labels, table, write_results
from benchmarks.experiments.trial import Trial
from sarhub_models.engine.metrics import make_detail
from sarhub_models.engine.report import plot_confusion
from sarhub_models.io.files import write_text

from .grid import METHODS
from .methods import PREDICTIONS

__all__ = ["write_report"]

SHOWN = ("overall_accuracy", "macro_f1")
"""Scores in results.md; results.csv has all."""


def write_report(
    scores: Mapping[Trial, Mapping[str, float]], dataset: str, out: Path, notes: Sequence[str] = ()
) -> str:
    """Write ``results.csv``, ``results.md``, ``accuracy_<method>.png`` and the folder ``confusion``.

    Args:
        scores: by trial.
        dataset: name of the data set in the table.
        out: folder of the experiment.
        notes: what is to be known of the numbers, a paragraph each.

    Returns:
        The text of ``results.md``.
    """
    order = sorted(scores, key=lambda trial: list(METHODS).index(trial.variant))
    rows = table({replace(trial, task=METHODS[trial.variant], dataset=dataset): scores[trial] for trial in order})
    write_results(rows, out / "results.csv")
    shown = pd.concat([part[part["metric"] == m] for _, part in rows.groupby("task", sort=False) for m in SHOWN])
    text = markdown(shown, notes=notes)
    write_text(out / "results.md", text)
    for method in dict.fromkeys(trial.variant for trial in order):
        plot_labels(rows[rows["task"] == METHODS[method]], out / f"accuracy_{method}.png", SHOWN[0])
    _draw_confusion(order, out)
    return text


def _draw_confusion(trials: Sequence[Trial], out: Path) -> None:
    """Draw one matrix for each method, network, initialization and fraction, summed over the seeds."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        name = f"{trial.variant}-{trial.network}-{trial.folder.parent.name.rpartition('-')[0]}"
        groups.setdefault(name, []).append(trial)
    (out / "confusion").mkdir(parents=True, exist_ok=True)
    for name, members in groups.items():
        found = pd.concat(
            pd.read_csv(out / trial.folder / PREDICTIONS, dtype=str, keep_default_na=False) for trial in members
        )
        classes = [column.removeprefix("score: ") for column in found if column.startswith("score: ")]
        truth, guess = (torch.tensor(pd.Index(classes).get_indexer(found[c])) for c in ("label", "prediction"))
        plot_confusion(make_detail(len(classes), False)(guess, truth), classes, out / "confusion" / f"{name}.png")
