"""Fine-tune weights on one's own chips: ``sarhub finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...errors import MissingDependencyError, OptionError
from .. import console
from ..arguments import Bands, FullScale, Json, Nodata, Radiometry, Seed, complete_name, split_bands

if TYPE_CHECKING:
    from ...engine import Trained


def command(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder with a folder of chips for each class, or with 'images' and 'masks'."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Values over the recipe, such as augment.geometry=none."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE|RUN|none",
            help="Weights to start from; none or imagenet with --network.",
            autocompletion=complete_name,
        ),
    ] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run.")] = ...,  # type: ignore[assignment]
    network: Annotated[str | None, typer.Option(help="Architecture, for --model none.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV or Parquet: name,label[,split]; several labels with ';' between."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="Masks called like the images in DATA, or a CSV or Parquet file: image,mask[,split].",
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER", help="COCO file of boxes in the images in DATA, or folder with train.json, …"
        ),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For masks unet (default), fpn or deeplabv3plus, for boxes fcos (default) or retinanet.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="N=NAME,...", help="Classes of the numbers in masks. Default: those that occur."),
    ] = None,
    ignore: Annotated[int | None, typer.Option(help="Number in masks of pixels without a class.")] = None,
    group_by: Annotated[
        str | None,
        typer.Option(metavar="parent|COLUMN", help="Keep chips of a folder, or with one value, in one split."),
    ] = None,
    bands: Bands = None,
    band: Annotated[
        list[int] | None, typer.Option(min=1, help="Band to read, counted from 1; may be repeated.")
    ] = None,
    radiometry: Radiometry = None,
    full_scale: FullScale = None,
    nodata: Nodata = "refuse",
    freeze: Annotated[bool, typer.Option("--freeze", help="Train the head alone.")] = False,
    lora: Annotated[
        int | None, typer.Option(min=1, metavar="RANK", help="Train low-rank adapters of a transformer.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Side of the input. Default: of the weights.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps. Default: by the number of chips.")] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak of the learning rate. Default: by the number of chips.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Chips of a step. Default: by the number of chips.")
    ] = None,
    val: Annotated[float, typer.Option(help="Share of the chips that the best epoch is chosen on.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the chips that is only scored; 0: none.")] = 0.15,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read chips; 0: read in this one.")] = 0,
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="Stop at a chip that cannot be used or has no label, or skip it.")
    ] = "stop",
    as_json: Json = False,
) -> None:
    """Fine-tune weights on one's own chips.

    Labels in, one weights file that describes itself and a report out. The learning rate and the number of steps follow
    from the number of chips. Start a stopped run again with the same options and it resumes.

    With masks the answer is a class for each pixel: DATA holds 'images' and 'masks', or --masks says where these are.
    With --boxes it finds objects.

    \b
    Examples:
      sarhub finetune chips/ --model resnet50_ssl4eo.moco --out ships
      sarhub finetune chips/ --model mobilenetv3_dsn --out ships --freeze
      sarhub finetune tiles/ --model resnet50_ssl4eo.moco --labels labels.csv --radiometry db --out land
      sarhub finetune chips/ --model mobilenetv3_dsn --out ships --group-by parent augment.geometry=dihedral
      sarhub finetune scenes/ --masks masks/ --model resnet50_ssl4eo.moco --classes 0=land,1=water --out water
      sarhub finetune images/ --boxes annotations.json --model resnet50_ssl4eo.moco --out vehicles
    """
    try:
        from ...engine import finetune, finetune_boxes, finetune_masks
    except ImportError as err:
        raise MissingDependencyError("fine-tuning needs more packages: pip install 'sarhub-models[train]'") from err

    options: dict[str, Any] = {
        "model": model,
        "out": out,
        "network": network,
        "group_by": group_by,
        "bands": split_bands(bands),
        "band": band or None,
        "radiometry": radiometry,
        "full_scale": full_scale,
        "freeze": freeze,
        "size": size,
        "steps": steps,
        "lr": lr,
        "batch_size": batch_size,
        "val": val,
        "test": test,
        "seed": seed,
        "workers": workers,
        "on_error": on_error,
        "assignments": assignments or (),
        "say": console.note if as_json else print,
    }
    of_images = {"labels": labels, "lora": lora, "nodata": None if nodata == "refuse" else nodata}
    of_masks = {"decoder": decoder, "classes": classes, "ignore": ignore}
    if boxes is not None:
        _refuse({**of_images, "masks": masks, "classes": classes, "ignore": ignore}, "boxes")
        _print_trained(finetune_boxes(data, boxes=boxes, decoder=decoder or "fcos", **options), as_json)
        return
    if masks is not None or all((data / folder).is_dir() for folder in ("images", "masks")):
        _refuse(of_images, "masks")
        options |= {"decoder": decoder or "unet", "classes": split_bands(classes), "ignore": ignore, "masks": masks}
        _print_trained(finetune_masks(data, **options), as_json)
        return
    _refuse(of_masks, "whole images")
    done = finetune(data, labels=labels, lora=lora, nodata=nodata, **options)
    if as_json:
        console.print_json(
            {
                "weights": done.weights,
                "val": done.val,
                "test": done.test,
                "temperature": done.temperature,
                "calibration_error": done.calibration_error,
                "skipped": done.skipped,
            }
        )
        return
    print()
    for name, scores in (("validation", done.val), ("test", done.test)):
        if scores:
            print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in scores.items()))
    before, after = done.calibration_error
    print(f"temperature {done.temperature:.3f}: calibration error {before:.3f} before, {after:.3f} after")
    print(f"{done.weights}; next: sarhub predict {out} IMAGES --out predictions.csv")


def _refuse(options: dict[str, Any], what: str) -> None:
    """Refuse options that have no meaning for the data."""
    for name, value in options.items():
        if value is not None:
            raise OptionError(f"--{name} has no meaning for {what}: leave it out")


def _print_trained(done: Trained, as_json: bool) -> None:
    """Print the result of a fine-tuning for masks or boxes."""
    scores = {"val": done.val, "test": done.test, "classes": done.classes}
    if as_json:
        console.print_json({"weights": done.weights, **scores, "skipped": done.skipped})
        return
    print()
    for name, found in (("validation", done.val), ("test", done.test), ("classes", done.classes)):
        if found:
            print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in found.items()))
    print(f"{done.weights}; next: sarhub predict {done.folder} IMAGES --out PREDICTIONS")
