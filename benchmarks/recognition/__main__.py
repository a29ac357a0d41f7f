"""Recognition in one command: ``python -m benchmarks.recognition --data FOLDER``.

Trains every network from every initialization with every fraction of the labels, several seeds each, and compares.
A finished cell is not run again: the same command goes on where it stopped, whatever stopped it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout

from benchmarks.experiments.initializations import Start, parse_start, starts_of, usual_starts, without_imagenet
from benchmarks.experiments.runner import run_jobs
from sarhub_models.errors import DataError, OptionError, SarHubError, UnknownNameError, closest
from sarhub_models.networks import names as network_names

from .benchmark import Benchmark, make_benchmark
from .grid import DATASETS, METHODS, STEPS, Grid, cells_of, own_split
from .report import write_report

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
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
    seeds: Annotated[int, typer.Option(min=1, help="Runs of every cell, with seeds from 0.")] = 5,
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
    out: Annotated[Path, typer.Option(help="Folder of the cells and the report.")] = Path("outputs/recognition"),
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each.")] = 1,
    keep_weights: Annotated[bool, typer.Option(help="Keep the fine-tuned weights of every cell.")] = True,
    assignments: Annotated[
        list[str] | None, typer.Argument(help="[NETWORK:]section.key=value, over the recipe of fine-tuning.")
    ] = None,
) -> None:
    """Compare initializations on a recognition task; writes results.csv, results.md, plots and predictions."""
    try:
        known(DATASETS, [dataset], "data set")
        chosen = known(network_names(), _listed(networks) or ["mobilenetv3"], "network")
        scored = known(METHODS, _listed(methods) or list(METHODS), "method")
        starts = starts_of(_starts(init, chosen, bool(networks)), chosen)
        shares = dict.fromkeys(_fraction(text) for text in _listed(fractions) or ["1"])
        cells = cells_of(starts, [*shares], seeds)
        budget = STEPS.get(dataset, 0) if steps is None else steps
        if not data.is_dir():
            raise DataError(f"--data {data}: no such folder")
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=0):
            if dataset == "folder" and lists is None:
                lists = own_split(data, out, test_share)
            grid = Grid(dataset, data, lists, budget or None, threads, tuple(assignments or ()))
            for note in grid.notes(cells):
                typer.echo(note)
            failed = run(make_benchmark(grid, cells, scored, out, keep_weights), jobs)
    except Timeout:
        typer.echo(f"error: another command works in {out}: wait for it, or give another --out", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on", err=True)
        raise typer.Exit(75) from None
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None
    if failed:
        typer.echo("\n".join(["error: failed, the others are in the report:", *failed]), err=True)
        raise typer.Exit(1)


def run(benchmark: Benchmark, at_a_time: int) -> list[str]:
    """Run what is not finished and report what is; return a line for each job that failed.

    The report is written also where the run was stopped.
    """
    try:
        return run_jobs(benchmark.jobs(), at_a_time, benchmark.grid.threads)
    finally:
        if results := benchmark.results():
            notes = benchmark.grid.notes([*benchmark.recipes])
            typer.echo(write_report(results, title(benchmark), benchmark.out, notes))


def title(benchmark: Benchmark) -> str:
    """Return what the data set is called in the table."""
    recipe = next(iter(benchmark.recipes.values()))
    if recipe.data.name == "folder":
        return benchmark.grid.data.resolve().name
    whole = benchmark.grid.whole(next(iter(benchmark.recipes))).data
    size = [whole.train.removesuffix("_train")] if whole.name == "opensarship" else []
    return " ".join([whole.name, *size, *map(str, whole.options.get("parts", []))])


def _starts(init: Sequence[str] | None, networks: Sequence[str], named: bool) -> list[Start]:
    """Return what is to be started from: what was given, or else the usual, for networks that were named or not."""
    if init or not named:
        return [parse_start(text) for text in init or ("none", "mobilenetv3_dsn")]
    if without := without_imagenet(networks):
        typer.echo(f"imagenet is left out for {', '.join(without)}: timm has no such weights")
    return usual_starts(networks)


def known(names: Iterable[str], given: Sequence[str], kind: str) -> list[str]:
    """Return the given names, each once.

    Raises:
        UnknownNameError: one is not known.
    """
    for name in given:
        if name not in names:
            raise UnknownNameError(f"no {kind} is called {name!r}{closest(name, names)}; known: {', '.join(names)}")
    return list(dict.fromkeys(given))


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
