"""What tells one split from another, whatever its place on this disk: SHA-256 in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from ..errors import DataError, ImageError
from .batches import Files
from .readers import Scenes
from .splits import Source

__all__ = ["chips_digest", "source_digest", "split_digests"]

_SAMPLE = 16  # chips of a split whose pixels are looked at


def chips_digest(scenes: Scenes) -> str:
    """Return the digest of names, labels and names of the classes; no image is read."""
    content = [list(scenes.names), scenes.labels.tolist(), list(scenes.class_names)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def source_digest(source: Source) -> str:
    """Return the digest of a split: names, labels, names of the classes, and the pixels of some chips.

    Of shards the numbers of samples and the names of the classes are all.
    """
    if not isinstance(source, Files):
        content = [list(source.class_names), source.counts.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
    found = hashlib.sha256(chips_digest(source.scenes).encode())
    # names are often alike where the same scenes were processed in two ways; some pixels tell, all would take long
    for index in np.linspace(0, len(source) - 1, min(_SAMPLE, len(source))).round().astype(int).tolist():
        found.update(_pixels(source.scenes, index))
    return found.hexdigest()


def split_digests(train: Source, val: Source | None) -> dict[str, str | None]:
    """Return the digests of what is trained and validated on, as a run keeps them."""
    return {"train": source_digest(train), "val": None if val is None else source_digest(val)}


def _pixels(scenes: Scenes, index: int) -> bytes:
    try:
        image: Any = scenes[index].image
    except (ImageError, DataError):  # whoever trains on it decides what becomes of it
        return b"damaged"
    return f"{image.dtype} {image.shape}".encode() + np.ascontiguousarray(image).tobytes()
