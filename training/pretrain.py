"""Train one recipe: ``python -m training.pretrain mobilenetv3_dsn --data DIR``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich import print as show

from sarhub_models.errors import SarHubError

from .data import load_split
from .recipe import load_recipe
from .run import evaluate_split, train, use_threads

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(help="A file of training/recipes, without .yaml.")],
    data: Annotated[Path, typer.Option(help="Folder with the data set.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results [outputs/<recipe>].")] = None,
    operator: Annotated[str | None, typer.Option(help="Dynamic-range operator.")] = None,
    draa: Annotated[bool | None, typer.Option(help="Draw the operator's parameter anew for every patch.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    cutmix: Annotated[float | None, typer.Option(min=0, max=1, help="Probability of CutMix per mini-batch.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Score the kept weights on the test split, too.")] = False,
) -> None:
    """Train a recipe, keep the best epoch by validation accuracy, and write tables and figures."""
    use_threads(threads)
    try:
        chosen = load_recipe(recipe, operator=operator, draa=draa, epochs=epochs, cutmix=cutmix, seed=seed)
        run = train(chosen, data, out or Path("outputs") / recipe)
        show(f"{run.folder}: {run.seconds:.0f} s, validation {run.val}")
        if test:
            scores = evaluate_split(run, load_split(data, chosen, "test"), run.folder / "confusion_test.png")
            (run.folder / "test.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
            show(f"test {scores}")
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
