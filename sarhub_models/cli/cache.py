"""``sarhub cache …``: what is on this disk."""

from __future__ import annotations

from typing import Annotated

import typer

from ..zoo import text
from . import console
from .arguments import Json, Name, on_disk

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """Look into the cache, or empty it.

    \b
    Examples:
      sarhub cache                       what is in it
      sarhub cache path                  where it is
      sarhub cache remove resnet50_ben
      sarhub cache clear --yes
    """
    if context.invoked_subcommand is None:
        cache_list()


@app.command("list")
def cache_list(as_json: Json = False) -> None:
    """List the weights in the cache."""
    from ..weights import Store

    entries = Store().entries()
    if as_json:
        console.print_json([vars(entry) for entry in entries])
    elif entries:
        console.print_table(
            ("name", "size", "date", "source"),
            [(entry.name, text.size(entry.size), entry.date, entry.source) for entry in entries],
        )
    else:
        print("the cache is empty")


@app.command("path")
def cache_path() -> None:
    """Print the folder of the cache."""
    from ..weights import Store

    print(Store().root)


@app.command("remove")
def cache_remove(
    name: Name,
    forget_pin: Annotated[
        bool, typer.Option("--forget-pin", help="Forget the hash of the first download, too: accept a new release.")
    ] = False,
) -> None:
    """Delete the weights of one model from the cache."""
    from ..weights import Store

    with on_disk(name):
        Store().remove(name, forget_pin=forget_pin)
    print(f"removed {name}")


@app.command("clear")
def cache_clear(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    forget_pins: Annotated[
        bool, typer.Option("--forget-pins", help="Forget the hashes of first downloads, too: accept new releases.")
    ] = False,
) -> None:
    """Delete all weights from the cache.

    With them go what interrupted downloads left and the files in quarantine. Kept are the hashes of first downloads
    (unless --forget-pins), the chips of 'sarhub demo' in data/, and files of yours.
    """
    from ..weights import Store

    store = Store()
    files = store.clearable(forget_pins=forget_pins)
    total = text.size(sum(file.stat().st_size for file in files))
    if files and not yes:
        typer.confirm(f"delete {len(files)} files, {total}, from {store.root}?", abort=True)
    store.clear(forget_pins=forget_pins)
    print(f"removed {len(files)} files, {total}")
