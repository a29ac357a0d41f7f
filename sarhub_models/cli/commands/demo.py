"""Show what the features are good for: ``sarhub demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import DownloadError, OptionError
from .. import console
from ..arguments import Checkpoint, Json, Model, Seed

__all__ = ["command"]


def command(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with packed DSN-SLC patches: s1.npz, opensarship.npz."),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulated chips: fetch no real ones.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the pictures.")] = Path("sarhub-demo"),
    model: Model = "mobilenetv3_dsn",
    checkpoint: Checkpoint = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show what the features are good for.

    Radar chips are classified from 1, 5 and 20 labels a class, with the features of a pre-trained network and with
    those of the same network untrained. Prints a table and draws two pictures; takes a minute or two on two cores.

    Without --data the chips are the DSN-SLC patches (public, MIT license), which are fetched once into the cache;
    where they cannot be fetched, simulated ones.

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
    result = demo.run_demo(out, data=data, model=model, checkpoint=checkpoint, seed=seed)
    rows = demo.summary(result)
    if as_json:
        console.print_json({"data": result.tasks, "accuracy": rows, "files": result.files})
        return
    for title, origin in result.tasks.items():
        print(f"{title}: {origin}")
    print(f"\nBalanced accuracy of a linear classifier on features of {result.model}, mean and sd of the draws:\n")
    console.print_table(
        ("task", "network", "labels per class", "accuracy"),
        [
            (row["task"], row["network"], str(row["labels_per_class"]), f"{row['accuracy']:.3f} +- {row['sd']:.3f}")
            for row in rows
        ],
    )
    print("\nPictures:", *result.files)
