"""Compute the features of a folder of images: ``sarhub features``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...errors import ImageError, OptionError
from ...zoo.entries import ModelInfo
from ...zoo.manifest import DEFAULT
from .. import console
from ..arguments import (
    Bands,
    BatchSize,
    Checkpoint,
    Device,
    FullScale,
    Json,
    Model,
    Nodata,
    Preprocessing,
    Radiometry,
    Workers,
    split_bands,
)
from ..local import usable_device

if TYPE_CHECKING:
    from torch import nn

    from ...transforms import Pipeline


def command(
    images: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="Folder of images, read with its subfolders, or one image.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write, .safetensors or .parquet.")],
    model: Model = DEFAULT,
    checkpoint: Checkpoint = None,
    preprocessing: Preprocessing = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Random weights, the same every time, to compare with.")
    ] = False,
    full_scale: FullScale = None,
    radiometry: Radiometry = None,
    band: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Band to read, counted from 1; several times for weights of several bands, in order."),
    ] = None,
    bands: Bands = None,
    nodata: Nodata = None,
    batch_size: BatchSize = 64,
    workers: Workers = 0,
    device: Device = "auto",
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="Stop at a bad image, or skip it.")] = "stop",
    as_json: Json = False,
) -> None:
    """Compute the features of images.

    One row per image, named by its path in the folder. Start an interrupted run again and it resumes. Reads .npy, .npz,
    GeoTIFF, PNG and JPEG.

    \b
    Examples:
      sarhub features chips/ --out features.safetensors --full-scale 65535
      sarhub features tiles/ --model resnet50_ben --out features.parquet --band 1 --on-error skip
      sarhub features tiles/ --model resnet50_ssl4eo.moco --out features.safetensors --radiometry intensity
      sarhub features chips/ --model outputs/my_run --out features.safetensors
      sarhub features chips/ --model mine.pth --preprocessing resnet50_ben --out features.safetensors
    """
    from ...features.extract import extract_features
    from ...io.images import named_images, one_per_image
    from ...models.choice import image_reading
    from ...models.create import open_model

    if untrained and checkpoint is not None:
        raise OptionError("give --checkpoint or --untrained, not both")
    found = {file: name for name, file in named_images(images).items()}
    network, transform, info = (
        _untrained(model, preprocessing, radiometry, full_scale)
        if untrained
        else open_model(
            model, checkpoint_path=checkpoint, preprocessing=preprocessing, radiometry=radiometry, full_scale=full_scale
        )
    )
    reading = image_reading(
        info, radiometry=radiometry, full_scale=full_scale, bands=split_bands(bands), band=band or None, nodata=nodata
    )
    files = one_per_image(list(found), transform.bands) if bands is None and not band else list(found)
    hint = _full_scale_hint(info) if reading.full_scale is None else None
    try:
        features = extract_features(
            network,
            transform,
            files,
            out=out,
            names=[found[file] for file in files],
            full_scale=reading.full_scale if transform.takes_amplitude else None,
            band=reading.position,
            bands=reading.bands,
            nodata=reading.nodata,
            batch_size=batch_size,
            workers=workers,
            device=usable_device(device),
            on_error=on_error,
            progress=not as_json,
        )
    except ImageError as err:
        scale = hint if _of_scale(str(err)) else None
        advice = "; ".join(filter(None, ["--on-error skip leaves bad images out", scale]))
        raise ImageError(f"{err}. On the command line, {advice}") from err
    rows, columns = features.values.shape
    if as_json:
        console.print_json({"file": out, "images": rows, "features": columns, "skipped": features.skipped})
        return
    for name, reason in features.skipped.items():
        console.note(f"skipped {name}: {reason}")
    if hint is not None and any(map(_of_scale, features.skipped.values())):
        console.note(hint)
    print(f"{out}: {rows} images, {columns} features each")


def _untrained(
    model: str, preprocessing: str | None, radiometry: str | None, full_scale: float | None
) -> tuple[nn.Module, Pipeline, ModelInfo]:
    """Return a network with random weights that are the same every time, its preprocessing and its entry."""
    import torch

    from ...models.choice import choose, image_values
    from ...models.create import build_model, create_transform

    choice = choose(model, preprocessing=preprocessing)
    torch.manual_seed(0)
    prepared = preprocessing or model
    radiometry, full_scale = image_values(choice.info, radiometry=radiometry, full_scale=full_scale)
    transform = create_transform(prepared, radiometry=radiometry, full_scale=full_scale)
    return build_model(choice, None, num_classes=0), transform, choice.info


def _of_scale(reason: str) -> bool:
    """Tell whether an image is refused for want of its scale."""
    return "full_scale" in reason


def _full_scale_hint(info: ModelInfo) -> str:
    """Return how to state the scale of the images, and the one that the weights were trained with."""
    hint = "--full-scale NUMBER states the value of amplitude 1"
    if info.preprocessing.full_scale is None:
        return hint
    known = f"{info.preprocessing.full_scale:.10g}"
    return f"{hint}; these weights were trained with amplitude / {known}: try --full-scale {known}"
