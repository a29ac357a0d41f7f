"""The command of the study: ``python -m benchmarks.factors``."""

from __future__ import annotations

from .study import app

if __name__ == "__main__":
    app()
