"""Predict the classes of images: ``sarhub predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .. import console
from ..arguments import Bands, BatchSize, Device, FullScale, Json, Radiometry, Workers, split_bands
from ..local import usable_device


def command(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="Folder of a run of 'sarhub finetune', a file of weights, an exported .onnx or .pt2 file, or a name.",
        ),
    ],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images, or one image.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Table to write, .csv or .parquet.")],
    features: Annotated[bool, typer.Option("--features", help="Write the features, too (.parquet).")] = False,
    radiometry: Radiometry = None,
    full_scale: FullScale = None,
    bands: Bands = None,
    nodata: Annotated[
        Literal["refuse", "fill", "skip"] | None,
        typer.Option(help="Pixels without data. Default: as in the fine-tuning."),
    ] = None,
    batch_size: BatchSize = 64,
    workers: Workers = 0,
    device: Device = "auto",
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="Stop at a bad image, or skip it.")] = "stop",
    as_json: Json = False,
) -> None:
    """Predict the classes of images.

    One row an image: its name, its class, and the probability of every class. What the images hold (radiometry, scale,
    bands) is by default what those held that the weights were fine-tuned on. Start an interrupted run again and it
    resumes.

    \b
    Examples:
      sarhub predict ships new_chips/ --out predictions.parquet
      sarhub predict ships.onnx new_chips/ --out predictions.csv --on-error skip
      sarhub predict mobilenetv3_dsn chips/ --out predictions.csv --full-scale 65535
    """
    from ...features.predict import Predictor
    from ...io.images import list_images, one_per_image

    predictor = Predictor(
        weights,
        radiometry=radiometry,
        full_scale=full_scale,
        bands=split_bands(bands),
        nodata=nodata,
        device=usable_device(device),
    )
    files = [images] if images.is_file() else list_images(images)
    if bands is None:
        files = one_per_image(files, predictor.transform.bands)
    names = [file.name if file == images else file.relative_to(images).as_posix() for file in files]
    found = predictor.predict_files(
        files,
        out=out,
        names=names,
        features=features,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        progress=not as_json,
    )
    counts = {name: found.labels.count(name) for name in dict.fromkeys(found.labels)}
    if as_json:
        console.print_json({"file": out, "images": len(found.names), "classes": counts, "skipped": found.skipped})
        return
    for name, reason in found.skipped.items():
        console.note(f"skipped {name}: {reason}")
    shown = ", ".join(f"{count} {name or 'without a class'}" for name, count in sorted(counts.items())[:20])
    print(f"{out}: {len(found.names)} images: {shown}")
