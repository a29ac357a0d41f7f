"""The leaderboard: a table for each task, best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.results import markdown_table
from sarhub_models.io.files import write_text

RESULTS, REPORT = "transfer.csv", "transfer.md"
_COLUMNS = ("knn", "probe", "few")
_STARTS = {"sar": "these weights", "none": "untrained", "imagenet": "ImageNet"}


def write_report(rows: Sequence[dict[str, Any]], out: Path) -> str:
    """Write the tables in Markdown, and return them.

    Args:
        rows: of :func:`benchmarks.transfer.study.run`.
        out: folder of the file.
    """
    parts = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = sorted((row for row in rows if row["task"] == task), key=lambda row: -float(row["knn"]))
        first = own[0]
        lines = [
            (
                f"`{row['weights']}`",
                _STARTS[row["start"]],
                *(_interval(row, column) for column in ("knn", "probe", "few")),
            )
            for row in own
        ]
        heads = ("network and preprocessing of", "start", "kNN", "linear probe", f"{first['shots']:g} labels a class")
        about = f"{first['train']:g} chips to learn from, {first['test']:g} to test."
        parts.append(f"## {task}\n\n{about}\n\n{markdown_table(heads, lines)}\n")
    text = "\n".join(parts)
    write_text(out / REPORT, text)
    return text


def _interval(row: dict[str, Any], column: str) -> str:
    value, low, high = (float(row[f"{column}{suffix}"]) for suffix in ("", "_low", "_high"))
    return f"{value:.3f} ({low:.3f}–{high:.3f})"
