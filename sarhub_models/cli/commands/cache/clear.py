"""Delete all weights from the cache: ``sarhub cache clear``."""

from __future__ import annotations

from typing import Annotated

import typer

from ....zoo import text


def command(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    forget_pins: Annotated[
        bool, typer.Option("--forget-pins", help="Forget the hashes of first downloads, too: accept new releases.")
    ] = False,
) -> None:
    """Delete all weights from the cache.

    This includes interrupted downloads and the files in quarantine. Kept are the hashes of first downloads (unless
    --forget-pins), the chips of 'sarhub demo' in data/, and files that others put there.
    """
    from ....weights import Store

    store = Store()
    files = store.clearable(forget_pins=forget_pins)
    total = text.size(sum(file.stat().st_size for file in files))
    if files and not yes:
        typer.confirm(f"delete {len(files)} files, {total}, from {store.root}?", abort=True)
    store.clear(forget_pins=forget_pins)
    print(f"removed {len(files)} files, {total}")
