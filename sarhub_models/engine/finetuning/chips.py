"""Fine-tuning on one's own chips: labels in, one weights file that describes itself and a report out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...datasets.recognition.chips import TABLE, ChipsDataset
from ...datasets.sizes import judge_sizes
from ...errors import StoppedError
from ...io.raster import check_nodata
from ...zoo.description import BEST
from ..recipe import override
from ..run import is_finished, train
from ..sections import Recipe
from .options import ChipOptions, takes
from .report import Finetuned, describe_weights, write_report
from .request import begin, check_folder, read_skipped
from .settings import Start, choose_length, choose_start, with_images
from .survey import find_twins, look_at
from .table import SPLITS, Chip, class_counts, divide, find_chips, images_below, read_chips, write_chips

__all__ = ["Finetuned", "finetune"]

_CROP = "preprocess.given.crop="


@takes(ChipOptions)
def finetune(options: ChipOptions) -> Finetuned:
    """Fine-tune weights on one's own chips, and report what came out.

    The same call resumes a run that was stopped or killed, bit for bit. The folder ``out`` then holds
    ``best.safetensors``, which describes itself (:func:`~sarhub_models.create_model`, :class:`~sarhub_models.Predictor`
    and all commands take the folder or the file), ``chips.csv`` with the splits, the recipe, curves and metrics, and of
    the test split the predictions, scores, scores of each class, confusion matrix and calibration.

    Raises:
        DataError: chips and labels do not fit, or are too few.
        ImageError: a chip cannot be used.
        OptionError: arguments contradict each other, or ``out`` holds something else.
        StoppedError: it was asked to stop; the same call resumes.
        SarHubError: as :func:`~sarhub_models.create_model` says.

    Warns:
        UserWarning: chips on both sides of a split share pixels, or sizes tell the classes.
    """
    check_nodata(options.nodata)
    options = with_images(options)
    folder = Path(options.out)
    check_folder(folder, options)
    chips, skipped = _chips(options, folder)
    recipe = _recipe(options, chips, folder)
    if not is_finished(recipe, folder) and not train(recipe, folder):
        raise StoppedError("stopped; the same command resumes")
    return _report(options, recipe, folder, skipped)


def _chips(options: ChipOptions, folder: Path) -> tuple[list[Chip], dict[str, str]]:
    """Return the chips with their splits, those of the folder where the run was begun, and why others were left out."""
    if (folder / TABLE).is_file():
        return read_chips(folder / TABLE), read_skipped(folder)
    start = choose_start(options, images_below(options.files())[0])
    chips = find_chips(
        options.files(),
        labels=None if options.labels is None else Path(options.labels),
        group_by=options.group_by,
        bands=options.bands or start.bands,
        strict=options.on_error == "stop",
    )
    good, skipped = look_at(
        options.files(),
        chips,
        start.transform(radiometry=options.radiometry, full_scale=options.full_scale),
        full_scale=options.full_scale,
        bands=options.bands,
        band=options.band,
        nodata=options.nodata,
        workers=options.workers,
        on_error=options.on_error,
    )
    divided = divide([chips[index] for index in good], val=options.val, test=options.test, seed=options.seed)
    _warn_of_twins(divided, start.bands, options)
    _warn_of_sizes(divided, start, options)
    begin(folder, options, skipped)
    write_chips(divided, folder / TABLE)
    return divided, skipped


def _warn_of_twins(chips: Sequence[Chip], wanted: Sequence[str], options: ChipOptions) -> None:
    reading = {"wanted": wanted, "given": options.bands, "band": options.band, "nodata": options.nodata}
    twins = find_twins(options.files(), chips, seed=options.seed, **reading)
    if twins.pair is not None:
        advice = "group_by (--group-by) keeps chips of one scene in one split"
        if options.group_by is not None:
            advice = f"Are they in one group of {options.group_by}?"
        warnings.warn(
            f"{twins.count} of {twins.compared} chips held out of training share pixels with one that is trained on, "
            f"such as {twins.pair[1]} with {twins.pair[0]}: the scores will be too good. {advice}",
            stacklevel=4,
        )


def _warn_of_sizes(chips: Sequence[Chip], start: Start, options: ChipOptions) -> None:
    files, labels = [options.files() / chip.name for chip in chips], [chip.label for chip in chips]
    sizes = judge_sizes(files, labels, held=[chip.split != "train" for chip in chips])
    given = [text.removeprefix(_CROP) for text in options.assignments if text.startswith(_CROP)]
    crop = int(given[-1]) if given and given[-1].isdigit() else start.given.get("crop")
    if sizes is not None and sizes.tell and (crop is None or crop > sizes.smallest):
        cut = sizes.smallest >= sizes.median / 2  # of chips cut to their objects, a small middle would lose these
        advice = f"{_CROP}{sizes.smallest} takes the middle of each in its own scale" if cut else "Cut all to one size"
        warnings.warn(f"{sizes}. {advice}", stacklevel=4)


def _recipe(options: ChipOptions, chips: Sequence[Chip], folder: Path) -> Recipe:
    """Return the recipe of a run, and say what was chosen."""
    start = choose_start(options, options.files() / chips[0].name)
    splits = {name: sum(chip.split == name for chip in chips) for name in SPLITS}
    length = choose_length(splits["train"], options, start)
    read = {"bands": list(start.bands), "given": options.bands, "band": options.band, "nodata": options.nodata}
    values: dict[str, Any] = {
        "model": {
            "network": start.network,
            "init": start.init,
            "head": length.head,
            "lora": options.lora,
        },
        "data": {
            "name": "chips",
            "root": str(options.files().resolve()),
            "lists": str(folder.resolve()),
            "options": {name: list(v) if isinstance(v, tuple) else v for name, v in read.items() if v},
            "input": start.input,
            "radiometry": options.radiometry,
            "full_scale": start.full_scale(radiometry=options.radiometry, full_scale=options.full_scale),
            "workers": options.workers,
        },
        "preprocess": {"given": start.given},
        "loss": {"name": "ce"},
        "optim": length.optim(),
        "evaluation": {"split": "val", "batch_size": 64},
        "runtime": {"seed": options.seed, "precision": "bf16" if torch.cuda.is_available() else "fp32"},
    }
    recipe = override(values, options.assignments)
    counts = class_counts(chips)
    optim = recipe.optim
    options.say(
        f"{len(chips)} chips of {len(counts)} classes ({', '.join(f'{n} {c}' for n, c in list(counts.items())[:20])}): "
        f"{splits['train']} to train on, {splits['val']} to choose by, {splits['test']} to test on"
    )
    part = (
        "the head alone" if optim.backbone_factor == 0 else f"adapters of rank {options.lora}" if options.lora else ""
    )
    options.say(
        f"{recipe.model.network} from {options.model}{', ' + part if part else ''}: {optim.epochs} × "
        f"{optim.epoch_steps} steps of {optim.batch_size} chips, learning rate up to {optim.max_lr:g}"
    )
    return recipe


def _report(options: ChipOptions, recipe: Recipe, folder: Path, skipped: dict[str, str]) -> Finetuned:
    workers = options.workers
    assert recipe.data.root is not None

    def opened(split: str) -> ChipsDataset:
        return ChipsDataset(str(recipe.data.root), split, lists=folder, **recipe.data.options)

    temperature = describe_weights(folder, opened("val"), options.images(), workers=workers)
    chips = read_chips(folder / TABLE)
    tested = any(chip.split == "test" for chip in chips)
    val, error = write_report(folder, opened("val"), "val", workers=workers)
    test: dict[str, float] = {}
    if tested:
        test, error = write_report(folder, opened("test"), "test", workers=workers)
    return Finetuned(folder, folder / BEST, val, test, temperature, error, skipped)
