"""A run's folder: it is made by training, and read back for evaluation, bundling and whatever builds on the weights."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from ..errors import DataError, OptionError
from ..io.files import clear_abandoned, write_text
from ..io.json_files import read_object
from ..io.tables import write_table
from ..models.create import create_model
from ..networks import build, spec, stem_channels
from ..transforms import Pipeline
from ..zoo.description import BEST
from .augment import Numbers, describe, make_transform
from .checkpoint import PREVIOUS
from .memory import keep_freed_memory
from .provenance import check_same_run, split_digests
from .recipe import override
from .report import RUNNING, plot_curves, plot_detail
from .sections import Recipe
from .sources import Split
from .splits import open_source, open_training
from .trainer import Row, Trainer, make_accelerator

SUMMARY, RECIPE = "run.json", "recipe.yaml"
_DAMAGED = "train again in another folder, or take a copy of this file"
_PATIENCE = 10  # seconds; the workers of a run that was killed hold its lock until they notice
_REDRAW = 30  # seconds, at least, between two drawings of the curves: a short epoch takes less than one
INTERRUPTED = "interrupted"  # there while a run waits to be resumed


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        recipe: what was run.
        mean: of the pixels after the operator.
        std: of the pixels after the operator.
        class_names: name of each class.
        multilabel: whether a sample carries several labels.
        val: the validation scores of the kept epoch; empty where none was scored.
        torch: version of PyTorch that it was finished with; empty where the run does not say.
    """

    folder: Path
    recipe: Recipe
    mean: Numbers
    std: Numbers
    class_names: tuple[str, ...]
    multilabel: bool
    val: dict[str, float]
    torch: str = ""

    def transform(self) -> Pipeline:
        """Return the preprocessing at evaluation."""
        return make_transform(self.recipe.preprocess, self.mean, self.std, given=self.recipe.data.input)

    def model(self) -> nn.Module:
        """Return the network with the kept weights, in evaluation mode."""
        if self.recipe.model.decoder is not None:
            return create_model(self.folder / BEST).eval()
        size = self.recipe.preprocess.side
        return load_model(self.folder / BEST, self.recipe.model.network, len(self.class_names), size)


def load_model(file: Path, network: str, num_classes: int, size: int) -> nn.Module:
    """Return a network with the weights of a safetensors file in float32, in evaluation mode."""
    options: dict[str, Any] = {"img_size": size} if "img_size" in spec(network).timm_args else {}
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in load_file(file).items()}
    model = build(network, num_classes=num_classes, in_chans=stem_channels(network, tensors), **options)
    model.load_state_dict(tensors)
    return model.eval()


def load_run(folder: Path, assignments: Sequence[str] = ()) -> Run:
    """Read a finished run.

    Args:
        folder: where it lies.
        assignments: ``section.key=value`` over its recipe, such as another ``data.root``.

    Raises:
        DataError: the folder holds no finished run.
    """
    file = folder / SUMMARY
    if not file.is_file():
        raise DataError(
            f"expected a finished run in {folder}, found no {SUMMARY}; train it: python -m training.pretrain"
        )
    values = _summary(file)
    return Run(
        folder=folder,
        recipe=override(values["recipe"], assignments),
        mean=values["mean"],
        std=values["std"],
        class_names=tuple(values["class_names"]),
        multilabel=values["multilabel"],
        val=values["val"],
        torch=str(values.get("torch", "")),
    )


def _summary(file: Path) -> dict[str, Any]:
    """Read the summary of a run.

    Raises:
        DataError: it is damaged.
    """
    values = read_object(file, keys=("recipe", "mean", "std", "class_names", "multilabel", "val"), fix=_DAMAGED)
    kinds: dict[str, Any] = {
        "recipe": dict,
        "mean": (int, float, list),
        "std": (int, float, list),
        "class_names": list,
        "val": dict,
    }
    if wrong := [name for name, kind in kinds.items() if not isinstance(values[name], kind)]:
        raise DataError(f"{file} is damaged: {', '.join(wrong)} is of another kind than training writes; {_DAMAGED}")
    return values


def open_splits(recipe: Recipe) -> tuple[Split, Split | None]:
    """Return what a recipe trains on, and what it validates on, if anything.

    Raises:
        OptionError: the best epoch would be chosen on samples that were trained on.
        SarHubError: as :func:`.open_training` and :func:`.open_source` say.
    """
    split = recipe.evaluation.split
    if split in recipe.data.train.split("+"):
        raise OptionError(
            f"data.train={recipe.data.train} trains on the split {split}, on which the best epoch is to be chosen: "
            "evaluation.split=null keeps the last one, or name another split"
        )
    train = open_training(recipe.data, recipe.runtime.seed)
    return train, None if split is None else open_source(recipe.data, split)


def is_finished(recipe: Recipe, folder: Path) -> bool:
    """Return whether a folder holds a finished run of a recipe on the samples that it names now.

    Raises:
        OptionError: it holds one of another recipe or on other samples.
        SarHubError: as :func:`open_splits` says.
    """
    file = folder / SUMMARY
    if not file.is_file():
        return False
    there = _summary(file)
    same = there.get("data") == split_digests(*open_splits(recipe))
    check_same_run(folder, there["recipe"], recipe, [] if same else ["other samples, labels or pixels"])
    return True


