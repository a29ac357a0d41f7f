"""List or clear the weights in the cache: ``sarhub cache``."""

from __future__ import annotations

import typer

group = typer.Typer(rich_markup_mode=None)


@group.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """List or clear the weights in the cache.

    \b
    Examples:
      sarhub cache                       list what is in it
      sarhub cache path                  print its folder
      sarhub cache remove resnet50_ben
      sarhub cache clear --yes
    """
    if context.invoked_subcommand is None:
        from .list import command

        command()
