"""FCOS on this package's backbone beside FCOS on MMDetection's own ResNet of the same depth.

Run from a clone: ``python -m benchmarks.speed.mm [--network resnet50] [--repeats N] [--json FILE]``. Both detectors are
built from the same configuration of :mod:`benchmarks.detection` and start from the same weights, so they compute the
same. A training step (loss, backward pass, optimizer) and the detection in one batch are timed in turns, on the GPU if
there is one.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from torch import nn

from benchmarks.detection.task import TASK
from sarhub_models.integrations import mm

from .timing import interleaved, print_table, write_report

OURS, PEER = "SARHubBackbone", "mmdet's ResNet"
BUDGET = 1.02
DEPTHS = {"resnet18": 18, "resnet50": 50, "resnet101": 101}
_SHIPS = 8  # of an image


def detectors(network: str) -> tuple[dict[str, nn.Module], Any]:
    """Return FCOS on both backbones, with the same numbers, and the configuration of the optimizer."""
    MMLogger.get_current_instance().setLevel("WARNING")  # or it lists the options of every parameter
    register_all_modules()
    config = TASK.load_config(f"{network}_ben", "ssdd")
    backbone = config.model.backbone
    backbone.pretrained = False
    ours = MODELS.build(config.model)
    peer_model = copy.deepcopy(config.model)
    peer_model.backbone = {
        "type": "ResNet",
        "depth": DEPTHS[network],
        "frozen_stages": backbone.frozen_stages,
        "norm_cfg": {"type": "BN", "requires_grad": backbone.norm_requires_grad},
        "norm_eval": backbone.norm_eval,
        "style": "pytorch",  # the stride where our weights have it
    }
    peer = MODELS.build(peer_model)
    peer.load_state_dict({key.replace("backbone.network.", "backbone."): v for key, v in ours.state_dict().items()})
    assert isinstance(ours.backbone, mm.SARHubBackbone)
    return {OURS: ours, PEER: peer}, config.optim_wrapper


def make_batch(batch_size: int, size: int) -> dict[str, list[Any]]:
    """Return images of noise with boxes, as MMDetection's loader hands them over."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(batch_size):
        corner = torch.rand(_SHIPS, 2, generator=generator) * size * 0.8
        boxes = torch.cat([corner, corner + 8 + torch.rand(_SHIPS, 2, generator=generator) * size * 0.1], dim=1)
        shape = {"img_shape": (size, size), "ori_shape": (size, size), "scale_factor": (1.0, 1.0)}
        sample = DetDataSample(metainfo=shape)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(_SHIPS, dtype=torch.long))
        samples.append(sample)
    images = [torch.randn(3, size, size, generator=generator) for _ in range(batch_size)]
    return {"inputs": images, "data_samples": samples}


def steps(detector: Any, optimizer: Any, batch: dict[str, list[Any]]) -> dict[str, Callable[[], object]]:
    """Return what is timed of one detector, by name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector = detector.to(device)
    wrapper = build_optim_wrapper(detector, optimizer)

    def finished(value: object) -> object:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return value

    def train() -> object:
        detector.train()
        return finished(detector.train_step(copy.deepcopy(batch), wrapper))

    def detect() -> object:
        detector.eval()
        with torch.no_grad():
            return finished(detector.test_step(copy.deepcopy(batch)))

    return {"training step": train, "detection": detect}


def measure(network: str, batch_size: int, size: int, repeats: int) -> list[dict[str, object]]:
    """Return a row for each of training and detection: milliseconds of both, and the median of the ratios of pairs."""
    models, optimizer = detectors(network)
    batch = make_batch(batch_size, size)
    calls = {name: steps(model, optimizer, batch) for name, model in models.items()}
    rows: list[dict[str, object]] = []
    for what in calls[OURS]:
        seconds = interleaved({name: functions[what] for name, functions in calls.items()}, repeats)
        pairs = zip(seconds[OURS], seconds[PEER], strict=True)
        ratio = statistics.median(ours / peer for ours, peer in pairs)
        times = {f"{name}, ms": round(statistics.median(values) * 1e3, 1) for name, values in seconds.items()}
        rows.append({"network": network, "what": what, **times, "ratio": round(ratio, 3), "budget": BUDGET})
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="FCOS on SARHubBackbone beside FCOS on MMDetection's ResNet.")
    parser.add_argument("--network", default="resnet50", choices=DEPTHS, help="architecture")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--size", type=int, default=320, help="side of the images in pixels")
    parser.add_argument("--repeats", type=int, default=11, help="timings of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = measure(options.network, options.batch_size, options.size, options.repeats)
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "mm", rows, torch=torch.__version__, mmdet=mmdet.__version__)


if __name__ == "__main__":
    main()
