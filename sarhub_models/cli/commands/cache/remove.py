"""Delete the weights of one model from the cache: ``sarhub cache remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from ...arguments import Name
from ...local import on_disk


def command(
    name: Name,
    forget_pin: Annotated[
        bool, typer.Option("--forget-pin", help="Forget the hash of the first download, too: accept a new release.")
    ] = False,
) -> None:
    """Delete the weights of one model from the cache."""
    from ....weights import Store

    with on_disk(name):
        Store().remove(name, forget_pin=forget_pin)
    print(f"removed {name}")
