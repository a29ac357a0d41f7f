"""VOC files: annotations of one image as XML, as in the PASCAL Visual Object Classes challenge.

``annotation/size/{width,height}`` and, for each object, ``name`` and ``bndbox/{xmin,ymin,xmax,ymax}`` in pixels. The
coordinates are taken as they are written, without the half pixel that VOC itself counts to either side: so were the
published COCO files made from them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ...errors import DataError, IncompleteError
from ..lists import AnyPath
from .boxes import CLASS_NAMES, Annotation

__all__ = ["read_voc", "read_voc_files"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NUMBER = re.compile(r"[+-]?([0-9]{1,9}([.][0-9]{0,30})?|[.][0-9]{1,30})([eE][+-]?[0-9])?")
_SHOWN = 40  # characters of a text in a message


def read_voc(file: AnyPath) -> Annotation:
    """Read the ships of a VOC file.

    Its own name tells the image: what it writes as ``filename`` often is that of another data set. A size of 0 counts
    as none.

    Raises:
        DataError: the file cannot be read, is no VOC file, or has an object that is no ship or has no box.
    """
    file = Path(file)
    try:
        root = ElementTree.parse(file).getroot()
        if root.tag != "annotation":
            raise ValueError(f"expected <annotation>, got <{root.tag}>")
        boxes = [_box(item) for item in root.iter("object")]
        size = int(_number(root, "size/height", "0")), int(_number(root, "size/width", "0"))
    except (OSError, ValueError, LookupError, OverflowError, ElementTree.ParseError) as err:
        raise DataError(f"{file} is no VOC file of ships: {err}") from err
    boxes_array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Annotation(file.stem, size if min(size) >= 1 else None, boxes_array, file)


def read_voc_files(files: Sequence[Path]) -> list[Annotation]:
    """Read several VOC files.

    Raises:
        IncompleteError: some are damaged; it tells all of them.
    """
    annotations, damaged = [], {}
    for file in files:
        try:
            annotation = read_voc(file)
        except DataError as err:
            damaged[file] = str(err)
            continue
        annotations.append(annotation)
    if damaged:
        message = f"{len(damaged)} of {len(files)} annotations are damaged; {next(iter(damaged.values()))}"
        raise IncompleteError(message, damaged=damaged)
    return annotations


def _box(item: ElementTree.Element) -> list[float]:
    name = item.findtext("name", "").strip()
    if name.lower() not in CLASS_NAMES:
        raise ValueError(f"expected objects called {CLASS_NAMES[0]!r}, got {name[:_SHOWN]!r}")
    return [_number(item, f"bndbox/{corner}") for corner in _CORNERS]


def _number(element: ElementTree.Element, path: str, default: str | None = None) -> float:
    text = element.findtext(path, default)
    if text is None:
        raise ValueError(f"expected <{path.replace('/', '><')}> in <{element.tag}>, found none")
    if _NUMBER.fullmatch(text.strip()) is None:  # Python also takes nan, infinity and 1_000
        raise ValueError(f"expected a number of pixels in <{path.replace('/', '><')}>, got {text.strip()[:_SHOWN]!r}")
    return float(text)
