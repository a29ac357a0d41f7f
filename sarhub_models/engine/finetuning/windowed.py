"""The common part of fine-tunings for masks and boxes: their start, recipe and result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ... import networks
from ...datasets.windows.base import Bands
from ...io.tables import read_table, write_table
from ...io.windows import grid
from ...models.dense import STRIDE
from ...weights import write_weights
from ...zoo.description import BEST, require_description, to_metadata
from .settings import Start, choose_start

SKIPPED = "skipped.csv"
_LARGEST = 256  # side of a window, where nobody says it
_FEWEST, _MOST_STEPS = 300, 4000
_PASSES = 20
_BACKBONE = 0.3


@dataclass(frozen=True)
class Trained:
    """The result of a fine-tuning for masks or boxes.

    Attributes:
        folder: of the run.
        weights: the file that describes itself.
        val: scores of the validation split.
        test: scores of the test split; empty without one.
        classes: score of each class by name (IoU, or average precision), on the test split if there is one.
        skipped: by name, why an image was left out.
    """

    folder: Path
    weights: Path
    val: dict[str, float]
    test: dict[str, float]
    classes: dict[str, float]
    skipped: dict[str, str]


@dataclass(frozen=True)
class Windowed:
    """The arguments that fine-tunings for masks and boxes share: see :func:`.finetune_masks`."""

    data: str
    model: str
    network: str | None
    decoder: str
    group_by: str | None
    bands: tuple[str, ...] | None
    band: tuple[int, ...] | None
    radiometry: str | None
    full_scale: float | None
    freeze: bool
    size: int | None
    steps: int | None
    lr: float | None
    batch_size: int | None
    val: float
    test: float
    seed: int
    on_error: str
    assignments: tuple[str, ...]

    def start(self, first: Path, *, size: int | None) -> Start:
        """Return where the run starts, with the first image and the side of the windows."""
        return choose_start(
            self.model,
            network=self.network,
            first=first,
            bands=self.bands,
            band=self.band,
            radiometry=self.radiometry,
            size=size,
            dense=True,
        )

    def reading(self, start: Start) -> Bands:
        """Return the bands that are read."""
        return Bands(start.bands, self.bands, self.band)

    def window(self, start: Start, sizes: Sequence[tuple[int, int]]) -> int:
        """Return the side of the windows: that of the images up to a limit, of networks made for one size, that one."""
        if self.size is not None:
            return self.size
        fixed = networks.spec(start.network).timm_args.get("img_size")
        if fixed is not None:
            return int(start.given.get("size") or fixed)
        largest = max(max(size) for size in sizes)
        return min(_LARGEST, -(-largest // STRIDE) * STRIDE)

    def recipe(
        self,
        start: Start,
        name: str,
        options: dict[str, Any],
        *,
        folder: Path,
        sizes: Sequence[tuple[int, int]],
        lr: float,
        workers: int,
    ) -> dict[str, Any]:
        """Return the values of a recipe.

        Args:
            start: of the run, whose size is the window.
            name: of the data.
            options: of the reader.
            folder: of the run.
            sizes: of the images to train on.
            lr: peak of the learning rate where none is given.
            workers: processes that read.
        """
        window = options["window"]
        samples = sum(len(grid(*size, window=window, stride=window // 2)) for size in sizes)
        batch = self.batch_size or max(2, min(8, samples // 8))
        steps = self.steps or min(max(_FEWEST, _PASSES * samples // batch), _MOST_STEPS)
        epochs = max(1, min(20, steps // 20))
        factor = 0.0 if self.freeze else _BACKBONE if start.pretrained else 1.0
        read = {"bands": list(start.bands), "given": self.bands, "band": self.band}
        chosen = {
            key: list(v) if isinstance(v, tuple) else v for key, v in {**options, **read}.items() if v is not None
        }
        return {
            "model": {"network": start.network, "init": start.init, "decoder": self.decoder},
            "data": {
                "name": name,
                "root": str(Path(self.data).resolve()),
                "lists": str(folder.resolve()),
                "options": chosen,
                "input": start.input,
                "radiometry": self.radiometry,
                "full_scale": start.full_scale(radiometry=self.radiometry, full_scale=self.full_scale),
                "workers": workers,
            },
            "preprocess": {"given": start.given},
            "augment": {"geometry": "dihedral"},
            "loss": {"name": "ce"},
            "optim": {
                "epochs": epochs,
                "epoch_steps": max(1, steps // epochs),
                "batch_size": batch,
                "max_lr": self.lr or lr,
                "backbone_factor": factor,
                "patience": max(5, epochs // 3),
                "decay_vectors": False,
            },
            "evaluation": {"split": "val", "batch_size": 8},
            "runtime": {"seed": self.seed, "precision": "bf16" if torch.cuda.is_available() else "fp32"},
        }

    def images(self) -> dict[str, Any]:
        """Return what the images hold, for those who predict later."""
        kept = ("radiometry", "full_scale", "bands", "band")
        return {name: value for name in kept if (value := getattr(self, name)) is not None}


def say_choice(say: Callable[[str], None], recipe: Any, model: str, counts: str) -> None:
    """Say what was found and chosen."""
    optim = recipe.optim
    frozen = ", the decoder alone" if optim.backbone_factor == 0 else ""
    say(counts)
    say(
        f"{recipe.model.decoder} on {recipe.model.network} from {model}{frozen}: {optim.epochs} × {optim.epoch_steps} "
        f"steps of {optim.batch_size} windows of {recipe.data.options['window']} pixels, learning rate up to "
        f"{optim.max_lr:g}"
    )


def write_skipped(skipped: dict[str, str], folder: Path) -> None:
    """Write why images were left out."""
    write_table([{"name": name, "reason": reason} for name, reason in skipped.items()], folder / SKIPPED)


def read_skipped(folder: Path) -> dict[str, str]:
    """Read what :func:`write_skipped` wrote, if anything."""
    file = folder / SKIPPED
    return {row["name"]: row["reason"] for row in read_table(file)} if file.is_file() else {}


def describe_images(folder: Path, images: dict[str, Any]) -> None:
    """Write into the weights file of a run what its images hold."""
    file = folder / BEST
    info = require_description(file)
    training = {**(info.training or {}), "images": images}
    write_weights(load_file(file), file, info=to_metadata(dataclasses.replace(info, training=training)))
