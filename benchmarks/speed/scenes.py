"""Speed and memory of scenes: the same network over a file and over tiles in memory, beside other packages.

``python -m benchmarks.speed.scenes [--sides 5000 10000] [--memory 20000] [--json FILE]`` writes scenes of speckle in
uint16 and maps their classes by an untrained network (``--network``) on tiles of 128 x 128 without overlap: one of two
of a tile, and with a decoder one of two of each pixel; by ``sarhub predict`` from a GeoTIFF in strips and from a zipped
Sentinel-1 product, and by geoai-py and terratorch, where these are installed, of each pixel from the GeoTIFF. Each runs
in a process of its own, in which the network is timed, too, on tiles that are in memory, before and after. Processor
time counts all threads, also the one that reads ahead: its ratio holds on a machine with other work. Peak memory is
what a run adds to the loaded network (Linux). ``--memory`` measures that alone, for sides that take long, with a
network that gives the same numbers to all pixels.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from sarhub_models.networks import names
from sarhub_models.scenes.models import WindowModel
from tests.scenes.safe import Measurement, write_safe, zip_safe

from .tiled import BATCH, DECODER, OURS, PACKAGES, PROGRAMS, SIDE, Task, load_network, write_network
from .timing import print_table, write_report

BUDGETS = {"network on tiles / scene, processor time": 0.9, "peak memory, GB": 2.0}
ANSWERS = ("pixel", "tile")
STRIP, TILES = 500, 256
_GB = 2**30


@dataclass(frozen=True)
class Case:
    """One run to measure.

    Attributes:
        program: a name of :data:`~benchmarks.speed.tiled.PROGRAMS`.
        answer: a class of what: ``"pixel"`` or ``"tile"``.
        kind: of the scene: ``"GeoTIFF"`` or ``"SAFE, zipped"``.
        side: of the scene, in pixels.
        scene: its file.
        weights: of the network.
        speed: time it; else memory alone.
        limit: bytes that the process may ask for.
    """

    program: str
    answer: str
    kind: str
    side: int
    scene: Path
    weights: str
    speed: bool
    limit: int


def speckle(side: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the numbers of strips of a scene."""
    rng = np.random.default_rng(0)
    strip = rng.gamma(2, 150, (STRIP, side)).astype(np.uint16) + 60  # above the noise of the product
    for row in range(0, side, STRIP):
        yield row, np.roll(strip, row, axis=1)[: min(STRIP, side - row)]


def write_scene(file: Path, side: int, **place: Any) -> Path:
    """Write a GeoTIFF in strips, as Sentinel-1 has them."""
    with rasterio.open(
        file, "w", driver="GTiff", height=side, width=side, count=1, dtype="uint16", BIGTIFF="IF_SAFER", **place
    ) as dataset:
        for row, strip in speckle(side):
            dataset.write(strip[None], window=((row, row + len(strip)), (0, side)))
    return file


class _Smooth(Measurement):
    """An image whose calibration and noise stay in a plausible range over a wide scene."""

    def factor(self, name: str, line: int, pixels: np.ndarray) -> np.ndarray:
        return 300 + 1e-3 * pixels + 1e-3 * line

    def noise(self, line: int, pixels: np.ndarray) -> np.ndarray:
        return self.noise_level + 1e-3 * pixels + 1e-3 * line


def write_product(folder: Path, side: int) -> Path:
    """Write a zipped Sentinel-1 product in its layout, with vectors as dense as those of a real one."""
    blank = np.broadcast_to(np.uint16(0), (side, side))
    image = _Smooth("VV", blank, lines=tuple(range(0, side + 1, 500)), pixels=tuple(range(0, side + 1, 50)))
    root = write_safe(folder, [image])
    write_scene(root / "measurement" / f"{image.stem}.tiff", side)
    archive = zip_safe(root)
    shutil.rmtree(root)
    return archive


