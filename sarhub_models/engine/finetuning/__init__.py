"""Fine-tuning on one's own chips: labels in, one weights file that describes itself and a report out."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...datasets.recognition.chips import TABLE, ChipsDataset
from ...errors import StoppedError
from ...io.raster import check_nodata
from ...io.tables import read_table, write_table
from ...zoo.description import BEST
from ..recipe import override
from ..run import is_finished, train
from ..sections import Recipe
from .report import Finetuned, describe_weights, write_report
from .request import check_folder, write_request
from .settings import Start, choose_length, choose_start
from .survey import find_twins, look_at
from .table import SPLITS, Chip, class_counts, divide, find_chips, read_chips, write_chips

__all__ = ["Finetuned", "finetune"]

SKIPPED = "skipped.csv"


@dataclass(frozen=True)
class Request:
    """All that decides what a fine-tuning computes; the fields are the arguments of :func:`finetune`."""

    data: str
    model: str
    network: str | None
    labels: str | None
    group_by: str | None
    bands: tuple[str, ...] | None
    band: tuple[int, ...] | None
    radiometry: str | None
    full_scale: float | None
    nodata: str
    freeze: bool
    lora: int | None
    size: int | None
    steps: int | None
    lr: float | None
    batch_size: int | None
    val: float
    test: float
    seed: int
    on_error: str
    assignments: tuple[str, ...]

    def start(self, chips: Sequence[Chip]) -> Start:
        """Return where the run starts."""
        return choose_start(
            self.model,
            network=self.network,
            first=Path(self.data) / chips[0].name,
            bands=self.bands,
            band=self.band,
            radiometry=self.radiometry,
            size=self.size,
        )

    def images(self) -> dict[str, Any]:
        """Return what the images hold, for those who predict later."""
        kept = ("radiometry", "full_scale", "bands", "band", "nodata")
        return {name: value for name in kept if (value := getattr(self, name)) is not None}


def finetune(
    data: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    network: str | None = None,
    labels: str | os.PathLike[str] | None = None,
    group_by: str | None = None,
    bands: Sequence[str] | None = None,
    band: Sequence[int] | None = None,
    radiometry: str | None = None,
    full_scale: float | None = None,
    nodata: str = "refuse",
    freeze: bool = False,
    lora: int | None = None,
    size: int | None = None,
    steps: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    workers: int = 0,
    on_error: str = "stop",
    assignments: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Finetuned:
    """Fine-tune weights on one's own chips, and report what came out.

    The same call resumes a run that was stopped or killed, bit for bit. The folder ``out`` then holds
    ``best.safetensors``, which describes itself (:func:`~sarhub_models.create_model`, :class:`~sarhub_models.Predictor`
    and all commands take the folder or the file), ``chips.csv`` with the splits, the recipe, curves and metrics, and of
    the test split the predictions, scores, scores of each class, confusion matrix and calibration.

    Args:
        data: folder with a folder of chips for each class (or ``train``, ``val``, ``test`` with these in them).
        model: weights to start from: a name, a file, a run; ``"none"`` or ``"imagenet"`` with a ``network``.
        out: folder of the run.
        network: architecture where ``model`` names none.
        labels: CSV or Parquet file with the columns ``name`` (path below ``data``), ``label`` (several with ``;``
            between them) and, if wanted, ``split``.
        group_by: keep chips of a group in one split: ``"parent"``, the folder they lie in, or a column of ``labels``.
        bands: names of the bands in the files, where these do not say them.
        band: positions of the bands to read, counted from 1.
        radiometry: what the pixels hold; by default what the weights expect.
        full_scale: value of amplitude 1.
        nodata: policy for pixels without data: ``"refuse"``, ``"fill"`` or ``"skip"``.
        freeze: train the head alone.
        lora: rank of low-rank adapters, which are trained in place of a transformer.
        size: side of the network's input; by default that of the weights.
        steps: of the optimizer; by default by the number of chips.
        lr: peak of the learning rate; by default likewise.
        batch_size: chips of a step; by default likewise.
        val: share of the chips that the best epoch is chosen on.
        test: share of the chips that is only scored; 0 for none.
        seed: of all random numbers.
        workers: processes that read chips.
        on_error: ``"stop"`` at a chip that cannot be used or has no label, or ``"skip"`` it.
        assignments: ``section.key=value`` over the recipe.
        say: gets one line of text at a time: what was chosen and found.

    Raises:
        DataError: chips and labels do not fit, or are too few.
        ImageError: a chip cannot be used.
        OptionError: arguments contradict each other, or ``out`` holds something else.
        StoppedError: it was asked to stop; the same call resumes.
        SarHubError: as :func:`~sarhub_models.create_model` says.

    Warns:
        UserWarning: chips on both sides of a split share pixels.
    """
    check_nodata(nodata)
    folder = Path(out)
    request = Request(
        data=os.fspath(data),
        model=os.fspath(model),
        network=network,
        labels=None if labels is None else os.fspath(labels),
        group_by=group_by,
        bands=None if bands is None else tuple(bands),
        band=None if band is None else tuple(band),
        radiometry=radiometry,
        full_scale=full_scale,
        nodata=nodata,
        freeze=freeze,
        lora=lora,
        size=size,
        steps=steps,
        lr=lr,
        batch_size=batch_size,
        val=val,
        test=test,
        seed=seed,
        on_error=on_error,
        assignments=tuple(assignments),
    )
    check_folder(folder, request)
    chips, skipped = _chips(request, folder, workers, say)
    start = request.start(chips)
    recipe = _recipe(request, start, chips, folder, workers, say)
    if not is_finished(recipe, folder) and not train(recipe, folder):
        raise StoppedError("stopped; the same command resumes")
    return _report(request, recipe, folder, workers, skipped)


def _chips(
    request: Request, folder: Path, workers: int, say: Callable[[str], None]
) -> tuple[list[Chip], dict[str, str]]:
    """Return the chips with their splits, those of the folder where the run was begun, and why others were left out."""
    if (folder / TABLE).is_file():
        file = folder / SKIPPED
        return read_chips(folder / TABLE), {r["name"]: r["reason"] for r in read_table(file)} if file.is_file() else {}
    chips = _found(request)
    start = request.start(chips)
    if len(start.bands) > 1 and request.bands is None:
        chips = _found(dataclasses.replace(request, bands=start.bands))  # files of one image count once
    good, skipped = look_at(
        Path(request.data),
        chips,
        start.transform(radiometry=request.radiometry, full_scale=request.full_scale),
        full_scale=request.full_scale,
        bands=request.bands,
        band=request.band,
        nodata=request.nodata,
        workers=workers,
        on_error=request.on_error,
    )
    divided = divide([chips[index] for index in good], val=request.val, test=request.test, seed=request.seed)
    _warn_of_twins(divided, start.bands, request)
    folder.mkdir(parents=True, exist_ok=True)
    write_request(folder, request)
    if skipped:
        write_table([{"name": name, "reason": reason} for name, reason in skipped.items()], folder / SKIPPED)
        say(f"{len(skipped)} chips are left out, {next(iter(skipped.values()))}; all of them: {folder / SKIPPED}")
    write_chips(divided, folder / TABLE)
    return divided, skipped


def _found(request: Request) -> list[Chip]:
    return find_chips(
        Path(request.data),
        labels=None if request.labels is None else Path(request.labels),
        group_by=request.group_by,
        bands=request.bands or (),
        strict=request.on_error == "stop",
    )


def _warn_of_twins(chips: Sequence[Chip], wanted: Sequence[str], request: Request) -> None:
    reading = {"wanted": wanted, "given": request.bands, "band": request.band, "nodata": request.nodata}
    twins = find_twins(Path(request.data), chips, seed=request.seed, **reading)
    if twins.pair is not None:
        advice = "group_by (--group-by) keeps chips of one scene in one split"
        if request.group_by is not None:
            advice = f"Are they in one group of {request.group_by}?"
        warnings.warn(
            f"{twins.count} of {twins.compared} chips held out of training share pixels with one that is trained on, "
            f"such as {twins.pair[1]} with {twins.pair[0]}: the scores will be too good. {advice}",
            stacklevel=4,
        )


def _recipe(
    request: Request, start: Start, chips: Sequence[Chip], folder: Path, workers: int, say: Callable[[str], None]
) -> Recipe:
    """Return the recipe of a run, and say what was chosen."""
    splits = {name: sum(chip.split == name for chip in chips) for name in SPLITS}
    length = choose_length(
        splits["train"],
        start=start,
        freeze=request.freeze,
        lora=request.lora,
        steps=request.steps,
        max_lr=request.lr,
        batch_size=request.batch_size,
    )
    options = {"bands": list(start.bands), "given": request.bands, "band": request.band, "nodata": request.nodata}
    values: dict[str, Any] = {
        "model": {
            "network": start.network,
            "init": start.init,
            "head": "probe" if start.pretrained else "random",
            "lora": request.lora,
        },
        "data": {
            "name": "chips",
            "root": str(Path(request.data).resolve()),
            "lists": str(folder.resolve()),
            "options": {name: list(v) if isinstance(v, tuple) else v for name, v in options.items() if v},
            "input": start.input,
            "radiometry": request.radiometry,
            "full_scale": start.full_scale(radiometry=request.radiometry, full_scale=request.full_scale),
            "workers": workers,
        },
        "preprocess": {"given": start.given},
        "loss": {"name": "ce"},
        "optim": length.optim(),
        "evaluation": {"split": "val", "batch_size": 64},
        "runtime": {"seed": request.seed, "precision": "bf16" if torch.cuda.is_available() else "fp32"},
    }
    recipe = override(values, request.assignments)
    counts = class_counts(chips)
    optim = recipe.optim
    say(
        f"{len(chips)} chips of {len(counts)} classes ({', '.join(f'{n} {c}' for n, c in list(counts.items())[:20])}): "
        f"{splits['train']} to train on, {splits['val']} to choose by, {splits['test']} to test on"
    )
    part = (
        "the head alone" if optim.backbone_factor == 0 else f"adapters of rank {request.lora}" if request.lora else ""
    )
    say(
        f"{recipe.model.network} from {request.model}{', ' + part if part else ''}: {optim.epochs} × "
        f"{optim.epoch_steps} steps of {optim.batch_size} chips, learning rate up to {optim.max_lr:g}"
    )
    return recipe


def _report(request: Request, recipe: Recipe, folder: Path, workers: int, skipped: dict[str, str]) -> Finetuned:
    assert recipe.data.root is not None

    def opened(split: str) -> ChipsDataset:
        return ChipsDataset(str(recipe.data.root), split, lists=folder, **recipe.data.options)

    temperature = describe_weights(folder, opened("val"), request.images(), workers=workers)
    chips = read_chips(folder / TABLE)
    tested = any(chip.split == "test" for chip in chips)
    val, error = write_report(folder, opened("val"), "val", workers=workers)
    test: dict[str, float] = {}
    if tested:
        test, error = write_report(folder, opened("test"), "test", workers=workers)
    return Finetuned(folder, folder / BEST, val, test, temperature, error, skipped)
