"""Boxes in images by weights that describe themselves: :class:`BoxPredictor`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from ..errors import OptionError
from ..io.files import write_text
from ..io.georeference import Georeference, geometry, read_georeference
from ..io.raster import Raster
from ..io.windows import KNOWN, shares
from .windows import Output, WindowPredictor

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


class _BoxFile(Output[Found, Boxes]):
    """One file of boxes."""

    kind = "boxes"

    def __init__(self, out: Path, *rest: Any) -> None:
        if out.suffix not in _SUFFIXES:
            raise OptionError(f"{out}: boxes go into a file that ends in {' or '.join(_SUFFIXES)}")
        if not out.parent.is_dir():
            raise OptionError(f"{out}: there is no folder {out.parent}; create it first")
        super().__init__(out, *rest)

    def keep(self, index: int, answer: Found) -> np.ndarray:
        """Return size and boxes as numbers, the same ones that the file will hold.

        Raises:
            OptionError: the file is to be in degrees, and nothing leads there from the image's coordinates.
        """
        if self.last.suffix == ".geojson" and (place := read_georeference(self.images[index])).crs is not None:
            place.degrees(0, 0)
        columns = np.column_stack([answer.boxes.round(2), answer.scores.round(5), answer.labels])
        return np.concatenate([np.array(answer.size), columns.ravel()]).astype(np.float32)

    def finish(self, rows: Mapping[int, np.ndarray], skipped: dict[str, str]) -> Boxes:
        """Write the file."""
        names = tuple(self.names[index] for index in rows)
        found = tuple(_of_row(row, self.class_names, self.names[index]) for index, row in rows.items())
        result = Boxes(names, found, self.class_names, skipped)
        places = [self.images[index] for index in rows]
        content = _coco(result) if self.last.suffix == ".json" else _geojson(result, places)
        write_text(self.last, json.dumps(content) + "\n")
        return result


class BoxPredictor(WindowPredictor[Found, Boxes]):
    """A :class:`.Predictor` of boxes; see :class:`.WindowPredictor`.

    A box counts in the window whose middle part its center lies in, and of boxes of a class with an IoU above ½ the
    best one stays; one of which less than half has data is left out. Those of files go into one file, ``.json`` for
    COCO (each annotation has a ``score``), or ``.geojson`` for polygons in longitude and latitude; those of images
    without a georeference are in pixels, and say so.
    """

    plain_beyond = True
    output = _BoxFile

    def _answer(self, raster: Raster, name: str, batch_size: int) -> Found:
        rows = self._boxes(raster, batch_size)
        size = np.array(raster.array.shape[-2:], np.float32)
        return _of_row(np.concatenate([size, rows.ravel()]), self.class_names, name)

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
        rows = np.concatenate(kept)
        found = torch.from_numpy(rows[shares(raster.mask, rows) >= KNOWN])
        best = batched_nms(found[:, :4], found[:, 4], found[:, 5].long(), _OVERLAP)
        return found[best].numpy()

    @torch.inference_mode()
    def _answers(self, inputs: Tensor) -> list[Any]:
        rows = []
        for one in self.network(list(inputs)):
            columns = [one["boxes"].float(), one["scores"].float()[:, None], one["labels"].float()[:, None]]
            rows.append(torch.cat(columns, dim=1).cpu().numpy())
        return rows


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
        place = read_georeference(file)
        if place.crs is None:  # coordinates without a system lead nowhere
            place = Georeference()
        for box, score, label in zip(_rounded(one), one.scores.tolist(), one.labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            properties = {
                "image": name,
                "class": result.class_names[label],
                "score": round(score, 5),
                "box": box,
                "coordinates": "pixels" if place.kind == "pixels" else "longitude, latitude",
            }
            outline = geometry(place.footprint(y1, x1, y2 - y1, x2 - x1, wgs84=True))
            features.append({"type": "Feature", "geometry": outline, "properties": properties})
    return {"type": "FeatureCollection", "features": features}
