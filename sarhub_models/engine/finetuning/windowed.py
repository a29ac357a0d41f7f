"""The common part of fine-tunings for masks and boxes: their start, recipe and result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors.torch import load_file

from ... import networks
from ...datasets.windows.base import Bands, WindowDataset
from ...errors import OptionError, StoppedError
from ...io.tables import read_table
from ...io.windows import grid
from ...models.dense import STRIDE
from ...weights import write_weights
from ...zoo.description import BEST, require_description, to_metadata
from ...zoo.tasks import DECODERS
from ..recipe import override
from ..run import is_finished, train
from ..sections import Recipe
from .options import WindowOptions
from .request import check_folder, read_skipped
from .settings import Start, choose_start, with_images
from .table import SPLITS

W = TypeVar("W", bound=WindowDataset)
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
class Kind(Generic[W]):
    """The difference between fine-tunings for masks and for boxes.

    Attributes:
        name: of the data.
        task: of the decoder.
        table: the images with their splits, a file in the folder of a run.
        lr: peak of the learning rate where none is given.
        reader: of the windows.
        survey: looks at the images of a run that begins and writes its tables; returns why images were left out.
        reading: options of the reader, from the folder of a run.
        found: text about the classes, from the reader of the training split.
        report: of a split, from the folder of a run, its reader and its name: its scores and those of the classes.
    """

    name: str
    task: str
    table: str
    lr: float
    reader: Callable[..., W]
    survey: Callable[[Any, Path], dict[str, str]]
    reading: Callable[[Any, Path], dict[str, Any]]
    found: Callable[[W], str]
    report: Callable[[Path, W, str], tuple[dict[str, float], dict[str, float]]]


def finetune_windows(options: WindowOptions, kind: Kind[W]) -> Trained:
    """Fine-tune weights on windows of images; errors as of :func:`.finetune_masks`."""
    if DECODERS.get(options.decoder) != kind.task:
        known = ", ".join(name for name, task in DECODERS.items() if task == kind.task)
        raise OptionError(f"expected a decoder for {kind.name} of {known}, got {options.decoder!r}")
    options = with_images(options)
    folder = Path(options.out)
    check_folder(folder, options)
    skipped = read_skipped(folder) if (folder / kind.table).is_file() else kind.survey(options, folder)
    rows = read_table(folder / kind.table)
    recipe = override(_recipe(options, kind, folder, rows), options.assignments)

    def opened(split: str) -> W:
        return kind.reader(str(recipe.data.root), split, lists=folder, **recipe.data.options)

    _say_choice(options, recipe, [row["split"] for row in rows], kind.found(opened("train")))
    if not is_finished(recipe, folder) and not train(recipe, folder):
        raise StoppedError("stopped; the same command resumes")
    _describe_images(folder, options.images())
    val, classes = kind.report(folder, opened("val"), "val")
    test: dict[str, float] = {}
    if any(row["split"] == "test" for row in rows):
        test, classes = kind.report(folder, opened("test"), "test")
    return Trained(folder, folder / BEST, val, test, classes, skipped)


def bands_of(options: WindowOptions, start: Start) -> Bands:
    """Return the bands that are read."""
    given, band = (None if names is None else tuple(names) for names in (options.bands, options.band))
    return Bands(start.bands, given, band)  # type: ignore[arg-type]


def _window(options: WindowOptions, start: Start, sizes: Sequence[tuple[int, int]]) -> int:
    """Return the side of the windows: that of the images up to a limit, of networks made for one size, that one."""
    if options.size is not None:
        return options.size
    fixed = networks.spec(start.network).timm_args.get("img_size")
    if fixed is not None:
        return int(start.given.get("size") or fixed)
    largest = max(max(size) for size in sizes)
    return min(_LARGEST, -(-largest // STRIDE) * STRIDE)


def _recipe(options: WindowOptions, kind: Kind[W], folder: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the values of a recipe, from the images of the run."""
    sizes = [(int(row["height"]), int(row["width"])) for row in rows]
    first = options.files() / rows[0]["image"]
    window = _window(options, choose_start(options, first, dense=True), sizes)
    start = choose_start(options, first, size=window, dense=True)
    learnt = [size for row, size in zip(rows, sizes, strict=True) if row["split"] == "train"]
    samples = sum(len(grid(*size, window=window, stride=window // 2)) for size in learnt)
    batch = options.batch_size or max(2, min(8, samples // 8))
    steps = options.steps or min(max(_FEWEST, _PASSES * samples // batch), _MOST_STEPS)
    epochs = max(1, min(20, steps // 20))
    factor = 0.0 if options.freeze else _BACKBONE if start.pretrained else 1.0
    read = {"bands": list(start.bands), "given": options.bands, "band": options.band}
    given = {"window": window, **kind.reading(options, folder), **read}
    chosen = {key: list(v) if isinstance(v, tuple) else v for key, v in given.items() if v is not None}
    return {
        "model": {"network": start.network, "init": start.init, "decoder": options.decoder},
        "data": {
            "name": kind.name,
            "root": str(options.files().resolve()),
            "lists": str(folder.resolve()),
            "options": chosen,
            "input": start.input,
            "radiometry": options.radiometry,
            "full_scale": start.full_scale(radiometry=options.radiometry, full_scale=options.full_scale),
            "workers": options.workers,
        },
        "preprocess": {"given": start.given},
        "augment": {"geometry": "dihedral"},
        "loss": {"name": "ce"},
        "optim": {
            "epochs": epochs,
            "epoch_steps": max(1, steps // epochs),
            "batch_size": batch,
            "max_lr": options.lr or kind.lr,
            "backbone_factor": factor,
            "patience": max(5, epochs // 2),
            "decay_vectors": False,
        },
        "evaluation": {"split": "val", "batch_size": 8},
        "runtime": {"seed": options.seed, "precision": "bf16" if torch.cuda.is_available() else "fp32"},
    }


def _say_choice(options: WindowOptions, recipe: Recipe, splits: Sequence[str], found: str) -> None:
    """Say what was found and chosen."""
    counts = [splits.count(split) for split in SPLITS]
    options.say(
        f"{len(splits)} images ({found}): {counts[0]} to train on, {counts[1]} to choose by, {counts[2]} to test on"
    )
    optim = recipe.optim
    frozen = ", the decoder alone" if optim.backbone_factor == 0 else ""
    options.say(
        f"{recipe.model.decoder} on {recipe.model.network} from {options.model}{frozen}: {optim.epochs} × "
        f"{optim.epoch_steps} steps of {optim.batch_size} windows of {recipe.data.options['window']} pixels, learning "
        f"rate up to {optim.max_lr:g}"
    )


def _describe_images(folder: Path, images: dict[str, Any]) -> None:
    """Write into the weights file of a run what its images hold."""
    file = folder / BEST
    info = require_description(file)
    training = {**(info.training or {}), "images": images}
    write_weights(load_file(file), file, info=to_metadata(dataclasses.replace(info, training=training)))