def _resident(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 2**20


def _of_tiles(network: WindowModel, tiles: list[np.ndarray]) -> float:
    """Return seconds of the processors for a tile."""
    start = time.process_time()
    for index in range(0, len(tiles), BATCH):
        network(tiles[index : index + BATCH])
    return (time.process_time() - start) / len(tiles)


def _blank(_: WindowModel, inputs: torch.Tensor) -> torch.Tensor:
    """Return equal numbers for all pixels in place of a network, where memory alone is of interest."""
    return torch.full((len(inputs), 2, *inputs.shape[-2:]), 0.5)


def measure(case: Case, queue: multiprocessing.Queue[dict[str, object]]) -> None:
    """Put a row of the table into the queue."""
    if not case.speed:
        WindowModel.compute = _blank  # type: ignore[assignment, method-assign]
    network = load_network(case.weights)
    _, strip = next(speckle(TILES // 8 * SIDE))
    some = [strip[:SIDE, column : column + SIDE][None] for column in range(0, strip.shape[1], SIDE)]
    tiles = [some[index % len(some)] for index in range(TILES)]
    _of_tiles(network, tiles[:BATCH])  # what is loaded on first use
    before = _of_tiles(network, tiles)
    row: dict[str, object] = {"scene": f"{case.kind}, {case.side} x {case.side}"}
    row |= {"a class a": case.answer, "program": case.program}
    with tempfile.TemporaryDirectory() as folder:
        task = Task(case.scene, case.weights, Path(folder) / "map.tif", network)
        peak, seconds = _run(case, task)
    row |= {"tiles/s of the network": f"{1 / before:.0f}", "tiles/s": "", "ratio": ""} if case.speed else {}
    if case.speed and seconds:
        alone = (before + _of_tiles(network, tiles)) / 2
        count = (-(-case.side // SIDE)) ** 2
        row |= {"tiles/s": f"{count / seconds:.0f}", "ratio": f"{alone * count / seconds:.2f}"}
    queue.put({**row, "peak memory, GB": f"{peak:.2f}" if seconds else f"more than {case.limit / _GB:.0f}"})


def _run(case: Case, task: Task) -> tuple[float, float]:
    """Return peak memory in GB and seconds of the processors; 0 seconds where memory ran out."""
    program = PROGRAMS[case.program]
    if case.program in PACKAGES:
        importlib.import_module("geoai.inference" if case.program == "geoai-py" else "terratorch.tasks")
    used = int(_resident("VmData") * _GB)
    resource.setrlimit(resource.RLIMIT_DATA, (used + case.limit, resource.RLIM_INFINITY))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak of resident memory
    resident, start = _resident("VmRSS"), time.process_time()
    try:
        program(task)
    except (MemoryError, RuntimeError) as err:
        if not isinstance(err, MemoryError) and "memory" not in str(err):
            raise
        return 0.0, 0.0
    return _resident("VmHWM") - resident, time.process_time() - start


def cases(folder: Path, options: argparse.Namespace, programs: Sequence[str]) -> Iterator[Case]:
    """Yield what there is to run, and write its scenes."""
    weights = {
        answer: str(write_network(folder / f"{answer}.safetensors", options.network, decoder=decoder))
        for answer, decoder in (("pixel", DECODER), ("tile", None))
    }
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)}
    limit = int(options.limit * _GB)
    for side in (*options.sides, *options.memory):
        speed = side in options.sides
        scene = write_scene(folder / "scene.tif", side, **place)
        for answer in options.answers if speed else ["pixel"]:
            for program in programs if answer == "pixel" else [OURS]:
                yield Case(program, answer, "GeoTIFF", side, scene, weights[answer], speed, limit)
        scene.unlink()
        if speed and OURS in programs:
            product = write_product(folder, side)
            for answer in options.answers:
                yield Case(OURS, answer, "SAFE, zipped", side, product, weights[answer], speed, limit)
            product.unlink()


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="Scenes beside tiles that are in memory, and beside other packages.")
    parser.add_argument("--sides", type=int, nargs="*", default=[5000], help="measure speed and memory (default 5000)")
    parser.add_argument("--memory", type=int, nargs="*", default=[], metavar="SIDE", help="measure memory alone")
    parser.add_argument("--network", choices=names(), default="mobilenetv3", help="which (default mobilenetv3)")
    parser.add_argument("--answers", nargs="+", choices=ANSWERS, default=ANSWERS, help="a class of each of these")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS), help="by default all")
    parser.add_argument("--limit", type=float, default=12, metavar="GB", help="memory a program may take (default 12)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    context, rows = multiprocessing.get_context("spawn"), []
    modules = {name: PACKAGES[name] for name in options.programs if name in PACKAGES}
    missing = [name for name, module in modules.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"left out, as not installed: {', '.join(missing)}", file=sys.stderr)
    programs = [name for name in options.programs if name not in missing]
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), options, programs):
            queue = context.Queue()
            process = context.Process(target=measure, args=(case, queue))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{case.program} on {case.kind}, {case.side} x {case.side}, ended with {process.exitcode}")
            rows.append(queue.get())
            print(rows[-1], file=sys.stderr, flush=True)
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "scenes", rows, torch=torch.__version__, budgets=BUDGETS)


if __name__ == "__main__":
    main()