def train(recipe: Recipe, out: Path) -> bool:
    """Train, or resume a run of the same recipe in ``out``.

    Leaves ``recipe.yaml``, ``last.pt``, ``best.safetensors``, ``metrics.csv``, ``curves.png``, the validation split's
    ``val.png`` (where it is scored), a folder ``tensorboard`` and, last of all, ``run.json``.

    Returns:
        Whether the run is finished; if not, it was asked to stop, and the same call resumes.

    Raises:
        DataError: another process trains in the folder.
        SarHubError: as :class:`~sarhub_models.engine.trainer.Trainer` and its ``run`` say.
    """
    splits = open_splits(recipe)
    accelerator = make_accelerator(recipe.runtime, recipe.optim.accumulate)
    out.mkdir(parents=True, exist_ok=True)
    lock, message = out.with_name(f".{out.name}.lock"), f"another process trains in {out}: wait for it"
    with only_one(lock, message) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            clear_abandoned(out)
        return _train(recipe, splits, out, accelerator)


@contextmanager
def only_one(lock: Path, message: str) -> Iterator[None]:
    """Keep other commands out of a folder while the block runs.

    Args:
        lock: file that is locked; its folder is made.
        message: of the error where another command holds it.

    Raises:
        DataError: another command holds it, or it cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock).acquire(timeout=_PATIENCE)
    except Timeout:
        raise DataError(f"{message}, or take another folder with --out") from None
    except OSError as err:
        raise DataError(f"cannot write in {lock.parent}: {err}; take another folder with --out") from err
    with held:
        yield


def _train(recipe: Recipe, splits: tuple[Split, Split | None], out: Path, accelerator: Accelerator) -> bool:
    if recipe.runtime.threads is not None:
        torch.set_num_threads(recipe.runtime.threads)  # Accelerate has its own idea of it
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    trainer = Trainer(recipe, *splits, out, accelerator)
    if accelerator.is_main_process:
        (out / INTERRUPTED).unlink(missing_ok=True)
        write_text(out / RECIPE, recipe.to_yaml())
        with Reporter(trainer) as reporter:
            finished = trainer.finished or trainer.run(reporter.on_step, reporter.on_epoch)
        if finished:
            plot_curves(trainer.history, out / "curves.png")
            _finish(trainer)
        else:
            write_text(out / INTERRUPTED, f"stopped at step {trainer.step}; the same command resumes\n")
    else:
        finished = trainer.finished or trainer.run(lambda step, loss: None, lambda row: None)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return finished


def _finish(trainer: Trainer) -> None:
    """Write the summary that makes the folder a run."""
    summary = {
        "recipe": trainer.recipe.model_dump(mode="json"),
        "mean": trainer.mean,
        "std": trainer.std,
        "preprocessing": describe(
            trainer.recipe.preprocess, trainer.mean, trainer.std, full_scale=trainer.recipe.data.full_scale
        ),
        "data": trainer.data,
        "class_names": list(trainer.train.class_names),
        "multilabel": trainer.train.multilabel,
        "val": {name: value for name, value in trainer.best.items() if name not in RUNNING},
        "best_epoch": trainer.best["epoch"],
        "skipped": sorted(trainer.skipped.names),
        "torch": torch.__version__.partition("+")[0],
    }
    write_text(trainer.folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    (trainer.folder / PREVIOUS).unlink(missing_ok=True)


class Reporter:
    """Shows and records a run while it goes on: progress bar, metrics.csv, TensorBoard, figures."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        recipe = trainer.recipe
        self.images = recipe.optim.batch_size * trainer.process.world
        self.bar = Progress(  # on stderr: what is printed may be for a program to read
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            speed_estimate_period=300,
            console=Console(stderr=True),
        )
        total = trainer.steps * recipe.optim.epochs
        self.task = self.bar.add_task(recipe.name, total=total, completed=trainer.step, speed="")
        self.drawn = time.monotonic()
        self.board = SummaryWriter(str(trainer.folder / "tensorboard"), purge_step=trainer.step)

    def __enter__(self) -> Reporter:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()
        self.board.close()

    def on_step(self, step: int, loss: float) -> None:
        """Move the bar; every 20th step goes to TensorBoard."""
        speed = self.bar.tasks[0].speed
        text = "" if speed is None else f"{speed * self.images:.0f} images/s"
        epoch = 1 + (step - 1) // self.trainer.steps
        self.bar.update(self.task, completed=step, speed=text, description=f"epoch {epoch} loss {loss:.3f}")
        if step % 20 == 0:
            self.board.add_scalar("loss/step", loss, step - 1)

    def on_epoch(self, row: Row) -> None:
        """Record an epoch."""
        trainer = self.trainer
        write_table(trainer.history, trainer.folder / "metrics.csv")
        for name, value in row.items():
            self.board.add_scalar(f"epoch/{name}", value, trainer.step - 1)  # what begins at purge_step is dropped
        self.board.flush()
        if time.monotonic() - self.drawn > _REDRAW:
            plot_curves(trainer.history, trainer.folder / "curves.png")
            self.drawn = time.monotonic()
        score = "no validation"
        if trainer.monitor in row:
            score = f"{trainer.monitor.replace('_', ' ')} {row[trainer.monitor]:.4f}"
            if trainer.best is row:
                names, label = trainer.train.class_names, trainer.objective.detail_label
                plot_detail(trainer.detail, names, trainer.folder / "val.png", label=label)
        self.bar.console.print(
            f"epoch {row['epoch']:.0f}/{trainer.recipe.optim.epochs}  loss {row['loss']:.4f}  "
            f"{score}  {row['images_per_second']:.0f} images/s  waiting for data {row['waiting_for_data']:.1%}"
        )
