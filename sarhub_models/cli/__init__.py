"""The command line ``sarhub``: every module of ``commands`` is a command, every package there a group of commands.

Torch, timm and NumPy are imported inside the commands that need them: ``sarhub list`` and ``--help`` need none.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated

import typer

from .._version import __version__
from . import commands, console

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
      sarhub demo                  see what the features are good for
      sarhub list                  list the models
      sarhub info resnet50_ben     show one of them
      sarhub features CHIPS/ --model mobilenetv3_dsn --out features.safetensors

    \b
    Environment variables:
      SARHUB_CACHE    folder of the weights        SARHUB_MIRROR   folder or URL to try first
      SARHUB_OFFLINE  1: never use the network     SARHUB_DEBUG    1: show tracebacks
    """
    if version:
        print(f"sarhub-models {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def _add_commands(group: typer.Typer, package: ModuleType) -> None:
    """Add to ``group`` the ``command`` of each module of ``package``, and the ``group`` of each package in it."""
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        name = found.name.rstrip("_").replace("_", "-")  # import_.py: Python keeps the word for itself
        if found.ispkg:
            _add_commands(module.group, module)
            group.add_typer(module.group, name=name)
        else:
            group.command(name)(module.command)


_add_commands(app, commands)
