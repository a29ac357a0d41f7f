"""Masks of images by weights that describe themselves: :class:`MaskPredictor`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ..datasets.segmentation.base import NO_LABEL
from ..errors import ImageError, OptionError
from ..io.masks import write_mask
from ..io.progress import progress_bar
from ..io.raster import Raster
from ..io.tables import write_table
from ..io.windows import paste
from .journal import Journal
from .stream import image_names
from .windows import Image, WindowPredictor

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


class MaskPredictor(WindowPredictor):
    """A :class:`.Predictor` of the class of each pixel; see :class:`.WindowPredictor`.

    Large images go through the network in windows that overlap by a quarter; where they do, the answer of a window
    counts by the nearness to its middle, so that no seam shows.
    """

    def predict(  # type: ignore[override]
        self, images: Image | Iterable[Image], *, batch_size: int = 8
    ) -> Mask | Iterator[Mask]:
        """Predict the mask of one image, or of any number of them as they come.

        Args:
            images: a path, or an array (H, W) or (C, H, W) as :attr:`transform` takes it; or an iterable of these.
            batch_size: windows that go through the network at once.

        Raises:
            ImageError: an image cannot be used; the message names it.
        """
        if isinstance(images, str | os.PathLike | np.ndarray | Tensor):
            return self._one(images, batch_size)
        return (self._one(image, batch_size) for image in images)

    def predict_files(  # type: ignore[override]
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        out: str | os.PathLike[str],
        names: Sequence[str] | None = None,
        batch_size: int = 8,
        on_error: Literal["stop", "skip"] = "stop",
        progress: bool = True,
    ) -> Masks:
        """Predict the masks of files, as GeoTIFF with the georeference of each image, into a folder.

        Each mask appears whole; a later call with the same arguments resumes. Last of all ``predictions.csv`` is
        written: the mask of each image and the share of each class.

        Args:
            paths: files that :func:`~sarhub_models.io.selected.read_selected` reads.
            out: folder, which is made; masks lie in it as the names say, with the suffix ``.tif``.
            names: name of each image, a path with ``/``; by default that of its file.
            batch_size: windows that go through the network at once.
            on_error: ``"stop"`` at a bad image, or ``"skip"`` and note it.
            progress: draw a bar on stderr where that is a terminal.

        Raises:
            ImageError: an image cannot be used; the message names it. Or none can.
            OptionError: the folder holds masks of other weights or arguments, or a file has its name.
        """
        if on_error not in ("stop", "skip"):
            raise OptionError(f"expected on_error to be 'stop' or 'skip', got {on_error!r}")
        folder, images = Path(out), [Path(path) for path in paths]
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"{folder} is a file: masks need a folder")
        labels = image_names(images, [path.name for path in images] if names is None else names)
        files = [folder / name for name in mask_names(labels)]
        folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(folder / TABLE, images, labels, maker=self.maker())
        rows = {index: row for index, row in journal.read().items() if files[index].is_file()}
        skipped: dict[str, str] = {}
        with progress_bar("images", len(images), done=len(rows), show=progress) as advance:
            for index in (one for one in range(len(images)) if one not in rows):
                try:
                    mask = self._one(images[index], batch_size)
                except ImageError as err:
                    if on_error == "stop":
                        raise ImageError(f"{err} (the masks that are done are kept, and the next run resumes)") from err
                    skipped[labels[index]] = str(err)
                else:
                    write_mask(files[index], mask.classes, mask.raster, self.class_names, nodata=NO_LABEL)
                    rows[index] = mask.shares()
                    journal.append([index], rows[index][None])
                advance(1)
        if not rows:
            raise ImageError(f"none of the {len(images)} images could be used: {next(iter(skipped.values()))}")
        order = sorted(rows)
        shares = np.stack([rows[index] for index in order])
        found = Masks(
            tuple(labels[i] for i in order), tuple(files[i] for i in order), shares, self.class_names, skipped
        )
        write_table(_table(found, folder), folder / TABLE)
        journal.file.unlink(missing_ok=True)
        return found

    def _one(self, image: Image, batch_size: int) -> Mask:
        name = "" if isinstance(image, np.ndarray | Tensor) else os.fspath(image)
        raster = self.read(image)
        try:
            return Mask(self._classes(raster, batch_size), self.class_names, raster, name)
        except ImageError as err:
            raise ImageError(f"{name}: {err}" if name and not str(err).startswith(f"{name}: ") else str(err)) from err

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


def _table(found: Masks, folder: Path) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "name": list(found.names),
        "mask": [file.relative_to(folder).as_posix() for file in found.files],
    }
    for name, values in zip(found.class_names, found.shares.T, strict=True):
        columns[f"share: {name}"] = [round(value, 7) for value in values.tolist()]
    return columns
