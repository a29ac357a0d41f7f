"""Cache a file of weights: ``sarhub import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..arguments import Json


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A released .pth file, or a .safetensors of this package.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model in the file. Default: recognized by tensors and file name."),
    ] = None,
    tensors_only: Annotated[
        bool, typer.Option("--tensors-only", help="Read files with Python objects, too; they are left out, never run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check and convert a file of weights, and put it into the cache.

    The file itself stays as it is. For weights that only a browser can download: 'sarhub info NAME' shows where, then
    import the file.

    \b
    Examples:
      sarhub import ResNet50_BEN.pth
      sarhub import weights.pth --name resnet50_ben
      sarhub import last.ckpt --name resnet50_ben --tensors-only
    """
    from ...models.importing import import_checkpoint

    imported = import_checkpoint(file, name=name, tensors_only=tensors_only)
    if as_json:
        console.print_json({"name": imported.info.name, "path": imported.path, "reasons": imported.reasons})
    else:
        print(f"{file} is {imported.info.name}: {'; '.join(imported.reasons)}")
        print(f"converted to {imported.path}")
