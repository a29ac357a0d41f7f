"""Print the folder of the cache: ``sarhub cache path``."""

from __future__ import annotations


def command() -> None:
    """Print the folder of the cache."""
    from ....weights import Store

    print(Store().root)
