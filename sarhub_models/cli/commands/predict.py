"""Predict the classes of images: ``sarhub predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...errors import OptionError
from .. import console
from ..arguments import Workers, split_bands
from ..local import usable_device
from ..scenes import SceneOptions, print_boxes, print_map, with_scene_options

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
    "to_grid",
    "min_score",
)
_OF_IMAGES = ("features", "nodata", "workers", "on_error")


@with_scene_options
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
        str, typer.Argument(metavar="IMAGES|SCENE", help="Folder of images, one image, or with --out .tif a scene.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Table, .csv or .parquet; of masks a folder; of boxes .json or .geojson; of scenes a map, .tif, or "
            "boxes, .parquet or .geojson.",
        ),
    ],
    features: Annotated[bool, typer.Option("--features", help="Write the features, too (.parquet).")] = False,
    nodata: Annotated[
        Literal["refuse", "fill", "skip"] | None,
        typer.Option(help="Pixels without data. Default: as in the fine-tuning."),
    ] = None,
    workers: Workers = 0,
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="Stop at a bad image, or skip it.")] = "stop",
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Least score of a box in a scene; detectors give none below 0.05.")
    ] = 0.3,
    options: SceneOptions = SceneOptions(),
) -> None:
    """Predict the classes of images, of their pixels, or boxes; or the map of a scene, or the boxes in it.

    One row an image: its name, its class, and the probability of every class. What the images hold (radiometry, scale,
    bands) is by default what those held that the weights were fine-tuned on. Start an interrupted run again and it
    resumes. Weights for masks write a GeoTIFF an image, with its georeference, and a table into a folder;
    those for boxes write COCO or GeoJSON.

    With --out FILE.tif a scene becomes a map, window by window: a Cloud-Optimized GeoTIFF with a palette, beside it the
    probabilities and a picture. Weights for boxes write those of a scene, or with .parquet those of a folder of scenes,
    as GeoParquet (.parquet) or .geojson. --min-score, --size to --max-nodata and --swath to --to-grid are for scenes.

    \b
    Examples:
      sarhub predict ships new_chips/ --out predictions.parquet
      sarhub predict ships.onnx new_chips/ --out predictions.csv --on-error skip
      sarhub predict water scenes/ --out masks
      sarhub predict vehicles scenes/ --out boxes.geojson
      sarhub predict mobilenetv3_dsn chips/ --out predictions.csv --full-scale 65535
      sarhub predict ships S1A_IW_GRDH_….SAFE --out map.tif
      sarhub predict vehicles S1A_IW_GRDH_….SAFE --out boxes.parquet
    """
    whole = _whole(weights, images, out)
    scenes = "scenes, with --out FILE.tif, or of boxes .parquet or .geojson"
    _refuse(context, _OF_IMAGES if whole else _OF_SCENES, "images" if whole else scenes)
    if whole == "map":
        _refuse(context, ("min_score",), "boxes, .parquet or .geojson")
        from ...scenes.classify import map_classes

        print_map(map_classes(images, weights=weights, out=out, **options.settings()), as_json=options.as_json)
        return
    if whole == "boxes":
        from ...scenes.detect import detect_boxes

        boxes = detect_boxes(images, weights=weights, out=out, min_score=min_score, **options.settings())
        print_boxes(boxes, as_json=options.as_json)
        return
    predictor, files, names = _of_images(weights, Path(images), nodata, options)
    settings: dict[str, Any] = {"out": out, "names": names, "on_error": on_error, "progress": not options.as_json}
    if predictor.info.task != "recognition":
        if features or nodata is not None or workers:
            raise OptionError("--features, --nodata and --workers are for classes of whole images: leave them out")
        found_windowed = predictor.predict_files(files, batch_size=options.batch_size or 8, **settings)
        _print_windowed(found_windowed, out, options.as_json)
        return
    size = options.batch_size or 64
    found = predictor.predict_files(files, features=features, batch_size=size, workers=workers, **settings)
    counts = {name: found.labels.count(name) for name in dict.fromkeys(found.labels)}
    if options.as_json:
        console.print_json({"file": out, "images": len(found.names), "classes": counts, "skipped": found.skipped})
        return
    for name, reason in found.skipped.items():
        console.note(f"skipped {name}: {reason}")
    shown = ", ".join(f"{count} {name or 'without a class'}" for name, count in sorted(counts.items())[:20])
    print(f"{out}: {len(found.names)} images: {shown}")


def _whole(weights: str, images: str, out: Path) -> Literal["map", "boxes", ""]:
    """Return what becomes of whole scenes, or ``""`` where images are meant."""
    suffix = out.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return "map"
    if suffix not in (".parquet", ".geojson"):
        return ""
    from ...models.choice import find_info
    from ...scenes.products import is_scene

    boxes = find_info(weights).task == "detection" and (suffix == ".parquet" or is_scene(images))
    return "boxes" if boxes else ""


def _of_images(
    weights: str, images: Path, nodata: str | None, options: SceneOptions
) -> tuple[Any, list[Path], list[str]]:
    """Return the predictor of images, their files, and their names."""
    from ...features.predict import Predictor
    from ...io.images import list_images, one_per_image
    from ...scenes.products import is_safe

    if images.is_dir() and is_safe(images):
        raise OptionError(
            f"{images} is a Sentinel-1 product, which is read as a whole and calibrated: give --out FILE.tif for a "
            "map, .geojson or .parquet for boxes"
        )
    predictor = Predictor(
        weights,
        radiometry=options.radiometry,
        full_scale=options.full_scale,
        bands=split_bands(options.bands),
        band=_position(options.band),
        nodata=nodata,
        device=usable_device(options.device),
    )
    files = [images] if images.is_file() else list_images(images)
    if options.bands is None and options.band is None:
        files = one_per_image(files, predictor.transform.bands)
    names = [file.name if file == images else file.relative_to(images).as_posix() for file in files]
    return predictor, files, names


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
