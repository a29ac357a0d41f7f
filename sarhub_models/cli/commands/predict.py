"""Predict the classes of images: ``sarhub predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...errors import OptionError
from .. import console
from ..arguments import Bands, Device, FullScale, Json, Radiometry, Workers, split_bands
from ..local import usable_device
from ..scenes import (
    Address,
    Band,
    Denoise,
    Engine,
    MaxNodata,
    Overlap,
    Quicklook,
    Resolution,
    Size,
    Stride,
    Swath,
    print_map,
    reading,
    windows,
)

_OF_SCENES = (
    "size",
    "stride",
    "overlap",
    "resolution",
    "max_nodata",
    "swath",
    "denoise",
    "engine",
    "address",
    "quicklook",
)
_OF_IMAGES = ("features", "nodata", "workers", "on_error")


def command(
    context: typer.Context,
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="Folder of a run of 'sarhub finetune', a file of weights, an exported .onnx or .pt2 file, or a name.",
        ),
    ],
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES|SCENE", help="Folder of images, one image, or with --out .tif a scene.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Table, .csv or .parquet; of masks a folder; of boxes .json or .geojson; of a scene its map, .tif.",
        ),
    ],
    features: Annotated[bool, typer.Option("--features", help="Write the features, too (.parquet).")] = False,
    radiometry: Radiometry = None,
    full_scale: FullScale = None,
    bands: Bands = None,
    nodata: Annotated[
        Literal["refuse", "fill", "skip"] | None,
        typer.Option(help="Pixels without data. Default: as in the fine-tuning."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images in one batch (64), or windows of one (8).")
    ] = None,
    workers: Workers = 0,
    device: Device = "auto",
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="Stop at a bad image, or skip it.")] = "stop",
    size: Size = None,
    stride: Stride = None,
    overlap: Overlap = None,
    resolution: Resolution = None,
    max_nodata: MaxNodata = 0.5,
    band: Band = None,
    swath: Swath = None,
    denoise: Denoise = False,
    engine: Engine = "local",
    address: Address = None,
    quicklook: Quicklook = True,
    as_json: Json = False,
) -> None:
    """Predict the classes of images, of their pixels, or the map of classes of a scene.

    One row an image: its name, its class, and the probability of every class. What the images hold (radiometry, scale,
    bands) is by default what those held that the weights were fine-tuned on. Start an interrupted run again and it
    resumes. Weights for masks write a GeoTIFF an image, with its georeference, and a table into a folder;
    those for boxes write COCO or GeoJSON.

    With --out FILE.tif a scene becomes a map, window by window: a Cloud-Optimized GeoTIFF with a palette, beside it the
    probabilities and a picture. --size to --quicklook are for scenes.

    \b
    Examples:
      sarhub predict ships new_chips/ --out predictions.parquet
      sarhub predict ships.onnx new_chips/ --out predictions.csv --on-error skip
      sarhub predict water scenes/ --out masks
      sarhub predict vehicles scenes/ --out boxes.geojson
      sarhub predict mobilenetv3_dsn chips/ --out predictions.csv --full-scale 65535
      sarhub predict ships S1A_IW_GRDH_….SAFE --out map.tif
    """
    mapped = out.suffix.lower() in (".tif", ".tiff")
    _refuse(context, _OF_IMAGES if mapped else _OF_SCENES, "images" if mapped else "scenes, with --out FILE.tif")
    if mapped:
        from ...scenes.classify import map_classes

        cut = windows(size, stride, overlap, resolution, max_nodata, batch_size or 32)
        found_map = map_classes(
            images,
            weights=weights,
            out=out,
            windows=cut,
            reading=reading(bands, band, radiometry, full_scale, swath, denoise),
            device=usable_device(device),
            engine=engine,
            address=address,
            quicklook=quicklook,
            progress=not as_json,
        )
        print_map(found_map, as_json)
        return
    from ...features.predict import Predictor
    from ...io.images import list_images, one_per_image

    predictor = Predictor(
        weights,
        radiometry=radiometry,
        full_scale=full_scale,
        bands=split_bands(bands),
        band=_position(band),
        nodata=nodata,
        device=usable_device(device),
    )
    files = [images] if images.is_file() else list_images(images)
    if bands is None and band is None:
        files = one_per_image(files, predictor.transform.bands)
    names = [file.name if file == images else file.relative_to(images).as_posix() for file in files]
    options: dict[str, Any] = {"out": out, "names": names, "on_error": on_error, "progress": not as_json}
    if predictor.info.task != "recognition":
        if features or nodata is not None or workers:
            raise OptionError("--features, --nodata and --workers are for classes of whole images: leave them out")
        _print_windowed(predictor.predict_files(files, batch_size=batch_size or 8, **options), out, as_json)
        return
    found = predictor.predict_files(files, features=features, batch_size=batch_size or 64, workers=workers, **options)
    counts = {name: found.labels.count(name) for name in dict.fromkeys(found.labels)}
    if as_json:
        console.print_json({"file": out, "images": len(found.names), "classes": counts, "skipped": found.skipped})
        return
    for name, reason in found.skipped.items():
        console.note(f"skipped {name}: {reason}")
    shown = ", ".join(f"{count} {name or 'without a class'}" for name, count in sorted(counts.items())[:20])
    print(f"{out}: {len(found.names)} images: {shown}")


def _refuse(context: typer.Context, names: Sequence[str], of: str) -> None:
    """Refuse options that would have no effect.

    Raises:
        OptionError: some were given.
    """
    # by the name of the source: releases of typer differ in whose enum it is
    given = [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise OptionError(f"{options} {'is' if len(given) == 1 else 'are'} for {of}: leave it out")


def _position(band: str | None) -> int | None:
    """Return the position of the band to read of images.

    Raises:
        OptionError: it is a name.
    """
    if band is not None and not band.isdecimal():
        raise OptionError(f"expected the position of the band, counted from 1, got {band!r}; --bands names all of them")
    return None if band is None else int(band)


def _print_windowed(found: Any, out: Path, as_json: bool) -> None:
    """Print the result of a prediction of masks or boxes."""
    summary = found.summary()
    if as_json:
        console.print_json({"file": out, "images": len(found.names), "classes": summary, "skipped": found.skipped})
        return
    for name, reason in found.skipped.items():
        console.note(f"skipped {name}: {reason}")
    print(f"{out}: {len(found.names)} images: {', '.join(f'{name} {value:.6g}' for name, value in summary.items())}")
