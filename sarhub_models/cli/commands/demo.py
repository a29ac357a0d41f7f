"""Show what the features are good for: ``sarhub demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import DownloadError, OptionError
from ...zoo.manifest import DEFAULT
from .. import console
from ..arguments import Json, Model, Seed


def command(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with packed DSN-SLC patches: s1.npz, opensarship.npz."),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulated chips: fetch no real ones.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures and numbers.")] = Path("sarhub-demo"),
    model: Model = DEFAULT,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show what the features are good for.

    A pre-trained network and the same network untrained compute features of radar chips, as in 'sarhub compare':
    accuracy of kNN and of a linear probe, pictures of the features and of the chips. Takes about two minutes.

    Without --data the chips are the DSN-SLC patches (public, MIT license), which are downloaded once into the
    cache; if that fails, simulated chips.

    \b
    Examples:
      sarhub demo
      sarhub demo --simulate --out pictures/
      sarhub demo --data dsn/ --model resnet50_tsx
    """
    if simulate and data is not None:
        raise OptionError("give --data or --simulate, not both")
    from ...features import demo

    if data is None and not simulate:
        try:
            data = demo.fetch_data()
        except DownloadError as err:
            console.note(f"no real chips, so these are simulated: {err}")
    results = demo.run_demo(out, data=data, model=model, seed=seed, progress=not as_json)
    if as_json:
        console.print_json({name: {**result.to_dict(), "files": result.files} for name, result in results.items()})
        return
    for name, result in results.items():
        print(f"{name}: {result.images} chips, {len(result.classes)} classes, {result.protocol}\n")
        console.print_table(*result.table())
        print("\nWritten:", *result.files, "\n")
