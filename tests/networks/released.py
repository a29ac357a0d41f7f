"""Stand-ins for the released checkpoints: their tensor names, filled with the same numbers on every machine.

A tensor's numbers depend only on a seed, its released name and its shape, so the logits of the original networks on
:func:`image` are constants that every implementation can be checked against.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
import torch

from sarhub_models import networks

_SENET = (
    (r"^conv1\.", "conv1.0."),
    (r"^bn1\.", "conv1.1."),
    (r"^layer(\d)\.", lambda m: f"conv{int(m[1]) + 1}."),
    (r"(conv\d\.\d+)\.conv(\d)\.", r"\1.conv\2.0."),
    (r"(conv\d\.\d+)\.bn(\d)\.", r"\1.conv\2.1."),
    (r"\.downsample\.", ".shortcut."),
    (r"\.se\.fc1\.", ".se.1."),
    (r"\.se\.fc2\.", ".se.3."),
)
_MOBILENET_BLOCKS = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]
_MOBILENET = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "blocks.5.0.conv": "conv.0",
    "blocks.5.0.bn1": "conv.1",
    "conv_head": "classifier.0",
    "classifier": "classifier.3",
}
_MOBILENET_FIRST = ["conv_dw", "bn1", None, None, "conv_pw", "bn2"]
_MOBILENET_LATER = ["conv_pw", "bn1", None, "conv_dw", "bn2", None, None, "conv_pwl", "bn3"]


def _released_name(network: str, name: str) -> str:
    if network.startswith("swin"):
        name = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
        return name.replace("head.fc.", "head.")
    if network == "senet50":
        for pattern, replacement in _SENET:
            name = re.sub(pattern, replacement, name)
    if network == "mobilenetv3":
        module, _, leaf = name.rpartition(".")
        return f"{_mobilenet_module(module)}.{leaf}"
    return name


def _mobilenet_module(module: str) -> str:
    if module in _MOBILENET:
        return _MOBILENET[module]
    _, stage, block, layer = module.split(".", 3)
    index = _MOBILENET_BLOCKS.index((int(stage), int(block))) + 1
    first = index == 1
    if layer.startswith("se."):
        return f"features.{index}.conv.{3 if first else 5}.fc.{0 if layer == 'se.conv_reduce' else 2}"
    return f"features.{index}.conv.{(_MOBILENET_FIRST if first else _MOBILENET_LATER).index(layer)}"


def released_shapes(network: str, num_classes: int = 32) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released checkpoint, without the index tables and masks that Swin's hold."""
    shapes = {}
    for name, (shape, _) in networks.tensor_layout(network, num_classes=num_classes).items():
        released = _released_name(network, name)
        linear = network == "mobilenetv3" and (".fc." in released or released == "classifier.0.weight")
        shapes[released] = shape[:2] if linear and len(shape) == 4 else shape
    return shapes


def value(seed: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers of one tensor: plausible weights (fan-in scaling, positive variances), uniform noise from the name."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}:{name}".encode())))
    noise = generator.uniform(-1, 1, size=shape)
    if name.endswith("running_var"):
        noise = 1 + 0.2 * noise
    elif name.endswith("relative_position_bias_table"):
        noise = 0.5 * noise
    elif len(shape) > 1:
        noise = noise * np.sqrt(3 / np.prod(shape[1:]))
    else:
        noise = (0.5 if name.endswith("weight") else 0) + 0.1 * noise
    return torch.from_numpy(np.asarray(noise, dtype=np.float32))


@lru_cache(maxsize=10)
@torch.inference_mode(False)
def _filled(network: str, num_classes: int, seed: str) -> dict[str, torch.Tensor]:
    return {name: value(seed, name, shape) for name, shape in released_shapes(network, num_classes).items()}


def checkpoint(network: str, num_classes: int = 32, seed: str = "dev") -> dict[str, torch.Tensor]:
    """A released state dict of that network, deterministically filled.

    A copy each time: a network in training mode writes to the batch-norm statistics that it was given.
    """
    with torch.inference_mode(False):
        return {name: tensor.clone() for name, tensor in _filled(network, num_classes, seed).items()}


def image(seed: str = "dev", shape: tuple[int, ...] = (2, 3, 128, 128)) -> torch.Tensor:
    """A fixed input batch, float32, uniform on [-1, 1)."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"image:{seed}".encode())))
    return torch.from_numpy(generator.uniform(-1, 1, shape).astype(np.float32))
