"""The command line ``sarhub``: what can be asked, and which function answers.

Torch, timm and NumPy are imported inside the commands that need them: ``sarhub list`` and ``--help`` need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from .._version import __version__
from . import cache, console, data, explain, models, work

__all__ = ["app", "main"]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``sarhub`` with these arguments (by default the process's) and return its exit code."""
    return console.run(app, arguments)


@app.callback(invoke_without_command=True)
def sarhub(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Pre-trained networks for radar (SAR) images, with the preprocessing they were trained with.

    \b
    First steps:
      sarhub demo                                  see what the features are good for
      sarhub list                                  which networks there are
      sarhub info resnet50_ben                     what one of them is and needs
      sarhub features CHIPS/ --model mobilenetv3_dsn --out features.safetensors

    \b
    The environment:
      SARHUB_CACHE    folder of the weights        SARHUB_MIRROR   folder or URL to try first
      SARHUB_OFFLINE  1: never use the network     SARHUB_DEBUG    1: show where an error came from
    """
    if version:
        print(f"sarhub-models {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


for _name, _command in {**models.COMMANDS, **work.COMMANDS, **data.COMMANDS}.items():
    app.command(_name)(_command)
app.add_typer(cache.app, name="cache")
app.add_typer(explain.app, name="explain")
