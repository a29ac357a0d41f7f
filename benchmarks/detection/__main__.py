"""The commands of detection: ``python -m benchmarks.detection train MODEL DATASET --data DIR``."""

from __future__ import annotations

from benchmarks.mm.command import commands

from .task import TASK

app = commands(TASK, "FCOS on networks of this package, by MMDetection's own tools.")

if __name__ == "__main__":
    app()
