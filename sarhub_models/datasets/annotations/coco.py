"""COCO files: annotations of a whole split in one JSON.

The format of https://cocodataset.org, of which detection needs ``images`` (``id``, ``file_name``, ``height``,
``width``), ``annotations`` (``image_id``, ``category_id``, ``bbox`` as x, y, width, height in pixels) and
``categories`` (``id``, ``name``).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ...io.files import write_text
from ..lists import AnyPath
from .boxes import Annotation

if TYPE_CHECKING:
    from ..detection.base import DetectionDataset

__all__ = ["read_coco", "read_labeled_coco", "write_coco"]

_CATEGORY = "ship"
_SHOWN = 40  # characters of a value in a message


def read_coco(file: AnyPath) -> list[Annotation]:
    """Read the ships of a COCO file.

    Regions that are marked as crowds are no single ships and are left out. Ids may be numbers or text.

    Returns:
        One annotation for each image, in the order of the file; without boxes where an image has none.

    Raises:
        DataError: the file cannot be read, is no COCO file, has another category than ``ship``, or annotates an image
            that it does not list.
    """
    with _one_error(Path(file), "COCO file of ships"):
        return _parse(Path(file), only=_CATEGORY)[1]


def read_labeled_coco(file: AnyPath) -> tuple[tuple[str, ...], list[Annotation]]:
    """Read the boxes of a COCO file of any categories; what is not said here is as of :func:`read_coco`.

    Returns:
        The names of the categories in their order, and one annotation for each image, whose ``labels`` count them.

    Raises:
        DataError: the file cannot be read or is no COCO file, two categories have one name, or an annotation is of an
            image or category that is not listed.
    """
    with _one_error(Path(file), "COCO file"):
        names, found = _parse(Path(file))
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected categories of different names, got {names}")
        return tuple(names), found


@contextmanager
def _one_error(file: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as err:
        reason = f"no {err}" if isinstance(err, KeyError) else str(err)
        raise DataError(f"{file} is no {kind}: {reason}") from err


def _parse(file: Path, *, only: str | None = None) -> tuple[list[str], list[Annotation]]:
    content = json.loads(file.read_text(encoding="utf-8-sig"))
    images = {str(image["id"]): image for image in content["images"]}
    if len(images) != len(content["images"]):
        raise ValueError("two images have the same id")
    categories = {str(category["id"]): index for index, category in enumerate(content["categories"])}
    if len(categories) != len(content["categories"]):
        raise ValueError("two categories have the same id")
    names = [str(category["name"]) for category in content["categories"]]
    if only is not None and [name.lower() for name in names] != [only]:
        raise ValueError(f"expected the one category {only!r}, got {names}")
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    for entry in content["annotations"]:
        if str(entry["image_id"]) not in images or str(entry["category_id"]) not in categories:
            raise ValueError(f"the annotation {entry.get('id')!r} is of an image or category that is not listed")
        if not entry.get("iscrowd"):
            x, y, width, height = map(_coordinate, entry["bbox"])
            label = categories[str(entry["category_id"])]
            boxes[str(entry["image_id"])].append([x, y, x + width, y + height, label])
    return names, [_annotation(file, image, boxes[key]) for key, image in images.items()]


def write_coco(dataset: DetectionDataset, file: AnyPath) -> Path:
    """Write a data set as a COCO file with one category, ``ship``.

    pycocotools and MMDetection's ``CocoDataset`` read it; ``file_name`` is the path below ``dataset.root``, which is
    to be their folder of images. Ids count from 1: pycocotools takes an annotation 0 for none.

    Args:
        dataset: any detection reader.
        file: the file to write; it appears complete or not at all, and its folder is created.

    Returns:
        ``file`` as a path.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, (height, width), boxes in zip(dataset.names, dataset.sizes.tolist(), dataset.boxes, strict=True):
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        corners = boxes.astype(np.float64)
        for box in np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).round(3):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": 1,
                    "bbox": box.tolist(),
                    "area": round(float(box[2] * box[3]), 3),
                    "iscrowd": 0,
                }
            )
    content = {
        "info": {"description": f"{type(dataset).__name__}, {len(images)} images"},
        "licenses": [],
        "categories": [{"id": 1, "name": _CATEGORY, "supercategory": _CATEGORY}],
        "images": images,
        "annotations": annotations,
    }
    write_text(Path(file), json.dumps(content))
    return Path(file)


def _coordinate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected coordinates in pixels, got {str(value)[:_SHOWN]!r}")
    return float(value)


def _annotation(file: Path, image: dict[str, Any], boxes: list[list[float]]) -> Annotation:
    size = int(_coordinate(image["height"])), int(_coordinate(image["width"]))
    if min(size) < 1:
        raise ValueError(f"the image {image['file_name']!r} has the size {size[0]} by {size[1]}")
    values = np.array(boxes, dtype=np.float64).reshape(-1, 5)
    return Annotation(str(image["file_name"]), size, values[:, :4], file, tuple(values[:, 4].astype(int).tolist()))
