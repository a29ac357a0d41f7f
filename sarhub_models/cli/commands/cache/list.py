"""List the weights in the cache: ``sarhub cache list``."""

from __future__ import annotations

from ....zoo import text
from ... import console
from ...arguments import Json


def command(as_json: Json = False) -> None:
    """List the weights in the cache."""
    from ....weights import Store

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
