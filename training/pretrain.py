"""Pre-train a recipe: ``python -m training.pretrain mobilenetv3_dsn data.root=DIR``.

One process, or any number under torchrun:
``torchrun --nproc-per-node 8 -m training.pretrain resnet50_ben data.root=DIR``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState
from rich import print as show

from sarhub_models.engine.preview import preview
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import SarHubError
from training.recipes import load_recipe

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(help="<network>_<data>, such as resnet50_ben.")],
    assignments: Annotated[list[str] | None, typer.Argument(help="section.key=value, over the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run [outputs/<recipe>].")] = None,
    init: Annotated[str | None, typer.Option(help="none, imagenet, a file or a name: short for model.init.")] = None,
    finetune: Annotated[bool, typer.Option("--finetune", help="Train as SAR-HUB does on a target task.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print recipe, network and expected time only.")] = False,
) -> None:
    """Train a recipe, or resume: a run in the same folder is continued exactly.

    SIGTERM and Ctrl-C save and end with exit status 75; the same command resumes.
    """
    chosen = [*(assignments or []), *([] if init is None else [f"model.init={init}"])]
    folder = out or Path("outputs") / recipe
    try:
        resolved = load_recipe(recipe, chosen, finetune=finetune)
        if dry_run:
            preview(resolved)
            return
        finished = train(resolved, folder)
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None
    except OSError as err:  # a full disk, say
        typer.echo(f"error: {err}; to resume once that is fixed, give the same command again", err=True)
        raise typer.Exit(1) from None
    if not finished:
        typer.echo(f"stopped; to resume, give the same command again ({folder})", err=True)
        raise typer.Exit(INTERRUPTED)
    if PartialState().is_main_process:
        show(f"{folder}: validation {load_run(folder).val}")


if __name__ == "__main__":
    app()
