"""A download becomes a folder for MMSegmentation: ``python -m benchmarks.segmentation.prepare spacenet6 ROOT``.

SpaceNet 6 comes as GeoTIFF of four bands in decibels with footprints in GeoJSON. The networks take one band, so one is
chosen; it stays logarithmic, because their operators stretch each image anyhow, and becomes 8 bits: linear from the
0.1th to the 99.9th percentile of the training tiles' pixels with data, 0 where there are none. Masks hold 0
(background, also where there are no data) and 1 (building). The folder holds

    DIR/img_dir/{train,test}/*.png    DIR/ann_dir/{train,test}/*.png    DIR/classes.txt    DIR/levels.json

with the two percentiles, in decibels, in ``levels.json``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.experiments.command import command, known, new_app
from benchmarks.mm.prepared import CLASSES_FILE, prepare_folder, write_png
from sarhub_models.datasets.segmentation.spacenet6 import BANDS, CLASS_NAMES, SpaceNet6
from sarhub_models.errors import DataError
from sarhub_models.io.files import write_text
from sarhub_models.io.progress import progress_bar

__all__ = ["LEVELS", "prepare", "quantize"]

LEVELS = "levels.json"
_SPLITS = ("train", "test")
_PERCENTILES = (0.1, 99.9)
_STEP = 8  # every so many pixels, in both directions, enter the percentiles
app = new_app()


def prepare(root: Path, out: Path, lists: Path | None = None, band: str = "HH") -> dict[str, int]:
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
    names = hashlib.sha256(json.dumps([list(tiles[split].names) for split in _SPLITS]).encode()).hexdigest()
    settings = {"dataset": "spacenet6", "band": band, "percentiles": list(_PERCENTILES), **counts, "names": names}
    prepare_folder(out, settings, lambda folder: _write(folder, tiles, BANDS.index(band)))
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


def _write(folder: Path, tiles: dict[str, SpaceNet6], band: int) -> None:
    low, high = _levels(tiles["train"], band)
    write_text(folder / LEVELS, json.dumps({"band": BANDS[band], "low": low, "high": high, "unit": "dB"}) + "\n")
    write_text(folder / CLASSES_FILE, "\n".join(CLASS_NAMES) + "\n")
    with progress_bar("images and masks", sum(map(len, tiles.values()))) as advance:
        for split, found in tiles.items():
            for kind in ("img_dir", "ann_dir"):
                (folder / kind / split).mkdir(parents=True)
            for tile in found:
                name = f"{Path(tile.name).stem}.png"
                write_png(quantize(tile.image[band], low, high), folder / "img_dir" / split / name)
                write_png(tile.mask, folder / "ann_dir" / split / name)
                advance(1)


@command(app)
def main(
    dataset: Annotated[str, typer.Argument(help="spacenet6.")],
    root: Annotated[Path, typer.Argument(help="Folder of the unpacked archive.")],
    out: Annotated[Path, typer.Option(help="Folder to write, for --data of 'benchmarks.segmentation train'.")],
    lists: Annotated[Path | None, typer.Option(help="Folder of train.txt and test.txt; default: ROOT.")] = None,
    band: Annotated[str, typer.Option(help=f"One of {', '.join(BANDS)}.")] = "HH",
) -> None:
    """Write images and masks; a folder that is there with the same settings is left as it is."""
    known(["spacenet6"], [dataset], "data set")
    for split, count in prepare(root, out, lists, band).items():
        typer.echo(f"{split}: {count} tiles")


if __name__ == "__main__":
    app()
