"""Programs that map a scene with one and the same network, each as its own documentation calls it.

A program is ``(task) -> None``: it reads the scene of a :class:`Task` and writes a GeoTIFF.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from torch import Tensor, nn

from sarhub_models import model_info
from sarhub_models.models.dense import build_dense
from sarhub_models.networks import build
from sarhub_models.scenes.classify import map_classes
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.scenes.session import Reading, Running, Windows
from sarhub_models.weights.checkpoint import write_weights
from sarhub_models.zoo.description import to_metadata

__all__ = ["BATCH", "DECODER", "OURS", "PACKAGES", "PROGRAMS", "SIDE", "Task", "load_network", "write_network"]

SIDE, BATCH, CLASSES = 128, 32, ("low", "high")
FULL_SCALE = 65535.0
BACKBONE, DECODER = "mobilenetv3_dsn", "deeplabv3plus"
"""Weights whose input all networks here take, and the decoder that makes a class a tile one a pixel."""


@dataclass(frozen=True)
class Task:
    """A scene to map.

    Attributes:
        scene: a GeoTIFF, or a product.
        weights: of :func:`write_network`, or a name.
        out: the GeoTIFF to write.
        network: the loaded network, which peers call; ours loads it anew, as its command does.
    """

    scene: Path
    weights: str
    out: Path
    network: WindowModel


def write_network(file: Path, network: str, *, decoder: str | None) -> Path:
    """Write an untrained network that says which of two classes a tile is, or with a decoder each pixel."""
    info = model_info(BACKBONE)
    data = dataclasses.replace(info.dataset, num_classes=len(CLASSES), class_names=CLASSES)
    changes: dict[str, Any] = {"network": network, "dataset": data, "decoder": decoder}
    said = dataclasses.replace(
        info, num_classes=len(CLASSES), class_names=CLASSES, checksum=None, sources=(), **changes
    )
    torch.manual_seed(0)
    shape: dict[str, Any] = {"num_classes": len(CLASSES), "in_chans": info.input.channels}
    model = build(network, **shape) if decoder is None else build_dense(network, decoder, side=SIDE, **shape)
    write_weights(model.state_dict(), file, info=to_metadata(said))
    return file


def load_network(weights: str) -> WindowModel:
    """Return the network with its preprocessing, for windows of digital numbers."""
    return WindowModel(ModelSpec(weights, "classes", None, FULL_SCALE))


class _AsModule(nn.Module):
    """The network with its preprocessing as peers take one: (B, 1, H, W) to probabilities (B, classes, H, W)."""

    def __init__(self, network: WindowModel) -> None:
        super().__init__()
        self.whole = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.whole(list(x.numpy())))


def ours(task: Task) -> None:
    """Map classes and probabilities; the groups of windows go through the disk."""
    map_classes(
        task.scene,
        weights=task.weights,
        out=task.out,
        windows=Windows(overlap=0, batch_size=BATCH),
        reading=Reading(full_scale=FULL_SCALE) if task.scene.suffix == ".tif" else Reading(),
        running=Running(quicklook=False, progress=False),
    )


def geoai(task: Task) -> None:
    """Map probabilities with geoai-py."""
    from geoai.inference import predict_geotiff

    predict_geotiff(
        _AsModule(task.network),
        str(task.scene),
        str(task.out),
        tile_size=SIDE,
        overlap=0,
        batch_size=BATCH,
        num_classes=len(CLASSES),
        blend_mode="none",
        preprocess_fn=np.asarray,
        device="cpu",
        verbose=False,
    )


def terratorch(task: Task) -> None:
    """Map classes and probabilities with TerraTorch, whose tasks read a scene whole and tile it in memory."""
    from terratorch.tasks.tiled_inference import tiled_inference

    with rasterio.open(task.scene) as dataset:
        pixels, profile = dataset.read(out_dtype="float32"), dataset.profile
    found = tiled_inference(
        _AsModule(task.network),
        torch.from_numpy(pixels)[None],
        crop=SIDE,
        stride=SIDE,
        delta=0,
        padding=False,
        batch_size=BATCH,
    )
    _write(task.out, found[0].argmax(dim=0, keepdim=True).numpy().astype(np.uint8), profile)
    _write(task.out.with_suffix(".probabilities.tif"), found[0].numpy(), profile)


def _write(file: Path, bands: np.ndarray, profile: dict[str, Any]) -> None:
    """Write a file as TerraTorch's command does."""
    said = {**profile, "count": len(bands), "dtype": bands.dtype.name, "compress": "lzw", "nodata": None}
    with rasterio.open(file, "w", BIGTIFF="IF_SAFER", **said) as dataset:
        dataset.write(bands)


OURS = "sarhub_models"
PROGRAMS: dict[str, Callable[[Task], Any]] = {OURS: ours, "geoai-py": geoai, "terratorch": terratorch}
PACKAGES = {"geoai-py": "geoai", "terratorch": "terratorch"}
"""Modules of the peers, which are not needed to measure the rest."""
