"""Score a finished run on a split: ``python -m training.evaluate outputs/resnet18_osu --split test``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich import print as show

from sarhub_models.errors import InputError, SarHubError
from sarhub_models.weights.files import write_text

from .batches import noting_skipped
from .data import open_source
from .report import plot_detail
from .run import Run, load_run
from .scoring import score

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def score_run(run: Run, split: str) -> dict[str, float]:
    """Score the kept weights on a split; leaves ``<split>.json`` and ``<split>.png`` in the run's folder.

    With ``data.on_error=skip`` damaged samples are left out, and named in the output and in the file.

    Raises:
        DataError: the data are not there.
        InputError: they have other classes than the run.
    """
    source = open_source(run.recipe.data, split)
    if source.class_names != run.class_names:
        raise InputError(f"the run knows the classes {run.class_names}, the {split} split has {source.class_names}")
    skipped: list[str] = []
    loader = noting_skipped(source.evaluation(run.recipe.evaluation.batch_size), skipped)
    scores, detail = score(run.model(), loader, run.transform(), len(run.class_names), run.multilabel)
    if skipped:
        show(f"{len(skipped)} damaged samples left out: {', '.join(skipped)}")
    plot_detail(detail, run.class_names, run.folder / f"{split}.png")
    write_text(run.folder / f"{split}.json", json.dumps({**scores, "skipped": skipped}, indent=2) + "\n")
    return scores


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    assignments: Annotated[list[str] | None, typer.Argument(help="data.root=DIR where the data have moved.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test [the recipe's data.test].")] = None,
) -> None:
    """Score a run's weights on a split, in float32 on the CPU."""
    try:
        run = load_run(folder, assignments or [])
        split = split or run.recipe.data.test
        show(f"{folder}, {split}: {score_run(run, split)}")
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
