"""Check the weights on this disk: ``sarhub verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import OptionError
from ...zoo.manifest import own_file
from .. import console
from ..arguments import Json, SomeWeights
from ..local import on_disk

if TYPE_CHECKING:
    from ...weights import Verification


def command(
    names: SomeWeights = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Compare with the outputs that were published for NAME.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the hashes of the weights on this disk.

    The exit code is 1 if a file was changed, or comes from another release than the published one. A damaged file is
    moved to quarantine, and downloaded again when it is next needed.

    With --answers, weights, images and outputs are downloaded instead, and the exit code is 1 where an output differs
    by more than the tolerance in the list of weights.

    \b
    Examples:
      sarhub verify
      sarhub verify resnet50_ben --json
      sarhub verify outputs/my_run
      sarhub verify --answers resnet50_s1wv.wvnet
    """
    if answers:
        _compare(names or [], as_json)
        return
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


_WHO = {"authors": "the authors", "peer": "another project"}


def _compare(names: list[str], as_json: bool) -> None:
    from ...models.answers import check_answers, with_answers

    if not names:
        raise OptionError(f"--answers needs NAME, one of {', '.join(with_answers()) or 'none'}")
    found = [check_answers(name) for name in names]
    if as_json:
        console.print_json([{**vars(result), "ok": result.ok} for result in found])
    else:
        for result in found:
            print(
                f"{result.name}  {'ok' if result.ok else 'NOT OK'}  outputs published by {_WHO[result.published_by]}, "
                f"images: {result.images}, largest difference: {result.difference:.2g}, "
                f"{result.share:.0%} of the tolerance"
            )
    if not all(result.ok for result in found):
        console.note("some outputs are not the published ones")
        raise typer.Exit(console.FAILED)
