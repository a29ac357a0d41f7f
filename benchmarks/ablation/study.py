"""The experiment: which loss and which dynamic-range mapping, on the DSN-SLC patches, three seeds each.

``python -m benchmarks.ablation.study --data DIR`` trains MobileNetV3 with every loss and mapping, then larger networks
with the pair that is best on the validation split. Each cell is a run of its own in its own process: a finished one is
not run again, an interrupted one goes on.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sarhub_models.engine.processes import Programs, sigterm_interrupts
from sarhub_models.engine.run import is_finished, load_run
from sarhub_models.errors import DataError, SarHubError
from training.evaluate import score_run
from training.recipes import load_recipe

from .report import Row, best_pair, write_report

LOSSES = {
    "cross-entropy": ("loss.name=ce",),
    "CBL": ("loss.name=cbl",),
    "mini-CBL": ("loss.name=mini_cbl",),
    "mini-CBL focal": ("loss.name=mini_cbl", "loss.gamma=2"),
}
MAPPINGS = {
    "log amplitude": ("preprocess.operator=log_amplitude", "preprocess.draa=false"),
    "PTLS": ("preprocess.operator=ptls", "preprocess.draa=false"),
    "PTLS, DRAA": ("preprocess.operator=ptls", "preprocess.draa=true"),
    "Reinhard–Devlin": ("preprocess.operator=reinhard_devlin", "preprocess.draa=false"),
    "Reinhard–Devlin, DRAA": ("preprocess.operator=reinhard_devlin", "preprocess.draa=true"),
}
SMALL, LARGE = "mobilenetv3", ("resnet18", "resnet50", "swin_t")
SMALLEST = {"swin_t": 128}  # pixels; its windows do not fit into less
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    network: str
    loss: str
    mapping: str
    seed: int

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        parts = (self.network, self.loss, self.mapping, str(self.seed))
        return "-".join(re.sub(r"[^\w-]+", "_", part.replace("–", "-")) for part in parts)


@dataclass(frozen=True)
class Experiment:
    """What all cells share."""

    data: Path
    out: Path
    jobs: int
    threads: int

    def command(self, cell: Cell, epochs: int, size: int) -> list[str]:
        """Return the command that trains a cell for so many epochs on patches resized to ``size`` pixels."""
        assignments = [
            *(f"data.root={self.data}", f"runtime.seed={cell.seed}", f"runtime.threads={self.threads}"),
            *(f"optim.epochs={epochs}", f"preprocess.size={size}", "augment.cutmix=0"),
            *(*LOSSES[cell.loss], *MAPPINGS[cell.mapping]),
        ]
        recipe, folder = f"{cell.network}_dsn", str(self.out / cell.folder)
        return [sys.executable, "-m", "training.pretrain", recipe, *assignments, "--out", folder]

    def train(self, cells: Sequence[Cell], epochs: int, size: int, title: str) -> None:
        """Train the cells that are not finished, several at a time.

        Raises:
            DataError: some failed; the message says where their output is. The others are finished first.
        """
        open_cells = [cell for cell in cells if not self._finished(cell, epochs, size)]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        failed: list[str] = []
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as bar:
            task, programs = bar.add_task(title, total=len(cells), completed=len(cells) - len(open_cells)), Programs()
            with ThreadPoolExecutor(self.jobs) as pool, sigterm_interrupts():
                waiting = [pool.submit(self._train, cell, epochs, size, programs) for cell in open_cells]
                try:
                    for done in as_completed(waiting):
                        bar.advance(task)
                        failed += filter(None, [done.result()])
                except KeyboardInterrupt:
                    programs.end()  # they save first
                    pool.shutdown(cancel_futures=True)
                    raise DataError("stopped; the same command goes on") from None
        if failed:
            raise DataError(f"{len(failed)} of {len(cells)} runs failed; their output: {', '.join(failed)}")

    def _finished(self, cell: Cell, epochs: int, size: int) -> bool:
        """Return whether the run is there; raise if it is one of another recipe or on other data."""
        _, _, _, name, *assignments = self.command(cell, epochs, size)
        return is_finished(load_recipe(name, assignments[: assignments.index("--out")]), self.out / cell.folder)

    def _train(self, cell: Cell, epochs: int, size: int, programs: Programs) -> str:
        """Train one cell; return the file with its output if it failed."""
        folder = self.out / cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        return "" if programs.run(self.command(cell, epochs, size), log) == 0 else str(log)

    def row(self, cell: Cell) -> Row:
        """Return a finished cell's scores on the validation and the test split."""
        run = load_run(self.out / cell.folder, [f"data.root={self.data}"])
        found = score_run(run, "test", again=False)
        test = {name: found[name] for name in run.val}
        epochs, size = run.recipe.optim.epochs, run.recipe.preprocess.size
        return Row(cell.network, cell.loss, cell.mapping, cell.seed, epochs, size, run.val, test)

    def rows(self, cells: Iterable[Cell]) -> list[Row]:
        """Return the rows of finished cells."""
        return [self.row(cell) for cell in cells]


def grid(networks: Sequence[str], pairs: Iterable[tuple[str, str]], seeds: int) -> list[Cell]:
    """Return the cells, seed by seed, so that a part of the table holds all of its places."""
    return [Cell(n, *pair, seed) for seed, n, pair in itertools.product(range(seeds), networks, list(pairs))]


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="Folder with s1.npz and tsx.npz.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of the report.")] = Path("outputs/ablation"),
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of MobileNetV3.")] = 8,
    size: Annotated[int, typer.Option(min=32, help="Side of MobileNetV3's input in pixels.")] = 128,
    large_epochs: Annotated[int, typer.Option(min=0, help="Of the larger networks; 0 leaves them out.")] = 6,
    large_size: Annotated[int, typer.Option(min=32, help="Side of their input; 64 is the patches' own.")] = 64,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each.")] = 1,
) -> None:
    """Run the experiment and write its table (ablation.csv, ablation.md) and figure (ablation.png)."""
    experiment = Experiment(data, out, jobs, threads)
    try:
        small = grid([SMALL], itertools.product(LOSSES, MAPPINGS), seeds)
        experiment.train(small, epochs, size, SMALL)
        rows = experiment.rows(small)
        write_report(rows, out)
        if large_epochs:
            for network in LARGE:
                large = grid([network], [best_pair(rows, SMALL)], seeds)
                experiment.train(large, large_epochs, max(large_size, SMALLEST.get(network, 0)), network)
                rows += experiment.rows(large)
                write_report(rows, out)
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
