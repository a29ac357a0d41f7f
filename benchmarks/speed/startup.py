"""Measure the start of the command line beside importing timm.

Run from a clone: ``python -m benchmarks.speed.startup [--repeats N] [--json FILE]``. Each call is a process of its own;
all are timed in turns, and a ratio is the median over the median of ``import timm`` in the same run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import timm

from .timing import interleaved, print_table, write_report

PEER = 'python -c "import timm"'
BUDGET = 0.1
COMMANDS = {
    PEER: [sys.executable, "-c", "import timm"],
    "sarhub list": [sys.executable, "-m", "sarhub_models", "list"],
    "sarhub --help": [sys.executable, "-m", "sarhub_models", "--help"],
    "sarhub info resnet50_ben": [sys.executable, "-m", "sarhub_models", "info", "resnet50_ben"],
    "import sarhub_models": [sys.executable, "-c", "import sarhub_models"],
    'python -c ""': [sys.executable, "-c", ""],
}


def measure(repeats: int) -> list[dict[str, object]]:
    """Return one row for each command: its name, milliseconds (median) and ratio to the peer."""
    calls = {
        name: partial(subprocess.run, command, check=True, capture_output=True) for name, command in COMMANDS.items()
    }
    medians = {name: statistics.median(seconds) for name, seconds in interleaved(calls, repeats).items()}
    return [
        {"command": name, "ms": round(value * 1e3), "ratio": round(value / medians[PEER], 3)}
        for name, value in medians.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="Start of the command line beside the import of timm.")
    parser.add_argument("--repeats", type=int, default=10, help="timings of each command")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = measure(options.repeats)
    print_table(rows)
    print(f"median of {options.repeats}; budget for 'sarhub list' and '--help': ratio of at most {BUDGET}")
    if options.json is not None:
        write_report(
            options.json, "startup", rows, python=platform.python_version(), timm=timm.__version__, budget=BUDGET
        )


if __name__ == "__main__":
    main()
