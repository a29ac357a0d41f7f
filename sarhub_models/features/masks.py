"""Masks of images by weights that describe themselves: :class:`MaskPredictor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.segmentation.base import NO_LABEL
from ..errors import OptionError
from ..io.files import keep_inputs
from ..io.masks import write_mask
from ..io.raster import Raster
from ..io.tables import write_table
from ..io.windows import paste
from .windows import Output, WindowPredictor

__all__ = ["TABLE", "Mask", "MaskPredictor", "Masks", "mask_names"]

TABLE = "predictions.csv"
"""Table of the masks in their folder."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The classes of the pixels of one image.

    Attributes:
        classes: uint8 (H, W), indices into ``class_names``, 255 where the image has no data.
        class_names: name of each class.
        raster: the image, with its georeference.
        name: the path as given, or ``""`` of an array.
    """

    classes: np.ndarray
    class_names: tuple[str, ...]
    raster: Raster
    name: str = ""

    def shares(self) -> np.ndarray:
        """Return the share of each class in the pixels with data, float32 (C,)."""
        counts = np.bincount(self.classes[self.classes != NO_LABEL], minlength=len(self.class_names))
        return (counts / max(1, counts.sum())).astype(np.float32)


@dataclass(frozen=True)
class Masks:
    """The masks of many images.

    Attributes:
        names: of the images that could be used.
        files: the mask of each.
        shares: of each class in the pixels with data, float32 (N, C).
        class_names: name of each class.
        skipped: by name, why an image has no mask.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    shares: np.ndarray
    class_names: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """Return the mean share of each class by name."""
        return dict(zip(self.class_names, self.shares.mean(axis=0).tolist(), strict=True))


class _MaskFolder(Output[Mask, Masks]):
    """A folder of masks and their table."""

    kind = "masks"

    def __init__(self, out: Path, images: Sequence[Path], names: Sequence[str] | None, *rest: Any) -> None:
        if out.exists() and not out.is_dir():
            raise OptionError(f"{out} is a file: masks need a folder")
        super().__init__(out / TABLE, images, [path.name for path in images] if names is None else names, *rest)
        self.files = [out / name for name in mask_names(self.names)]
        keep_inputs(self.files, self.images)
        out.mkdir(parents=True, exist_ok=True)

    def has(self, index: int) -> bool:
        """Return whether the mask of an image is still there."""
        return self.files[index].is_file()

    def keep(self, index: int, answer: Mask) -> np.ndarray:
        """Write a mask; return the share of each class."""
        write_mask(self.files[index], answer.classes, answer.raster, self.class_names, nodata=NO_LABEL)
        return answer.shares()

    def finish(self, rows: Mapping[int, np.ndarray], skipped: dict[str, str]) -> Masks:
        """Write the table."""
        names, files = tuple(self.names[i] for i in rows), tuple(self.files[i] for i in rows)
        shares = np.stack(list(rows.values()))
        columns: dict[str, Any] = {
            "name": list(names),
            "mask": [file.relative_to(self.last.parent).as_posix() for file in files],
        }
        for name, values in zip(self.class_names, shares.T, strict=True):
            columns[f"share: {name}"] = [round(value, 7) for value in values.tolist()]
        write_table(columns, self.last)
        return Masks(names, files, shares, self.class_names, skipped)


class MaskPredictor(WindowPredictor[Mask, Masks]):
    """A :class:`.Predictor` of the class of each pixel; see :class:`.WindowPredictor`.

    Where windows overlap, the answer of each counts by the nearness to its middle, so that no seam shows. Masks of
    files go into a folder, which is made, as GeoTIFF with the georeference of each image: as the names say, paths with
    ``/``, with the suffix ``.tif``. Last of all ``predictions.csv`` is written: the mask of each image and the share of
    each class.
    """

    output = _MaskFolder

    def _answer(self, raster: Raster, name: str, batch_size: int) -> Mask:
        return Mask(self._classes(raster, batch_size), self.class_names, raster, name)

    def _classes(self, raster: Raster, batch_size: int) -> np.ndarray:
        """Return the class of each pixel; of the sums of overlapping windows only some rows are in memory."""
        height, width = raster.array.shape[-2:]
        side, found = self.window, np.empty((height, width), np.uint8)
        sums = np.zeros((len(self.class_names), side, width), np.float32)
        begin = 0
        for top, answers in self.rows(raster, batch_size=batch_size):
            done = top - begin
            if done:
                found[begin:top] = sums[:, :done].argmax(axis=0)
                sums = np.concatenate([sums[:, done:], np.zeros_like(sums[:, :done])], axis=1)
            begin = top
            for left, logits in answers:
                paste(sums, logits, left)
        found[begin:] = sums[:, : height - begin].argmax(axis=0)
        found[~raster.mask] = NO_LABEL
        return found


def mask_names(names: Sequence[str]) -> list[str]:
    """Return the file name of the mask of each image: with ``.tif`` in place of its suffix, or behind it."""
    short = [Path(name).with_suffix(".tif").as_posix().lstrip("/") for name in names]
    return [one if short.count(one) == 1 else f"{name}.tif" for one, name in zip(short, names, strict=True)]
