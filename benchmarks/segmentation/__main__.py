"""The commands of segmentation: ``python -m benchmarks.segmentation train MODEL DATASET --data DIR``."""

from __future__ import annotations

from benchmarks.mm.command import commands

from .task import TASK

app = commands(TASK, "DeepLabv3 on networks of this package, by MMSegmentation's own tools.")

if __name__ == "__main__":
    app()
