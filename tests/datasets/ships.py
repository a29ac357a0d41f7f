"""Small detection data sets as COCO and VOC files, with made-up images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .scenes import pixels

Boxes = Sequence[Sequence[float]]


def write_image(file: Path, height: int = 20, width: int = 30) -> None:
    """A gray picture, as RGB: so are those of SSDD, HRSID and LS-SSDD."""
    file.parent.mkdir(parents=True, exist_ok=True)
    gray = (255 * pixels(1, max(height, width))[:height, :width]).astype(np.uint8)
    Image.fromarray(gray).convert("RGB").save(file)


def coco(images: Mapping[str, Boxes], category: Any = 1, height: int = 20, width: int = 30) -> dict[str, Any]:
    """The content of a COCO file; boxes are x, y, width, height."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": category, "name": "ship"}]}
    for number, (name, boxes) in enumerate(images.items()):
        content["images"].append({"file_name": name, "height": height, "width": width, "id": number})
        for box in boxes:
            entry = {"id": len(content["annotations"]), "image_id": number, "category_id": category, "bbox": box}
            content["annotations"].append({**entry, "iscrowd": 0, "area": box[2] * box[3]})
    return content


def write_coco_file(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def write_voc(file: Path, boxes: Boxes, size: tuple[int, int] | None = (20, 30), name: str = "ship") -> Path:
    """A VOC file; boxes are xmin, ymin, xmax, ymax, size is height and width."""
    file.parent.mkdir(parents=True, exist_ok=True)
    said = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>" if size else ""
    objects = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><difficult>0</difficult><bndbox>"
        + "".join(f"<{tag}>{value:g}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    file.write_text(
        f"<annotation><folder>JPEGImages</folder><filename>other.jpg</filename>{said}{objects}</annotation>"
    )
    return file
