"""What the tests of recognition share."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from benchmarks.experiments.trial import Trial
from benchmarks.recognition import __main__ as command
from benchmarks.recognition.grid import Grid

CLASSES = ("forest", "ship", "urban")
SMALL = ("preprocess.size=32", "optim.batch_size=8", "runtime.precision=fp32")
runner = CliRunner()


def arguments(chips: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--data", str(chips), "--networks", "mobilenetv3", "--seeds", "2", "--out", str(out), *SMALL]
    usual = {"--fractions": "0.5,1", "--steps": "5"}
    return [*fixed, *(part for option in usual.items() if option[0] not in more for part in option), *more]


def run(chips: Path, out: Path, *more: str) -> Any:
    return runner.invoke(command.app, arguments(chips, out, *more))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def times(out: Path) -> dict[str, int]:
    """When each result was written."""
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in out.glob("trials/*/*/*/*/scores.json")}


def grid(data: Path, dataset: str = "folder", steps: int | None = 100, *assignments: str) -> Grid:
    return Grid(dataset, data, None, steps, 1, assignments)


def trial(network: str = "mobilenetv3", fraction: float = 1.0, seed: int = 0, variant: str = "finetune") -> Trial:
    return Trial("recognition", "folder", network, fraction=fraction, seed=seed, variant=variant)
