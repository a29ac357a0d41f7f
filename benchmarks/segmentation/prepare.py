"""A download becomes a folder for MMSegmentation: ``python -m benchmarks.segmentation.prepare DATASET ROOT --out DIR``.

The folder holds

    DIR/img_dir/{train,test}/*.png    DIR/ann_dir/{train,test}/*.png    DIR/classes.txt

SpaceNet 6 comes as GeoTIFF of four bands in decibels with footprints in GeoJSON. The networks take one band, so one is
chosen; it stays logarithmic, because their operators stretch each image anyhow, and becomes 8 bits: linear from the
0.1th to the 99.9th percentile of the training tiles' pixels with data, 0 where there are none; ``levels.json`` has the
two percentiles, in decibels. Masks hold 0 (background, also where there are no data) and 1 (building). SARBake and
SL-SSDD have pictures of 8 bits, which stay as they are, and masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.experiments.command import command, known, new_app
from benchmarks.mm.prepared import CLASSES_FILE, prepare_folder, write_png
from sarhub_models.datasets.catalog import find
from sarhub_models.datasets.segmentation.base import Segmentation, SegmentationDataset
from sarhub_models.datasets.segmentation.spacenet6 import BANDS, SpaceNet6
from sarhub_models.errors import DataError, ImageError, OptionError
from sarhub_models.io.files import write_text
from sarhub_models.io.progress import progress_bar

__all__ = ["LEVELS", "MASKED", "prepare_masked", "prepare_spacenet6", "quantize"]

LEVELS = "levels.json"
MASKED = ("sarbake", "sl_ssdd")
"""Data sets whose images are pictures of 8 bits."""
_SPLITS = ("train", "test")
_PERCENTILES = (0.1, 99.9)
_STEP = 8  # every so many pixels, in both directions, enter the percentiles
app = new_app()


def prepare_spacenet6(root: Path, out: Path, lists: Path | None = None, band: str = "HH") -> dict[str, int]:
    """Write the images and masks of SpaceNet 6, unless they are there.

    Args:
        root: folder of the unpacked archive; it is only read.
        out: the folder to write; it appears complete or not at all.
        lists: folder of ``train.txt`` and ``test.txt``; by default ``root``.
        band: ``"HH"``, ``"HV"``, ``"VH"`` or ``"VV"``.

    Returns:
        The number of tiles of each split.

    Raises:
        UnknownNameError: there is no such band.
        DataError: tiles or lists are missing or damaged, or the training tiles hold no data.
        ImageError: a tile is damaged.
        OptionError: the folder was written with other settings.
    """
    known(BANDS, [band], "band")
    tiles = {split: SpaceNet6(root, split, lists=lists) for split in _SPLITS}
    counts = {split: len(found) for split, found in tiles.items()}
    settings = {"dataset": "spacenet6", "band": band, "percentiles": list(_PERCENTILES), **counts}
    settings["names"] = _digest(tiles)
    prepare_folder(out, settings, lambda folder: _write(folder, tiles, BANDS.index(band)))
    return counts


def prepare_masked(dataset: str, root: Path, out: Path, masks: Path | None = None) -> dict[str, int]:
    """Write the images and masks of a data set whose images are pictures of 8 bits, unless they are there.

    Args:
        dataset: one of :data:`MASKED`.
        root: folder of the images; it is only read.
        out: the folder to write; it appears complete or not at all.
        masks: folder of the masks; by default ``root``.

    Returns:
        The number of images of each split.

    Raises:
        UnknownNameError: there is no such data set.
        DataError: images or masks are missing or damaged, or two images have one name.
        ImageError: an image is damaged, or has not 8 bits.
        OptionError: the folder was written with other settings.
    """
    known(MASKED, [dataset], "data set")
    images = {split: find(dataset).reader(root, split, annotations=masks) for split in _SPLITS}
    counts = {split: len(found) for split, found in images.items()}
    settings = {"dataset": dataset, **counts, "names": _digest(images)}
    prepare_folder(out, settings, lambda folder: _write_masked(folder, images))
    return counts


def quantize(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values in decibels (H, W) as uint8: ``low`` becomes 1, ``high`` 255; what has no data (0) becomes 0."""
    levels = np.rint(1 + 254 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
    return np.where(image == 0, np.uint8(0), levels)


def _levels(tiles: SpaceNet6, band: int) -> tuple[float, float]:
    values = []
    with progress_bar("percentiles", len(tiles)) as advance:
        for tile in tiles:
            sample = tile.image[band, ::_STEP, ::_STEP]
            values.append(sample[sample != 0])
            advance(1)
    found = np.concatenate(values)
    low, high = np.percentile(found, _PERCENTILES) if len(found) else (0.0, 0.0)
    if not low < high:
        raise DataError(f"{tiles.root}: band {BANDS[band]} of the training tiles holds no image, all values are alike")
    return float(low), float(high)


def _digest(images: Mapping[str, SegmentationDataset]) -> str:
    return hashlib.sha256(json.dumps([list(images[split].names) for split in _SPLITS]).encode()).hexdigest()


def _write(folder: Path, tiles: Mapping[str, SpaceNet6], band: int) -> None:
    low, high = _levels(tiles["train"], band)
    write_text(folder / LEVELS, json.dumps({"band": BANDS[band], "low": low, "high": high, "unit": "dB"}) + "\n")
    _write_samples(folder, tiles, lambda tile: quantize(tile.image[band], low, high))


def _write_masked(folder: Path, images: Mapping[str, SegmentationDataset]) -> None:
    def picture(sample: Segmentation) -> np.ndarray:
        if sample.image.dtype != np.uint8:
            raise ImageError(f"{sample.name}: expected a picture of 8 bits, got {sample.image.dtype}")
        return sample.image[0]

    _write_samples(folder, images, picture)


def _write_samples(
    folder: Path, images: Mapping[str, SegmentationDataset], picture: Callable[[Segmentation], np.ndarray]
) -> None:
    """Write the pictures, the masks and the names of the classes."""
    write_text(folder / CLASSES_FILE, "\n".join(images["train"].class_names) + "\n")
    with progress_bar("images and masks", sum(map(len, images.values()))) as advance:
        for split, found in images.items():
            pictures, masks = (folder / kind / split for kind in ("img_dir", "ann_dir"))
            pictures.mkdir(parents=True)
            masks.mkdir(parents=True)
            for sample in found:
                name = f"{Path(sample.name).stem}.png"
                if (pictures / name).exists():
                    raise DataError(f"two images of the split {split} are called {name}, one of them {sample.name}")
                write_png(picture(sample), pictures / name)
                write_png(sample.mask, masks / name)
                advance(1)


@command(app)
def main(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join((*MASKED, 'spacenet6'))}.")],
    root: Annotated[Path, typer.Argument(help="Folder of the unpacked download.")],
    out: Annotated[Path, typer.Option(help="Folder to write, for --data of 'benchmarks.segmentation train'.")],
    lists: Annotated[
        Path | None, typer.Option(help="Folder of SpaceNet 6's train.txt and test.txt; default: ROOT.")
    ] = None,
    band: Annotated[str | None, typer.Option(help=f"Of SpaceNet 6: {', '.join(BANDS)}. Default: HH.")] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of the masks of SARBake or SL-SSDD; default: ROOT.")
    ] = None,
) -> None:
    """Write images and masks; a folder that is there with the same settings is left as it is."""
    known([*MASKED, "spacenet6"], [dataset], "data set")
    given = {"--lists": lists, "--band": band, "--masks": masks}
    takes = ("--masks",) if dataset in MASKED else ("--lists", "--band")
    if other := [name for name, value in given.items() if value is not None and name not in takes]:
        raise OptionError(f"{dataset} takes {' and '.join(takes)}, not {' or '.join(other)}")
    if dataset in MASKED:
        counts = prepare_masked(dataset, root, out, masks)
    else:
        counts = prepare_spacenet6(root, out, lists, band or "HH")
    for split, count in counts.items():
        typer.echo(f"{split}: {count} images")


if __name__ == "__main__":
    app()
