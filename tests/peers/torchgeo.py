"""The public Sentinel-1 weights beside torchgeo: the same file through its loader and through ours.

``python -m tests.peers.torchgeo [NAME …]`` fills torchgeo's network of every entry with numbers that are the same
on every machine, saves them as the file that torchgeo's loader looks for, lets both load it, and compares the features
of one image. At full size the largest network needs 12 GB of memory and a minute of one core; ``--blocks 2`` shortens
the transformers of timm.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn
from torchvision.models import WeightsEnum

from sarhub_models import networks
from sarhub_models.models.loading import spec_of
from sarhub_models.weights import CheckpointSpec, load_checkpoint
from sarhub_models.zoo.manifest import ModelInfo, list_models, model_info

DATASETS = ("ssl4eo", "crisislandmark", "satlas")
_OURS_ALONE = ("vit_small_patch16_ssl4eo.decur",)
_SIDE = 224


def names() -> list[str]:
    """Return the models that torchgeo has, too."""
    return [name for dataset in DATASETS for name in list_models(dataset=dataset) if name not in _OURS_ALONE]


@cache
def peer(name: str) -> tuple[Callable[..., nn.Module], Any]:
    """Return torchgeo's function that builds the network of a model, and its entry of the weights.

    The entry is the one whose file, repository and revision are those of our list.

    Raises:
        LookupError: torchgeo has no such entry.
    """
    from torchgeo import models  # slow to import

    source = model_info(name).sources[0]
    path = f"/{source['repo']}/resolve/{source['revision']}/{source['filename']}"
    enums = (value for value in vars(models).values() if isinstance(value, type) and issubclass(value, WeightsEnum))
    for entry in itertools.chain.from_iterable(enums):
        if urlsplit(str(entry.url)).path == path:
            return partial(models.get_model, entry.meta["model"]), entry
    raise LookupError(f"torchgeo has no weights at {path}")


def numbers(name: str, shape: torch.Size) -> torch.Tensor:
    """Return plausible weights for one tensor, float32: noise from its name, scaled by the fan-in."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.rand(shape, generator=generator) * 2 - 1
    if name.endswith("running_var"):
        return 1 + 0.2 * noise
    if len(shape) > 1:
        return noise * (3 / shape[1:].numel()) ** 0.5
    return (0.5 if name.endswith("weight") else 0.0) + 0.1 * noise


def release(build: Callable[..., nn.Module], entry: Any, folder: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """Write the file that torchgeo's loader finds when torch's hub folder is ``folder``.

    Args:
        build: makes torchgeo's network with two channels, without weights.
        entry: torchgeo's entry of the weights.
        folder: torch's hub folder.
        leave_out: beginnings of the names that the file shall lack.
    """
    model = build()
    state = {
        key: numbers(key, tensor.shape) if tensor.is_floating_point() and not key.endswith("coords_table") else tensor
        for key, tensor in model.state_dict().items()
        if not key.startswith(leave_out or ("\0",))
    }
    file = folder / "checkpoints" / Path(urlsplit(str(entry.url)).path).name
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    return file


def ours(info: ModelInfo, file: Path, options: dict[str, Any]) -> nn.Module:
    """Load a released file through the package's conversion; ``options`` may make the network shorter."""
    with networks.on_meta_device():
        model = networks.build(info.network, num_classes=0, in_chans=info.input.channels, **options)
    shapes = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in model.state_dict().items()}
    networks.assign(model, load_checkpoint(file, CheckpointSpec(spec_of(info).rename, lambda _: shapes)))
    return model.eval()


def theirs(name: str, options: dict[str, Any], folder: Path, leave_out: tuple[str, ...] = ()) -> tuple[nn.Module, Path]:
    """Return torchgeo's network with the file that it loaded, in evaluation mode and without a head."""
    builder, entry = peer(name)
    if model_info(name).network == "swin_v2_b":

        def build() -> nn.Module:
            model = builder()
            model.features[0][0] = nn.Conv2d(2, 128, kernel_size=4, stride=4)
            return model

        headless: dict[str, Any] = {}
    else:
        headless = {"num_classes": 0, **options}
        size = {"img_size": entry.meta["img_size"]} if "img_size" in entry.meta else {}

        def build() -> nn.Module:
            return builder(in_chans=2, **size, **options)

    file = release(build, entry, folder, leave_out)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    try:
        model = builder(entry, **headless)
    finally:
        torch.hub.set_dir(before)
    if not headless:
        model.head = nn.Identity()  # type: ignore[assignment]
    return model.eval(), file


def difference(name: str, blocks: int | None, folder: Path, leave_out: tuple[str, ...] = ()) -> float:
    """Return the largest difference between the features of both, of one image in [-1, 1).

    Args:
        name: the model.
        blocks: of timm's transformers; ``None`` is all.
        folder: where files may be written.
        leave_out: beginnings of the names that the released file shall lack.
    """
    info = model_info(name)
    options = {"depth": blocks} if blocks is not None and info.network.startswith("vit") else {}
    image = torch.rand(1, info.input.channels, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        model, file = theirs(name, options, folder, leave_out)
        expected = model(image)
        del model
        found = ours(info, file, options)(image)
    file.unlink()
    if found.shape != expected.shape or not expected.abs().max() > 0:
        raise ValueError(f"{name}: features of shape {tuple(found.shape)} and {tuple(expected.shape)}")
    return float((found - expected).abs().max())


def main() -> None:
    """Print the difference for every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models of the list; by default all")
    parser.add_argument("--blocks", type=int, help="blocks of timm's transformers; by default all")
    arguments = parser.parse_args()
    for name in arguments.names or names():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: {difference(name, arguments.blocks, Path(folder)):.2g}", flush=True)


if __name__ == "__main__":
    main()
