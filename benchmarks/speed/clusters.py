"""Costs of a window of a scene, and what they make of many scenes: bytes, hours of processors, and where it saturates.

``python -m benchmarks.speed.clusters [--scenes 100000] [--json FILE]`` reads windows of 224 x 224 of small scenes (a
GeoTIFF in strips, a Cloud-Optimized one that is compressed, and a Sentinel-1 GRD product of two polarizations that is
calibrated), sends them through an untrained ResNet-50, and keeps their features. Time is that of the processors, which
other work on the machine hardly changes; from it and the bytes follow those of products of 25,000 x 16,700 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from sarhub_models import create_model
from sarhub_models.scenes.groups import Group, Groups
from sarhub_models.scenes.plan import make_plan
from sarhub_models.scenes.products import open_scene
from sarhub_models.scenes.products.sentinel1 import BORDER
from sarhub_models.scenes.reading import batches
from tests.scenes.safe import Measurement, write_safe

from .timing import print_table, write_report

WINDOW, BATCH, SIDE = 224, 32, 3360
SCENE, POLARIZATIONS = (16_700, 25_000), 2
MODEL = "resnet50_ssl4eo.moco"


class _Plain(Measurement):
    """An image with vectors as dense as those of a real product, and far above its noise."""

    def factor(self, name: str, line: int, pixels: np.ndarray) -> np.ndarray:
        return 300 + 1e-3 * pixels + 1e-3 * line

    def noise(self, line: int, pixels: np.ndarray) -> np.ndarray:
        return self.noise_level + 1e-3 * pixels


def write_scenes(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write one scene of each kind, and yield what it is."""
    array = np.random.default_rng(0).gamma(2, 150, (SIDE, SIDE)).astype(np.uint16) + 60
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)}
    kinds: dict[str, dict[str, Any]] = {"GeoTIFF in strips": {"driver": "GTiff"}, "COG, deflate": {"driver": "COG"}}
    for name, options in kinds.items():
        file = folder / f"{options['driver']}.tif"
        size = {"height": SIDE, "width": SIDE, "count": 1, "dtype": "uint16"}
        with rasterio.open(file, "w", **options, **size, **place) as dataset:
            dataset.write(array, 1)
        yield name, file
    grid: dict[str, Any] = {"lines": tuple(range(0, SIDE + 1, 500)), "pixels": tuple(range(0, SIDE + 1, 40))}
    yield "Sentinel-1 GRD, VV and VH", write_safe(folder, [_Plain(name, array, **grid) for name in ("VV", "VH")])


def _seconds(work: Callable[[], Any], count: int) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) / count


def read(file: Path) -> float:
    """Return seconds of a processor for a window away from the edges, where border noise is looked for."""
    with open_scene(file) as scene:
        plan = make_plan(scene.shape, size=WINDOW)
        margin = -(-BORDER // WINDOW)
        inner = range(margin, plan.columns - margin)
        indices = [row * plan.columns + column for row in inner for column in inner]
        options: dict[str, Any] = {"size": BATCH, "max_nodata": 0.5, "radiometry": scene.radiometry}
        return _seconds(lambda: list(batches(scene, plan, indices, **options)), len(indices))


@torch.inference_mode()
def compute() -> tuple[float, int]:
    """Return seconds of a processor for a window in the network, and the numbers that become of it."""
    network = create_model(MODEL, pretrained=False, num_classes=0).eval()
    inputs = torch.rand(8, POLARIZATIONS, WINDOW, WINDOW)
    width = int(network(inputs[:1]).shape[1])
    return _seconds(lambda: network(inputs), len(inputs)), width


def keep(folder: Path, width: int) -> tuple[float, float]:
    """Return seconds of a processor and bytes for the features of a window in a group."""
    count = BATCH * 4
    values = np.random.default_rng(0).random((count, width, 1, 1), np.float32)
    groups, group = Groups(folder), Group(np.arange(count), values, np.ones((count, 1, 1), bool))
    seconds = _seconds(lambda: groups.save(0, group), count)
    return seconds, next(folder.glob("*.safetensors")).stat().st_size / count


def plan_of(scenes: int, seconds: dict[str, float], stored: float) -> list[dict[str, object]]:
    """Return the rows of the plan of so many products."""
    windows = -(-SCENE[0] // WINDOW) * -(-SCENE[1] // WINDOW)
    read_bytes = SCENE[0] * SCENE[1] * POLARIZATIONS * 2
    total = windows * scenes
    rows: list[dict[str, object]] = [
        {"what": "windows", "a scene": f"{windows:,}", "all": f"{total:.2g}"},
        {"what": "bytes read", "a scene": f"{read_bytes / 1e9:.2f} GB", "all": f"{read_bytes * scenes / 1e12:.0f} TB"},
        {"what": "features", "a scene": f"{windows * stored / 1e6:.0f} MB", "all": f"{total * stored / 1e12:.1f} TB"},
    ]
    for name, one in seconds.items():
        hours = f"{total * one / 3600:,.0f} h"
        rows.append({"what": f"{name}, one processor", "a scene": f"{windows * one:.0f} s", "all": hours})
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, print both tables and, where asked, write them as JSON."""
    parser = argparse.ArgumentParser(description="Costs of a window, and a plan for many scenes.")
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        (groups := Path(name) / "groups").mkdir()
        for kind, file in write_scenes(Path(name)):
            read(file)
            reading = read(file)
            rows.append({"step": f"reading, {kind}", "ms a window": f"{1e3 * reading:.2f}"})
        network, width = compute()
        keeping, stored = keep(groups, width)
    rows.append({"step": f"network, {MODEL}", "ms a window": f"{1e3 * network:.2f}"})
    rows.append({"step": f"keeping {width} features, {stored:.0f} bytes", "ms a window": f"{1e3 * keeping:.3f}"})
    print_table(rows)
    plan = plan_of(options.scenes, {"reading": reading, "network": network, "keeping": keeping}, stored)
    print_table(plan)
    if options.json is not None:
        write_report(options.json, "clusters", [*rows, *plan], torch=torch.__version__)


if __name__ == "__main__":
    main()
