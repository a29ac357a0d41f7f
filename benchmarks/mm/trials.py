"""Cells of a table, each a network from an initialization with a seed, run by the MM tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from rich.progress import track

from benchmarks.experiments.results import Result, read_results, write_report
from sarhub_models import model_info
from sarhub_models.errors import DataError, MissingDependencyError, OptionError, SarHubError

from .run import OWN, Package, Run, load_config, prepares, set_data, set_weights

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["Cell", "Task", "run_cells"]


@dataclass(frozen=True)
class Task:
    """What detection and segmentation differ in.

    Attributes:
        name: of the task, in the table.
        package: whose tools train and test.
        configs: folder of the configurations, ``<network>_<dataset>.py``.
        scores: turns the scores of the test into ours, by name and in [0, 1].
        place: tells a configuration where the data set's folder is.
        test_arguments: further arguments of the test for a run's folder.
        draw: draws what a finished run predicts, given its folder and the data set's.
    """

    name: str
    package: Package
    configs: Path
    scores: Callable[[Mapping[str, float]], dict[str, float]]
    place: Callable[[Config, Path], None]
    test_arguments: Callable[[Path], tuple[str, ...]]
    draw: Callable[[Path, Path], None]


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        model: a name of :func:`~sarhub_models.list_models`: its network is trained, on images as its weights take them.
        dataset: name of the data set's configurations.
        init: as for :func:`~benchmarks.mm.run.set_weights`.
        seed: of all random choices.
        shown: label of the initialization, where ``init`` is none, as a file is not.
    """

    model: str
    dataset: str
    init: str
    seed: int
    shown: str = ""

    @property
    def label(self) -> str:
        """Name of the initialization in the table and of the run's folder."""
        return self.shown or (self.model if self.init == OWN else self.init)

    @property
    def folder(self) -> Path:
        """Where its run lies below the output folder."""
        return Path(self.dataset, self.model, f"{self.label}-{self.seed}")


def run_cells(
    task: Task,
    cells: Sequence[Cell],
    data: Path,
    out: Path,
    options: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> str:
    """Run the cells that are not finished, one after the other, and add each to the table when it is done.

    A cell that fails does not keep the others from being run.

    Args:
        task: what to do.
        cells: the cells.
        data: the data set's folder.
        out: gets a folder for each cell; ``results.csv`` and ``results.md`` also keep what earlier calls left there.
        options: changes of the configuration, by dotted key.
        threads: of the tools' processes.

    Returns:
        The table.

    Raises:
        OptionError: two cells have one folder, or a label is no name of a folder; nothing was run then.
        DataError: several cells were to be run and some failed, which the message names, each with its error; or there
            is a ``results.csv`` that is none.
        MissingDependencyError: the MM packages are not installed.
        SarHubError: the only cell failed, as :class:`.Run`, :func:`.load_config` and :func:`.set_weights` say.
    """
    _check_folders(cells)
    table, failed = "", {}
    for cell in track(cells, description=task.name, disable=len(cells) < 2):
        try:
            rows = _run_cell(task, cell, data, out / cell.folder, options or {}, threads)
        except MissingDependencyError:  # noqa: PERF203 (each may fail for itself)
            raise  # what is missing, all cells need
        except SarHubError as err:
            failed[cell] = err
        else:
            with FileLock(out / ".lock"):
                table = write_report(_merged(out / "results.csv", rows), out, "metric")
    if failed:
        raise _failure(failed, len(cells))
    return table


def _check_folders(cells: Sequence[Cell]) -> None:
    for cell in cells:
        if Path(cell.label).name != cell.label:
            raise OptionError(f"{cell.label!r} cannot name a folder: --init LABEL=PLACE gives another label")
    folders = [cell.folder for cell in cells]
    if twice := [folder for folder in folders if folders.count(folder) > 1]:
        raise OptionError(f"two runs would have the folder {twice[0]}: --init LABEL=PLACE tells them apart")


def _failure(failed: Mapping[Cell, SarHubError], count: int) -> SarHubError:
    """Return the error of the only cell, or one that names all failed ones; the errors of the tools name the logs."""
    if count == 1:
        return next(iter(failed.values()))
    errors = "\n".join(f"{cell.folder}: {err}" for cell, err in failed.items())
    return DataError(f"{len(failed)} of {count} runs failed; the table holds those that are finished\n{errors}")


def _run_cell(
    task: Task, cell: Cell, data: Path, folder: Path, options: Mapping[str, Any], threads: int | None
) -> list[Result]:
    """Run one cell in its folder, unless it is finished, and return its rows."""
    network = model_info(cell.model).network
    config = load_config(task.configs / f"{network}_{cell.dataset}.py")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            set_data(data, folder)
            set_weights(config, cell.model, cell.init, folder)
            task.place(config, data)
            config.randomness = {"seed": cell.seed}
            config.merge_from_dict(dict(options))
            run = Run(task.package, folder, threads=threads, test_arguments=task.test_arguments(folder))
            scores = task.scores(run(config))
            task.draw(folder, data)
    except Timeout:
        raise DataError(f"another command works in {folder}: wait for it, or give another --out") from None
    if prepares(config):  # runs on images that were prepared in different ways are not compared with each other
        network = f"{network} ({cell.model.removeprefix(f'{network}_')})"
    return [Result(task.name, cell.dataset, network, cell.label, 1.0, cell.seed, *item) for item in scores.items()]


def _merged(file: Path, rows: Sequence[Result]) -> list[Result]:
    """Return the rows of a table with new ones in the place of those of the same runs."""
    old = read_results(file) if file.is_file() else []
    return list({replace(row, value=0.0): row for row in [*old, *rows]}.values())
