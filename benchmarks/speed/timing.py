"""Timing of peers in one run: interleaved, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sarhub_models.io.files import write_text

__all__ = ["interleaved", "print_table", "write_report"]


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time each function ``repeats`` times, in turns, after one call that is not counted.

    Args:
        functions: what to time, by name.
        repeats: number of timings of each.

    Returns:
        Seconds of each call, by name.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with the same keys as a table with these keys as its header."""
    table = Table(*rows[0].keys())
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def write_report(file: Path, benchmark: str, rows: Sequence[Mapping[str, object]], **facts: object) -> None:
    """Write the rows of a benchmark as JSON, with the machine and the facts (versions, budget) that explain them."""
    report = {"benchmark": benchmark, "machine": platform.platform(), **facts, "rows": rows}
    write_text(file, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
