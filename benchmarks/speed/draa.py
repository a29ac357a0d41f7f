"""Speed of the dynamic-range operators beside PTLS through ``numpy.percentile``, on one core.

Run from a clone: ``python -m benchmarks.speed.draa [--repeats N] [--device cuda] [--json FILE]``. The peer and all
others are timed in turns; a ratio is the median time per chip over the median of the peer in the same run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sarhub_models.transforms import ptls, reinhard_devlin

from .timing import interleaved, print_table, write_report

SIDE = 128
CHIPS = 64
PERCENT = 1.5  # evaluation value of the OpenSARUrban weights
BRIGHTNESS = 4.0  # evaluation value of the TerraSAR-X weights
PEER = "PTLS, numpy.percentile"
BUDGET = 0.2


def numpy_ptls(chip: np.ndarray) -> np.ndarray:
    """Return PTLS as one writes it with NumPy: both percentiles in one call, clip, then the stretch to [0, 1]."""
    low, high = np.percentile(chip, [PERCENT, 100 - PERCENT])
    clipped = np.clip((chip - low) / (high - low), 0, 1)
    return (clipped - clipped.min()) / (clipped.max() - clipped.min())


def contestants(device: str) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name; each call processes the same ``CHIPS`` different chips.

    Different ones, because a processor's branch prediction learns a single chip by heart.
    """
    chips = np.random.default_rng(0).gamma(4, 0.02, (CHIPS, SIDE, SIDE)).clip(0, 1).astype(np.float32)
    tensors = torch.from_numpy(chips)
    batch = tensors.to(device)

    def one_by_one(operator: Callable[..., object], images: Iterable[object], *value: float) -> None:
        for image in images:
            operator(image, *value)

    def at_once(operator: Callable[..., object], value: float) -> None:
        operator(batch, value)
        if batch.is_cuda:
            torch.cuda.synchronize()

    return {
        PEER: partial(one_by_one, numpy_ptls, chips),
        "PTLS, arrays": partial(one_by_one, ptls, chips, PERCENT),
        "PTLS, tensors": partial(one_by_one, ptls, tensors, PERCENT),
        f"PTLS, batch on {device}": partial(at_once, ptls, PERCENT),
        "Reinhard-Devlin, arrays": partial(one_by_one, reinhard_devlin, chips, BRIGHTNESS),
        f"Reinhard-Devlin, batch on {device}": partial(at_once, reinhard_devlin, BRIGHTNESS),
    }


def measure(repeats: int, device: str) -> list[dict[str, object]]:
    """Return one row for each contestant: name, microseconds per chip (median) and ratio to the peer."""
    seconds = interleaved(contestants(device), repeats)
    per_chip = {name: statistics.median(times) / CHIPS for name, times in seconds.items()}
    return [
        {"operator": name, "µs per chip": round(value * 1e6, 1), "ratio": round(value / per_chip[PEER], 3)}
        for name, value in per_chip.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="Speed of the dynamic-range operators, on one core.")
    parser.add_argument("--repeats", type=int, default=50, help="timings of each operator")
    parser.add_argument("--device", default="cpu", help="device of the batch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = measure(options.repeats, options.device)
    print_table(rows)
    print(f"{CHIPS} chips of {SIDE}² float32, median of {options.repeats}; budget for PTLS: ratio of at most {BUDGET}")
    if options.json is not None:
        device = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
        versions = {"numpy": np.__version__, "torch": torch.__version__}
        write_report(options.json, "draa", rows, device=device, budget=BUDGET, **versions)


if __name__ == "__main__":
    main()
