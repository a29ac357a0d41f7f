"""Put a model on the Hugging Face Hub: ``sarhub publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import OptionError
from ..arguments import Checkpoint, Preprocessing, Weights


def command(
    name: Weights,
    repo: Annotated[str, typer.Option(metavar="ORGANIZATION/NAME", help="The repository on the Hugging Face Hub.")],
    checkpoint: Checkpoint = None,
    preprocessing: Preprocessing = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the files to --out and upload nothing.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for --dry-run.")] = None,
    permitted: Annotated[
        bool,
        typer.Option("--i-have-permission", help="You may publish these weights although they have no license."),
    ] = False,
) -> None:
    """Put a model on the Hugging Face Hub.

    Weights, configuration and a model card, in timm's format. Load it, preprocessing included, with
    create_model("hf-hub:ORGANIZATION/NAME"). Log in first with 'hf auth login' or set HF_TOKEN.

    \b
    Examples:
      sarhub publish mobilenetv3_dsn --repo me/mobilenetv3_dsn --dry-run --out card/
      sarhub publish mobilenetv3_dsn --repo me/mobilenetv3_dsn --private
    """
    if dry_run != (out is not None):
        raise OptionError("--dry-run and --out belong together: give both or neither")
    from ...models import publish

    options: dict[str, Any] = {
        "checkpoint_path": checkpoint,
        "preprocessing": preprocessing,
        "permitted": permitted,
    }
    if out is not None:
        for file in publish.write_repository(name, out, repo, **options):
            print(file)
    else:
        print(publish.publish(name, repo, private=private, **options))
