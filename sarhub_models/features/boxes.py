"""Boxes in images by weights that describe themselves: :class:`BoxPredictor`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from ..errors import ImageError, OptionError
from ..io.files import write_text
from ..io.places import read_place, to_longitude_latitude
from ..io.progress import progress_bar
from ..io.raster import Raster
from .journal import Journal
from .stream import image_names
from .windows import Image, WindowPredictor

__all__ = ["BoxPredictor", "Boxes", "Found"]

_SURE = 0.3  # score from which a summary counts a box
_OVERLAP = 0.5  # IoU from which two boxes of a class are one
_SUFFIXES = (".json", ".geojson")


@dataclass(frozen=True, eq=False)
class Found:
    """The boxes in one image.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels from the outer corner of the first one, best first.
        scores: float32 (N,), from 0 to 1.
        labels: int64 (N,), indices into ``class_names``.
        class_names: name of each class.
        size: height and width of the image.
        name: the path as given, or ``""`` of an array.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    size: tuple[int, int]
    name: str = ""


@dataclass(frozen=True)
class Boxes:
    """The boxes in many images.

    Attributes:
        names: of the images that could be used.
        found: in each of them.
        class_names: name of each class.
        skipped: by name, why an image could not be used.
    """

    names: tuple[str, ...]
    found: tuple[Found, ...]
    class_names: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """Return the number of boxes of each class by name, those with a score of at least 0.3."""
        sure = np.concatenate([one.labels[one.scores >= _SURE] for one in self.found])
        counts = np.bincount(sure, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, counts, strict=True))


