"""Cache a file of weights: ``sarhub import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..arguments import Json

__all__ = ["command"]


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A released .pth file, or a .safetensors of this package.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="The model that it holds; without it, file name and contents decide."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Cache a file of weights that you have.

    It is checked and converted; it stays as it is. For weights that no program may fetch: download them in a browser
    ('sarhub info NAME' shows where), then import.

    \b
    Examples:
      sarhub import ResNet50_BEN.pth
      sarhub import weights.pth --name resnet50_ben
    """
    from ...models.importing import import_checkpoint

    imported = import_checkpoint(file, name)
    if as_json:
        console.print_json({"name": imported.info.name, "path": imported.path, "reasons": imported.reasons})
    else:
        print(f"{file} is {imported.info.name}: {'; '.join(imported.reasons)}")
        print(f"converted to {imported.path}")
