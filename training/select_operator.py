"""Choose the dynamic-range operator on the validation split.

``python -m training.select_operator mobilenetv3_dsn --data DIR`` trains the recipe with every operator, with and
without DRAA. A cell whose run is in the output folder already is not trained again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sarhub_models.errors import SarHubError

from .recipe import Recipe, load_recipe
from .report import write_csv
from .run import SUMMARY, Run, load_run, train, use_threads

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(help="A file of training/recipes, without .yaml.")],
    data: Annotated[Path, typer.Option(help="Folder with the data set.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results [outputs/<recipe>_operators].")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    cutmix: Annotated[float | None, typer.Option(min=0, max=1, help="Probability of CutMix per mini-batch.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Train the recipe with every operator and compare the validation scores."""
    use_threads(threads)
    folder = out or Path("outputs") / f"{recipe}_operators"
    try:
        operators = load_recipe(recipe).operators
        runs = [
            _cell(
                load_recipe(recipe, operator=operator, draa=draa, epochs=epochs, cutmix=cutmix, seed=seed), data, folder
            )
            for operator in operators
            for draa in (False, True)
        ]
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None
    _show(runs, folder / "operators.csv")


def _cell(recipe: Recipe, data: Path, folder: Path) -> Run:
    """Return the run of one cell: the finished one of the same recipe, or a new one."""
    cell = folder / f"{recipe.operator}_{'draa' if recipe.draa else 'fixed'}"
    if (cell / SUMMARY).exists() and (run := load_run(cell)).recipe == recipe:
        return run
    return train(recipe, data, cell)


def _show(runs: list[Run], file: Path) -> None:
    """Print the cells, the best first, and write them as a table."""
    runs = sorted(runs, key=lambda run: -run.val["overall_accuracy"])
    rows = [
        {
            "operator": run.recipe.operator,
            "draa": "yes" if run.recipe.draa else "no",
            **{name: f"{value:.4f}" for name, value in run.val.items()},
            "seconds": f"{run.seconds:.0f}",
        }
        for run in runs
    ]
    write_csv(rows, file)
    table = Table(*rows[0], title="validation split")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)


if __name__ == "__main__":
    app()
