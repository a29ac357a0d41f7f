"""Recognition in one command: ``python -m benchmarks.recognition --data FOLDER``.

Trains every network from every initialization with every fraction of the labels, several seeds each, and compares.
A finished trial is not run again: the same command goes on where it stopped, whatever stopped it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.experiments.command import command, known, new_app
from benchmarks.experiments.initializations import (
    Initialization,
    initializations_of,
    parse_initialization,
    usual_initializations,
    without_imagenet,
)
from benchmarks.experiments.runner import alone, finished, run_trials
from benchmarks.experiments.trial import Trial
from sarhub_models.errors import DataError, OptionError
from sarhub_models.networks import names as network_names

from .grid import DATASETS, METHODS, STEPS, Grid, own_split, trials_of
from .methods import Recognition
from .report import write_report

app = new_app()


@command(app)
def main(
    data: Annotated[Path, typer.Option(help="Folder of the chips.")],
    dataset: Annotated[str, typer.Option(help=f"{', '.join(DATASETS)} (a folder for each class).")] = "folder",
    networks: Annotated[list[str] | None, typer.Option(help="One or more, separated by commas [mobilenetv3].")] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NETWORK:][LABEL=]PLACE",
            help="none, imagenet, a name of 'sarhub list', a file of weights, or the folder of a run of "
            "training.pretrain; may be repeated, the first is the one compared with [none and, where there are such "
            "weights, imagenet; without --networks none and the bundled weights].",
        ),
    ] = None,
    fractions: Annotated[list[str] | None, typer.Option(help="Of the training labels [1].")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of every trial, with seeds from 0.")] = 5,
    methods: Annotated[list[str] | None, typer.Option(help=f"Of {','.join(METHODS)} [all].")] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps of fine-tuning with all labels; a fraction f takes √f of them. 0: 500 epochs, as the paper "
            f"[{', '.join(f'{name} {count}' for name, count in STEPS.items())}, others 0].",
        ),
    ] = None,
    lists: Annotated[Path | None, typer.Option(help="Folder of the split lists, where not --data.")] = None,
    test_share: Annotated[float, typer.Option(min=0.05, max=0.5, help="Of one's own chips without lists.")] = 0.3,
    out: Annotated[Path, typer.Option(help="Folder of the trials and the report.")] = Path("outputs/recognition"),
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each.")] = 1,
    keep_weights: Annotated[bool, typer.Option(help="Keep the fine-tuned weights of every trial.")] = True,
    assignments: Annotated[
        list[str] | None, typer.Argument(help="[NETWORK:]section.key=value, over the recipe of fine-tuning.")
    ] = None,
) -> None:
    """Compare initializations on a recognition task; writes results.csv, results.md, plots and predictions."""
    known(DATASETS, [dataset], "data set")
    chosen = known(network_names(), _listed(networks) or ["mobilenetv3"], "network")
    scored = known(METHODS, _listed(methods) or list(METHODS), "method")
    initializations = initializations_of(_initializations(init, chosen, bool(networks)), chosen)
    shares = dict.fromkeys(_fraction(text) for text in _listed(fractions) or ["1"])
    trials = trials_of(dataset, initializations, [*shares], seeds, scored)
    budget = STEPS.get(dataset, 0) if steps is None else steps
    if not data.is_dir():
        raise DataError(f"--data {data}: no such folder")
    with alone(out):
        if dataset == "folder" and lists is None:
            lists = own_split(data, out, test_share)
        grid = Grid(dataset, data, lists, budget or None, threads, tuple(assignments or ()))
        notes = grid.notes(trials)
        typer.echo("\n".join(notes), nl=bool(notes))
        experiment = Recognition(out, grid, keep_weights)
        try:
            run_trials(experiment, trials, jobs=jobs, threads=threads)
        finally:  # also where it was stopped
            if scores := finished(experiment, trials):
                typer.echo(write_report(scores, title(grid, trials[0]), out, notes))


def title(grid: Grid, trial: Trial) -> str:
    """Return the name of the data set in the table."""
    data = grid.whole(trial).data
    if data.name == "folder":
        return grid.data.resolve().name
    size = [data.train.removesuffix("_train")] if data.name == "opensarship" else []
    return " ".join([data.name, *size, *map(str, data.options.get("parts", []))])


def _initializations(init: Sequence[str] | None, networks: Sequence[str], named: bool) -> list[Initialization]:
    """Return those that were given, or else the usual, for networks that were named or not."""
    if init or not named:
        return [parse_initialization(text) for text in init or ("none", "mobilenetv3_dsn")]
    if without := without_imagenet(networks):
        typer.echo(f"imagenet is left out for {', '.join(without)}: timm has no such weights")
    return usual_initializations(networks)


def _listed(texts: Sequence[str] | None) -> list[str]:
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise OptionError(f"expected --fractions above 0 and at most 1, got {text!r}")
    return value


if __name__ == "__main__":
    app()
