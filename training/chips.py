"""Cut chips to pre-train on: ``python -m training.chips ssdd ROOT --out DIR``, or ``scenes ROOT`` for whole rasters.

Of a detection data set come the chips around each object, and as many without any; of scenes, tiles side by side,
without labels. They are 8-bit PNG files in a folder for each class, which ``data.sources.NAME.name=folder`` reads. The
same input gives the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from sarhub_models.datasets.catalog import find, names
from sarhub_models.errors import DataError, OptionError, SarHubError
from sarhub_models.io.files import replacing
from sarhub_models.io.images import list_images, read_image
from sarhub_models.transforms import normalize_amplitude

SCENES = "scenes"
_TRIES = 20  # places that are tried for a chip without an object
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    data: Annotated[str, typer.Argument(help=f"{', '.join(names('detection'))}, or {SCENES}.")],
    root: Annotated[Path, typer.Argument(help="Folder of the data set, or of the rasters.")],
    out: Annotated[Path, typer.Option(help="Folder of the chips.")],
    side: Annotated[int, typer.Option(help="Side of a chip in pixels.")] = 128,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
) -> None:
    """Cut chips out of images."""
    try:
        typer.echo(f"{out}: {cut(data, root, out, side=side, split=split)} chips")
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


def cut(data: str, root: Path, out: Path, *, side: int = 128, split: str = "train") -> int:
    """Cut chips out of images and return their number.

    Args:
        data: a detection data set of the catalog, or ``"scenes"``.
        root: its folder, or that of the rasters.
        out: folder of the chips, which must not be there.
        side: of a chip in pixels; images that are smaller are taken whole.
        split: of the data set.

    Raises:
        OptionError: ``out`` is there already, ``side`` is below 1, or the data set has no boxes.
        DataError: the data are not there.
        ImageError: an image cannot be read.
    """
    if side < 1 or (data != SCENES and data not in names("detection")):
        raise OptionError(f"expected a side above 0 and one of {', '.join(names('detection'))} or {SCENES}, got {data}")
    if out.exists():
        raise OptionError(f"{out} is there already: delete it, or take another folder with --out")
    chips = _tiles(root, side) if data == SCENES else _objects(data, root, split, side)
    count = 0
    for count, (name, chip) in enumerate(chips, 1):  # noqa: B007
        target = out / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial, partial.open("wb") as stream:
            Image.fromarray(chip).save(stream, format="png")
    if not count:
        raise DataError(f"no chips of {side} pixels could be cut from {root}")
    return count


def _tiles(root: Path, side: int) -> Iterator[tuple[str, np.ndarray]]:
    for file in list_images(root):
        image = _bytes(file)
        for row in range(0, image.shape[0] - side + 1, side):
            for column in range(0, image.shape[1] - side + 1, side):
                yield f"scene/{file.stem}_{column}_{row}", image[row : row + side, column : column + side]


def _objects(data: str, root: Path, split: str, side: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the chips around the objects of each image, and as many at random places without any."""
    scenes = find(data).reader(root, split)
    for number, (file, boxes) in enumerate(zip(scenes.files, scenes.boxes, strict=True)):
        image, rng = _bytes(file), np.random.default_rng(number)
        limits = np.maximum(np.array(image.shape[::-1]) - side, 0)  # of the left upper corner: column, row
        corners = [((box[:2] + box[2:]) / 2 - side / 2).clip(0, limits).astype(int) for box in boxes]
        tried: np.ndarray = rng.integers(0, limits + 1, (_TRIES, 2))
        free = [corner for corner in tried if not _touches(corner, side, boxes)][: len(boxes)]
        for label, places in ((scenes.class_names[0], corners), ("background", free)):
            for index, (column, row) in enumerate(places):
                chip = image[row : row + side, column : column + side]
                yield f"{label}/{file.stem}_{index}", np.ascontiguousarray(chip)


def _touches(corner: np.ndarray, side: int, boxes: np.ndarray) -> bool:
    return bool(((boxes[:, :2] < corner + side) & (boxes[:, 2:] > corner)).all(axis=1).any())


def _bytes(file: Path) -> np.ndarray:
    """Return the first band of an image as 8 bits."""
    amplitude = np.asarray(normalize_amplitude(read_image(file, band=1)))
    return np.rint(amplitude * 255).astype(np.uint8)


if __name__ == "__main__":
    app()
