"""Time from a name to a network with its weights, beside timm and beside just reading the file.

Run from a clone: ``python -m benchmarks.speed.loading [--network swin_b] [--repeats N] [--json FILE]``. The weights are
random numbers in the released layout, imported into a throw-away cache; all three are timed in turns from a warm disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

import sarhub_models as sarhub
from sarhub_models import networks

from .timing import interleaved, print_table, write_report

READ, TIMM, OURS = "reading the file", "timm.create_model", "sarhub_models.create_model"
BUDGETS = {READ: 1.5, TIMM: 0.25}


def prepare(network: str, folder: Path) -> Path:
    """Put random weights of ``<network>_tsx`` into a cache in ``folder`` and return the cached file."""
    os.environ["SARHUB_CACHE"] = str(folder / "cache")
    file = folder / f"{network}_tsx.safetensors"
    save_file(networks.build(network, num_classes=32).state_dict(), file)
    return sarhub.import_checkpoint(file, name=f"{network}_tsx").path


def contestants(network: str, file: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    entry = networks.spec(network)
    return {
        READ: file.read_bytes,
        TIMM: lambda: timm.create_model(entry.timm_name, num_classes=32, checkpoint_path=file, **entry.timm_args),
        OURS: lambda: sarhub.create_model(f"{network}_tsx", pretrained=True),
    }


def measure(network: str, repeats: int) -> list[dict[str, object]]:
    """Return one row for each way: name, milliseconds (median), and our time over its time."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = interleaved(contestants(network, prepare(network, Path(folder))), repeats)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        {
            "network": network,
            "way": name,
            "ms": round(value * 1e3, 1),
            "ours / this": round(medians[OURS] / value, 3),
            "budget": BUDGETS.get(name, ""),
        }
        for name, value in medians.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="Time from a name to a network with its weights.")
    parser.add_argument("--network", default="swin_b", help="architecture; resnets, densenet121 and Swin have a peer")
    parser.add_argument("--repeats", type=int, default=9, help="timings of each way")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = measure(options.network, options.repeats)
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "loading", rows, torch=torch.__version__, timm=timm.__version__)


if __name__ == "__main__":
    main()
