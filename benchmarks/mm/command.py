"""The command that detection and segmentation share: one line trains and tests cells of their table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.experiments.initializations import Start, parse_start
from sarhub_models import model_info
from sarhub_models.errors import OptionError, SarHubError

from .run import OWN, parse_options
from .trials import Cell, Task, run_cells

__all__ = ["commands", "parse_cells"]


def parse_cells(model: str, dataset: str, inits: Sequence[str], seeds: int) -> list[Cell]:
    """Return the cells of a command line, all seeds of an initialization together.

    Args:
        model: a name of :func:`~sarhub_models.list_models`.
        dataset: name of the data set's configurations.
        inits: ``own``, or as :func:`~benchmarks.experiments.initializations.parse_start` takes them.
        seeds: how many there are of each.

    Raises:
        UnknownNameError: there is no such model, or an initialization is unknown.
        DataError: a folder holds no finished run.
        OptionError: an initialization is of another network, or a part of it is empty.
    """
    starts = [_start(model, text) for text in inits]
    return [Cell(model, dataset, s.init, seed, s.label) for s, seed in itertools.product(starts, range(seeds))]


def _start(model: str, text: str) -> Start:
    network = model_info(model).network
    start = Start(model, OWN) if text == OWN else parse_start(text)
    if start.network not in (None, network):
        raise OptionError(f"--init {text}: these are weights of {start.network}, but {model} is a {network}")
    return start


def commands(task: Task, description: str) -> typer.Typer:
    """Return the command line ``train MODEL DATASET --data DIR`` of a task.

    Args:
        task: what to train.
        description: of the whole, in its help.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, help=description, no_args_is_help=True)
    app.callback()(lambda: None)  # so that the name of the only command stays part of the line

    @app.command()
    def train(
        model: Annotated[str, typer.Argument(help="A name of 'sarhub list', such as resnet50_ben.")],
        dataset: Annotated[str, typer.Argument(help="As in the names of the configurations, NETWORK_DATASET.py.")],
        data: Annotated[Path, typer.Option(help="Folder of the prepared data set.")],
        init: Annotated[
            list[str] | None,
            typer.Option(
                metavar="own|[LABEL=](none|imagenet|FILE|RUN_DIR|NAME)",
                help="Starting weights; may be repeated. LABEL names them in the table and the folder. Default: own",
            ),
        ] = None,
        seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")] = 1,
        out: Annotated[
            Path | None, typer.Option(help="Folder of the runs and the table. Default: outputs/TASK")
        ] = None,
        threads: Annotated[int | None, typer.Option(min=1, help="Of PyTorch on a CPU.")] = None,
        cfg_options: Annotated[
            list[str] | None,
            typer.Option(metavar="KEY=VALUE", help="Changes of the configuration; may be repeated."),
        ] = None,
    ) -> None:
        """Train and test; a finished run is not done again, an interrupted one goes on."""
        try:
            cells = parse_cells(model, dataset, init or [OWN], seeds)
            folder = Path("outputs", task.name) if out is None else out
            typer.echo(run_cells(task, cells, data, folder, parse_options(cfg_options or []), threads))
        except SarHubError as err:
            typer.echo(f"error: {err}", err=True)
            raise typer.Exit(1) from None

    return app
