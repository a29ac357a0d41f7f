"""Score a finished run on a split: ``python -m training.evaluate outputs/resnet18_osu --split test``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import print as show

from sarhub_models.engine.provenance import source_digest
from sarhub_models.engine.report import plot_detail
from sarhub_models.engine.run import Run, load_run
from sarhub_models.engine.scoring import score
from sarhub_models.engine.skipped import Skipped
from sarhub_models.engine.sources import Split
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import InputError, SarHubError
from sarhub_models.io.files import digests, write_text
from sarhub_models.io.json_files import read_object
from sarhub_models.zoo.description import BEST

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def score_run(run: Run, split: str, again: bool = True) -> dict[str, float]:
    """Score the kept weights on a split; leaves ``<split>.json`` and ``<split>.png`` in the run's folder.

    With ``data.on_error=skip`` damaged samples are left out, and named in the output and in the file.

    Args:
        run: whose weights.
        split: of its data.
        again: also where the file has the scores of these weights on these samples, prepared alike.

    Raises:
        DataError: the data are not there.
        InputError: they have other classes than the run.
    """
    source = open_source(run.recipe.data, split)
    if source.class_names != run.class_names:
        raise InputError(f"the run knows the classes {run.class_names}, the {split} split has {source.class_names}")
    file, inputs = run.folder / f"{split}.json", _inputs(run, source)
    if not again and (known := _known(file)).get("inputs") == inputs:
        return {name: value for name, value in known.items() if name not in ("skipped", "inputs")}
    noted = Skipped()
    loader = map(noted.note, source.evaluation(run.recipe.evaluation.batch_size))
    scores, detail = score(run.model(), loader, run.transform(), len(run.class_names), run.multilabel)
    if skipped := noted.share():
        show(f"{len(skipped)} damaged samples left out: {', '.join(skipped)}")
    plot_detail(detail, run.class_names, run.folder / f"{split}.png")
    write_text(file, json.dumps({**scores, "skipped": skipped, "inputs": inputs}, indent=2) + "\n")
    return scores


def _known(file: Path) -> dict[str, Any]:
    """Return the scores that were written before; none where there are none, or they are damaged."""
    try:
        return read_object(file)
    except OSError:
        return {}


def _inputs(run: Run, source: Split) -> dict[str, Any]:
    """Return what the scores follow from."""
    return {
        "samples": source_digest(source),
        "weights": digests(run.folder / BEST).sha256,
        "preprocess": run.recipe.preprocess.model_dump(mode="json"),
        "full_scale": run.recipe.data.full_scale,
        "on_error": run.recipe.data.on_error,
    }


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
