"""Speed of knowledge points: the direct estimator beside a U-Net that is trained to the same loss on the same chips.

``python -m benchmarks.speed.explain [--chips 64] [--json FILE]`` explains simulated chips chip by chip, then trains
SAR-HUB's U-Net on them until its loss over them is as low, or until it has had ``--give-up`` times as long (then the
ratio is a lower bound, and the table says so). It also compares the peak memory of one step at S = 15 draws and S = 1,
each in a process of its own (on the GPU, or on Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

import torch
from torch import Tensor

import sarhub_models as sarhub
from sarhub_models.datasets.simulated import simulate_chips
from sarhub_models.explain import Amortized, Direct, KnowledgePoints, prepare
from sarhub_models.explain.layers import frozen

from .timing import print_table, write_report

BUDGETS = {"U-Net / direct, seconds": 10, "memory, S = 15 / S = 1": 1.3}
MODEL = "mobilenetv3_dsn"


def simulated(count: int) -> tuple[Tensor, float, float]:
    """Return chips of ships and vehicles, and the mean and standard deviation that the network needs."""
    images, labels, names = simulate_chips(-(-count // 2), size=64)
    chosen = images[(labels == names.index("ship")) | (labels == names.index("vehicle"))][:count]
    transform = sarhub.create_transform(MODEL)
    return prepare(transform, torch.from_numpy(chosen)[:, None]), transform.mean, transform.std


def explainer(mean: float, std: float, estimator: Direct | Amortized, draws: int = 15) -> KnowledgePoints:
    """Return what is measured, with the other settings of SAR-HUB."""
    model = sarhub.create_model(MODEL, pretrained=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return KnowledgePoints(
        model.to(device), mean=mean, std=std, estimator=estimator, draws=draws, exact=draws > 1, progress=False
    )


def direct(count: int, steps: int) -> tuple[float, float]:
    """Return the seconds and the loss of the direct estimator."""
    chips, mean, std = simulated(count)
    points = explainer(mean, std, Direct(steps=steps))
    begin = time.perf_counter()
    loss = points.explain(chips).loss
    return time.perf_counter() - begin, loss


def unet(count: int, target: float, most: float) -> tuple[float, float, int]:
    """Train the U-Net until its loss is ``target`` or so many seconds are over; return seconds, loss and steps."""
    chips, mean, std = simulated(count)
    points = explainer(mean, std, Amortized(epochs=500))
    assert isinstance(points.estimator, Amortized)
    device = next(points.model.parameters()).device
    network = points.estimator.build(chips.shape[1], points.problem.patch, 0).to(device)
    begin = time.perf_counter()

    def stop(step: int, loss: float) -> bool:
        return loss <= target or time.perf_counter() - begin > most

    with frozen(points.model):
        losses = points.estimator.train(points.problem, network, chips, lambda done: None, stop=stop)
    return time.perf_counter() - begin, losses[-1], len(losses)


def _peak(draws: int, count: int, queue: multiprocessing.Queue[float]) -> None:
    chips, mean, std = simulated(count)
    points = explainer(mean, std, Direct(steps=2, chunk=count), draws)
    points.explain(chips[:1])  # what is loaded on first use; of one chip, as memory that was freed is used again
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        points.explain(chips)
        queue.put(torch.cuda.max_memory_allocated() / 2**20 - before)
        return
    # 5 resets the peak of resident memory, VmHWM, of this process (Linux)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _resident("VmRSS")
    points.explain(chips)
    queue.put(_resident("VmHWM") - before)


def _resident(key: str) -> float:
    """Return a number of Linux's account of this process's memory, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 2**10


def peak(draws: int, count: int) -> float:
    """Return the memory in MB that an explanation with so many exact draws takes at its peak, beside the network."""
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[float] = context.Queue()
    process = context.Process(target=_peak, args=(draws, count, queue))
    process.start()
    value = queue.get()
    process.join()
    return value


def measure(count: int, steps: int, give_up: float) -> list[dict[str, object]]:
    """Return a row for each comparison."""
    seconds, loss = direct(count, steps)
    trained, reached, done = unet(count, loss, give_up * seconds)
    met = reached <= loss
    few, many = peak(1, 32), peak(15, 32)
    return [
        {
            "what": f"{count} chips, seconds",
            "direct": f"{seconds:.1f} (loss {loss:.0f})",
            "U-Net": f"{trained:.1f} (loss {reached:.0f} after {done} steps)",
            "ratio": f"{'' if met else 'above '}{trained / seconds:.1f}",
        },
        {
            "what": "peak memory, S = 15 / S = 1, MB",
            "direct": f"{many:.0f} / {few:.0f}",
            "U-Net": "",
            "ratio": f"{many / few:.2f}",
        },
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="The direct estimator of knowledge points beside the U-Net.")
    parser.add_argument("--chips", type=int, default=64)
    parser.add_argument("--steps", type=int, default=Direct().steps, help="of the direct estimator")
    parser.add_argument("--give-up", type=float, default=12, help="times the direct estimator's time for the U-Net")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = measure(options.chips, options.steps, options.give_up)
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "explain", rows, torch=torch.__version__, budgets=BUDGETS)


if __name__ == "__main__":
    main()
