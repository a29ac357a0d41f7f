"""Speed and memory of scenes: windows read from a file beside the same network on tiles that are already in memory.

``python -m benchmarks.speed.scenes [--sides 5000 10000] [--json FILE]`` writes synthetic uint16 GeoTIFFs in strips, as
Sentinel-1 has them, and maps classes of their windows, up to the groups that the map is made of. Each scene has
a process of its own, in which scene and tiles are timed in turns. Processor time counts all threads, also the one that
reads ahead: its ratio holds on a machine with other work, too. Peak memory is what the run adds to the loaded network
(Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from sarhub_models.scenes.groups import Groups
from sarhub_models.scenes.models import WindowModel
from sarhub_models.scenes.runner import run_local
from sarhub_models.scenes.session import Reading, Session, Windows, open_session

from .timing import print_table, write_report

BUDGETS = {"network on tiles / scene, processor time": 0.9, "peak memory, GB": 2.0}
MODEL = "mobilenetv3_dsn"
BATCH, TILES, STRIP = 32, 512, 500


def write_scene(file: Path, side: int) -> Path:
    """Write speckle of so many pixels a side."""
    rng = np.random.default_rng(0)
    strip = rng.gamma(2, 150, (STRIP, side)).astype(np.uint16)
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)}
    with rasterio.open(
        file, "w", driver="GTiff", height=side, width=side, count=1, dtype="uint16", BIGTIFF="IF_SAFER", **place
    ) as dataset:
        for row in range(0, side, STRIP):
            height = min(STRIP, side - row)
            dataset.write(np.roll(strip, row, axis=1)[None, :height], window=((row, row + height), (0, side)))
    return file


def _resident(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 2**20


def _session(file: Path, folder: Path) -> Session:
    return open_session(
        file,
        weights=MODEL,
        kind="classes",
        out=folder / "map.tif",
        windows=Windows(overlap=0, batch_size=BATCH),
        reading=Reading(full_scale=65535),
    )


def _of_tiles(model: WindowModel, tiles: list[np.ndarray]) -> None:
    for start in range(0, len(tiles), BATCH):
        model(tiles[start : start + BATCH])


def _timed(function: Any, *arguments: Any) -> tuple[float, float]:
    """Return seconds on the clock and of the processors."""
    clock, processors = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - clock, time.process_time() - processors


def measure(side: int, repeats: int, queue: multiprocessing.Queue[dict[str, object]]) -> None:
    """Put a row of the table into the queue."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = write_scene(folder / "scene.tif", side)
        session = _session(file, folder)
        model, count = session.model, len(session.plan())
        tiles = [np.ones((1, model.size, model.size), np.uint16) * (index + 1) for index in range(BATCH)]
        _of_tiles(model, tiles)  # what is loaded on first use
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak of resident memory
        before = _resident("VmRSS")
        run_local(session.job, model, progress=False)
        peak = _resident("VmHWM") - before
        with rasterio.open(file) as dataset:
            side_of = model.size
            rows = [((0, side_of), (index * side_of, (index + 1) * side_of)) for index in range(side // side_of)]
            some = [dataset.read(window=window) for window in rows]
        tiles = [some[index % len(some)] for index in range(TILES)]
        scene, memory = [], []
        for _ in range(repeats):
            memory.append(_timed(_of_tiles, model, tiles))
            Groups(session.job.folder).remove()
            session.groups.begin(session.job.maker(model))
            scene.append(_run(session))
            memory.append(_timed(_of_tiles, model, tiles))
    of_scene, of_tiles = ([median(pair[i] for pair in pairs) for i in (0, 1)] for pairs in (scene, memory))
    ratios = [(of_tiles[i] / TILES) / (of_scene[i] / count) for i in (0, 1)]
    queue.put(
        {
            "scene": f"{side} x {side}",
            "windows": count,
            "windows/s, scene": f"{count / of_scene[0]:.0f}",
            "windows/s, tiles in memory": f"{TILES / of_tiles[0]:.0f}",
            "ratio": f"{ratios[0]:.2f}",
            "ratio, processor time": f"{ratios[1]:.2f}",
            "peak memory, GB": f"{peak:.2f}",
        }
    )


def _run(session: Session) -> tuple[float, float]:
    return _timed(lambda: run_local(session.job, session.model, progress=False))


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="Scenes beside tiles that are in memory.")
    parser.add_argument("--sides", type=int, nargs="+", default=[5000, 10000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    context, rows = multiprocessing.get_context("spawn"), []
    for side in options.sides:
        queue = context.Queue()
        process = context.Process(target=measure, args=(side, options.repeats, queue))
        process.start()
        rows.append(queue.get())
        process.join()
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "scenes", rows, torch=torch.__version__, budgets=BUDGETS)


if __name__ == "__main__":
    main()