class BoxPredictor(WindowPredictor):
    """A :class:`.Predictor` of boxes; see :class:`.WindowPredictor`.

    Large images go through the network in windows that overlap by a quarter. A box counts in the window whose middle
    part its center lies in, and of boxes of a class with an IoU above ½ the best one stays.
    """

    plain_beyond = True

    def predict(  # type: ignore[override]
        self, images: Image | Iterable[Image], *, batch_size: int = 8
    ) -> Found | Iterator[Found]:
        """Predict the boxes in one image, or in any number of them as they come.

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
    ) -> Boxes:
        """Predict the boxes in files, into one file, which appears whole; a later call with the same arguments resumes.

        Args:
            paths: files that :func:`~sarhub_models.io.selected.read_selected` reads.
            out: ``.json`` for COCO (each annotation has a ``score``), or ``.geojson`` for polygons in longitude and
                latitude; those of images without a georeference are in pixels, and say so.
            names: name of each image; by default its path.
            batch_size: windows that go through the network at once.
            on_error: ``"stop"`` at a bad image, or ``"skip"`` and note it.
            progress: draw a bar on stderr where that is a terminal.

        Raises:
            ImageError: an image cannot be used; the message names it. Or none can.
            OptionError: the file has another suffix, or its journal comes from other weights or arguments.
        """
        if on_error not in ("stop", "skip"):
            raise OptionError(f"expected on_error to be 'stop' or 'skip', got {on_error!r}")
        target, images = Path(out), [Path(path) for path in paths]
        if target.suffix not in _SUFFIXES:
            raise OptionError(f"{target}: boxes go into a file that ends in {' or '.join(_SUFFIXES)}")
        if not target.parent.is_dir():
            raise OptionError(f"{target}: there is no folder {target.parent}; create it first")
        labels = image_names(images, names)
        journal = Journal(target, images, labels, maker=self.maker())
        rows, skipped = journal.read(), dict[str, str]()
        with progress_bar("images", len(images), done=len(rows), show=progress) as advance:
            for index in (one for one in range(len(images)) if one not in rows):
                try:
                    rows[index] = _as_row(self._one(images[index], batch_size))
                except ImageError as err:
                    if on_error == "stop":
                        raise ImageError(
                            f"{err} (the boxes that are found are kept, and the next run resumes)"
                        ) from err
                    skipped[labels[index]] = str(err)
                else:
                    journal.append([index], rows[index][None])
                advance(1)
        if not rows:
            raise ImageError(f"none of the {len(images)} images could be used: {next(iter(skipped.values()))}")
        order = sorted(rows)
        found = tuple(_of_row(rows[index], self.class_names, labels[index]) for index in order)
        result = Boxes(tuple(labels[index] for index in order), found, self.class_names, skipped)
        places = [images[index] for index in order]
        content = _coco(result) if target.suffix == ".json" else _geojson(result, places)
        write_text(target, json.dumps(content) + "\n")
        journal.file.unlink(missing_ok=True)
        return result

    def _one(self, image: Image, batch_size: int) -> Found:
        name = "" if isinstance(image, np.ndarray | Tensor) else os.fspath(image)
        raster = self.read(image)
        try:
            rows = self._boxes(raster, batch_size)
        except ImageError as err:
            raise ImageError(f"{name}: {err}" if name and not str(err).startswith(f"{name}: ") else str(err)) from err
        size = (int(raster.array.shape[-2]), int(raster.array.shape[-1]))
        return _of_row(np.concatenate([np.array(size, np.float32), rows.ravel()]), self.class_names, name)

    def _boxes(self, raster: Raster, batch_size: int) -> np.ndarray:
        """Return x1, y1, x2, y2, score and class of each box, float32 (N, 6), best first."""
        height, width = raster.array.shape[-2:]
        kept = [np.empty((0, 6), np.float32)]
        margin = (self.window - self.stride) / 2
        for top, answers in self.rows(raster, batch_size=batch_size):
            for left, rows in answers:
                centers = (rows[:, :2] + rows[:, 2:4]) / 2
                mine = np.ones(len(rows), bool)
                for begin, end, center in ((left, width, centers[:, 0]), (top, height, centers[:, 1])):
                    mine &= (center >= margin) | (begin == 0)
                    mine &= (center <= self.window - margin) | (begin + self.window >= end)
                rows = rows[mine] + np.array([left, top, left, top, 0, 0], np.float32)
                rows[:, :4] = rows[:, :4].clip(0, np.array([width, height, width, height], np.float32))
                kept.append(rows[(rows[:, 2:4] > rows[:, :2]).all(axis=1)])
        found = torch.from_numpy(np.concatenate(kept))
        best = batched_nms(found[:, :4], found[:, 4], found[:, 5].long(), _OVERLAP)
        return found[best].numpy()

    @torch.inference_mode()
    def _answers(self, inputs: Tensor) -> list[Any]:
        rows = []
        for one in self.network(list(inputs)):
            columns = [one["boxes"].float(), one["scores"].float()[:, None], one["labels"].float()[:, None]]
            rows.append(torch.cat(columns, dim=1).cpu().numpy())
        return rows


def _as_row(found: Found) -> np.ndarray:
    """Return size and boxes as numbers, for the journal; the same ones that the file will hold."""
    columns = np.column_stack([found.boxes.round(2), found.scores.round(5), found.labels])
    return np.concatenate([np.array(found.size), columns.ravel()]).astype(np.float32)


def _of_row(row: np.ndarray, class_names: tuple[str, ...], name: str) -> Found:
    columns = row[2:].reshape(-1, 6)
    size = int(row[0]), int(row[1])
    return Found(columns[:, :4], columns[:, 4], columns[:, 5].astype(np.int64), class_names, size, name)


def _coco(result: Boxes) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, one in zip(result.names, result.found, strict=True):
        images.append({"id": len(images) + 1, "file_name": name, "height": one.size[0], "width": one.size[1]})
        for (x1, y1, x2, y2), score, label in zip(_rounded(one), one.scores.tolist(), one.labels.tolist(), strict=True):
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": label + 1,
                    "bbox": [x1, y1, width, height],
                    "area": round(width * height, 2),
                    "score": round(score, 5),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(result.class_names)]
    return {"images": images, "categories": categories, "annotations": annotations}


def _rounded(one: Found) -> list[list[float]]:
    values: Any = one.boxes.astype(np.float64).round(2)
    found: list[list[float]] = values.tolist()
    return found


def _geojson(result: Boxes, files: Sequence[Path]) -> dict[str, Any]:
    features = []
    for name, file, one in zip(result.names, files, result.found, strict=True):
        place = read_place(file)
        for box, score, label in zip(_rounded(one), one.scores.tolist(), one.labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            corners = np.array([(x1, y2), (x2, y2), (x2, y1), (x1, y1), (x1, y2)])
            placed = to_longitude_latitude(place, corners)
            ring = corners.tolist() if placed is None else placed.round(8).tolist()
            properties = {
                "image": name,
                "class": result.class_names[label],
                "score": round(score, 5),
                "box": box,
                "coordinates": "pixels" if placed is None else "longitude, latitude",
            }
            geometry = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}
