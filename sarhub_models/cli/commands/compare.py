"""Compare networks on the same chips: ``sarhub compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import OptionError
from .. import console
from ..arguments import (
    Bands,
    BatchSize,
    Device,
    FullScale,
    Json,
    Nodata,
    Radiometry,
    Seed,
    SomeWeights,
    Workers,
    split_bands,
)
from ..local import usable_device


def command(
    models: SomeWeights = None,
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of images, or packed DSN-SLC patches (folder or one file).")
    ] = ...,  # type: ignore[assignment]
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV: image (or name), label and, if wanted, split with train or test."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures and numbers.")] = Path("sarhub-compare"),
    bands: Bands = None,
    radiometry: Radiometry = None,
    full_scale: FullScale = None,
    nodata: Nodata = None,
    shots: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Also accuracies with so many labels of each class: 1,5,10,20.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="How often these labels are drawn.")] = 10,
    batch_size: BatchSize = 64,
    workers: Workers = 0,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare backbones on the same chips.

    Every network computes features of the chips, and so does its untrained twin, the control. With labels: accuracy of
    kNN and of a linear probe, and with a few labels of each class (--shots). Always: similarity of the features (CKA)
    and a map of the chips. Prints a table; writes pictures, numbers and a leaderboard. Features are kept: a run with
    more models computes those that are missing. Without names, all registered weights that are on this disk.

    \b
    Examples:
      sarhub compare mobilenetv3_dsn resnet50_ben --images chips/ --labels labels.csv --radiometry dn --full-scale 65535
      sarhub compare --images dsn/s1.npz --shots 1,5,10,20
      sarhub compare mobilenetv3_dsn outputs/my_run --images chips/ --labels labels.csv
      sarhub compare resnet50_ssl4eo.moco resnet50_ben --images tiles/ --bands VV,VH --radiometry db
    """
    from ...datasets.labeled import open_images
    from ...features.compare import compare, weights_here

    with open_images(images, labels=labels) as chips:
        result = compare(
            chips,
            models or weights_here(),
            out,
            bands=split_bands(bands),
            radiometry=radiometry,
            full_scale=full_scale,
            nodata=nodata,
            shots=_numbers(shots),
            draws=draws,
            batch_size=batch_size,
            workers=workers,
            device=usable_device(device),
            seed=seed,
            progress=not as_json,
        )
    if as_json:
        console.print_json({**result.to_dict(), "files": result.files})
        return
    for name, reason in result.skipped.items():
        console.note(f"skipped {name}: {reason}")
    print(f"{result.images} chips, {len(result.classes)} classes, {result.protocol}\n")
    console.print_table(*result.table())
    print("\nWritten:", *result.files)


def _numbers(text: str | None) -> tuple[int, ...]:
    """Return the numbers in ``"1,5,10"``."""
    parts = [] if text is None else text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise OptionError(f"expected numbers of labels such as --shots 1,5,10,20, got {text!r}")
    return tuple(map(int, parts))
