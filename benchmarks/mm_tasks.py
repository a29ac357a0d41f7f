"""Cells of a table, each a network from an initialisation with a seed, run by the MM tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track

from benchmarks.mm import OWN, Package, Run, load_config, set_weights
from benchmarks.results import Result, read_results, write_report
from sarhub_models import model_info

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
        init: as for :func:`~benchmarks.mm.set_weights`.
        seed: of all random choices.
        shown: name of the initialisation in the table, where ``init`` does not tell it.
    """

    model: str
    dataset: str
    init: str
    seed: int
    shown: str = ""

    @property
    def label(self) -> str:
        """Name of the initialisation in the table."""
        if self.shown or self.init == OWN:
            return self.shown or self.model
        return Path(self.init).stem if Path(self.init).is_file() else self.init

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
    """Run the cells that are not finished, one after the other, and add all of them to the table.

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
        DataError: there is a ``results.csv`` that is none.
        SarHubError: as :class:`~benchmarks.mm.Run`, :func:`~benchmarks.mm.load_config` and
            :func:`~benchmarks.mm.set_weights` say.
    """
    rows = []
    for cell in track(cells, description=task.name, disable=len(cells) < 2):
        folder = out / cell.folder
        network = model_info(cell.model).network
        config = load_config(task.configs / f"{network}_{cell.dataset}.py")
        set_weights(config, cell.model, cell.init, folder)
        task.place(config, data)
        config.randomness = {"seed": cell.seed}
        config.merge_from_dict(dict(options or {}))
        run = Run(task.package, folder, threads=threads, test_arguments=task.test_arguments(folder))
        scores = task.scores(run(config))
        task.draw(folder, data)
        rows += [Result(task.name, cell.dataset, network, cell.label, 1.0, cell.seed, *item) for item in scores.items()]
    return write_report(_merged(out / "results.csv", rows), out, "metric")


def _merged(file: Path, rows: Sequence[Result]) -> list[Result]:
    """Return the rows of a table with new ones in the place of those of the same runs."""
    old = read_results(file) if file.is_file() else []
    fresh = {replace(row, value=0.0) for row in rows}
    return [row for row in old if replace(row, value=0.0) not in fresh] + list(rows)
