"""The commands of detection: ``python -m benchmarks.detection train MODEL DATASET --data DIR``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.mm import OWN, parse_options
from benchmarks.mm_tasks import Cell, run_cells
from sarhub_models.errors import SarHubError

from .task import TASK

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def commands() -> None:
    """FCOS on networks of this package, by MMDetection's own tools."""


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A name of 'sarhub list', such as resnet50_ben.")],
    dataset: Annotated[str, typer.Argument(help="Name of the configurations: ssdd, hrsid, ls_ssdd or scenes.")],
    data: Annotated[Path, typer.Option(help="Folder that 'python -m benchmarks.detection.prepare' wrote.")],
    init: Annotated[
        list[str] | None,
        typer.Option(metavar="own|none|imagenet|FILE|NAME", help="Starting weights; may be repeated. Default: own."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the table.")] = Path("outputs/detection"),
    threads: Annotated[int | None, typer.Option(min=1, help="Of PyTorch on a CPU.")] = None,
    cfg_options: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Changes of the configuration; may be repeated."),
    ] = None,
) -> None:
    """Train and test; a finished run is not done again, an interrupted one goes on."""
    try:
        cells = [Cell(model, dataset, *choice) for choice in itertools.product(init or [OWN], range(seeds))]
        typer.echo(run_cells(TASK, cells, data, out, parse_options(cfg_options or []), threads))
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
