"""Check the weights on this disk: ``sarhub verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ...zoo.manifest import own_file
from .. import console
from ..arguments import Json, SomeWeights
from ..local import on_disk

if TYPE_CHECKING:
    from ...weights import Verification


def command(names: SomeWeights = None, as_json: Json = False) -> None:
    """Check the hashes of the weights on this disk.

    The exit code is 1 if a file was changed, or comes from another release than the published one. A damaged file is
    moved to quarantine, and downloaded again when it is next needed.

    \b
    Examples:
      sarhub verify
      sarhub verify resnet50_ben --json
      sarhub verify outputs/my_run
    """
    from ...weights import Store, verify_file

    found: list[Verification] = []
    wanted: list[str | None] = [*names] if names else [None]
    for name in wanted:
        if name is not None and (file := own_file(name)) is not None:
            found.append(verify_file(file))
            continue
        with on_disk(name):
            found += Store().verify(name)
    if as_json:
        console.print_json([{"name": v.name, "path": v.path, "ok": v.ok, "problem": v.problem} for v in found])
    else:
        for result in found:
            print(f"{result.name}  {'ok' if result.ok else 'NOT OK'}  {result.problem or result.path}")
        if not found:
            print("no weights are on this disk")
    if not all(result.ok for result in found):
        console.note("some weights failed the check")
        raise typer.Exit(console.FAILED)
