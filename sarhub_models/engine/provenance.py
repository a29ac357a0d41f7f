"""Provenance of a run: the values of its recipe that decide, and digests of its samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ImageError, OptionError
from .batches import Files
from .readers import Scenes
from .recipe import completed
from .sections import Recipe
from .sources import Sources, Split

# What may differ between a run and its continuation without a change in what is computed.
_FREE = {
    "data": {"root", "lists", "shards", "workers"},
    "optim": {"batch_size"},
    "runtime": {"threads", "save_minutes"},
}
_SAMPLE = 16  # chips of a split whose pixels are looked at


def comparable(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a recipe that decides what is computed."""
    decides = {
        section: {name: value for name, value in values.items() if name not in _FREE.get(section, ())}
        for section, values in recipe.items()
    }
    if sources := decides.get("data", {}).get("sources"):
        decides["data"]["sources"] = {name: comparable({"data": source})["data"] for name, source in sources.items()}
    return decides


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Name the values in which two recipes differ."""
    there, now = dict(_values(one)), dict(_values(other))
    for name in dict.fromkeys((*now, *there)):
        if there.get(name) != now.get(name):
            yield f"{name}: {there.get(name)!r} there, {now.get(name)!r} now"


def _values(recipe: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in recipe.items():
        if isinstance(value, dict) and value:
            yield from _values(value, f"{place}{name}.")
        else:
            yield place + name, value


def check_same_run(folder: Path, stored: dict[str, Any], recipe: Recipe, others: Sequence[str]) -> None:
    """Check that a folder holds a run of this recipe.

    Args:
        folder: of the run.
        stored: its recipe, or the comparable part of it.
        recipe: of the run that shall go on, or be used, there.
        others: differences that were found beside the recipe's.

    Raises:
        OptionError: it is another run; the message names up to three differences.
    """
    now = comparable(recipe.model_dump(mode="json"))
    if found := [*differences(comparable(completed(stored)), now), *others]:
        raise OptionError(
            f"{folder} holds another run ({'; '.join(found[:3])}): take another folder with --out, or delete this one"
        )


def chips_digest(scenes: Scenes) -> str:
    """Return the digest of names, labels and names of the classes; no image is read."""
    content = [list(scenes.names), scenes.labels.tolist(), list(scenes.class_names)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def source_digest(source: Split) -> str:
    """Return the digest of a split: names, labels, names of the classes, and the pixels of some chips.

    Of shards the numbers of samples and the names of the classes are all.
    """
    if isinstance(source, Sources):
        parts = [[part.name, source_digest(part.split)] for part in source.parts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    if not isinstance(source, Files):
        content = [list(source.class_names), source.counts.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
    found = hashlib.sha256(chips_digest(source.scenes).encode())
    # names are often alike where the same scenes were processed in two ways; some pixels tell, all would take long
    for index in np.linspace(0, len(source) - 1, min(_SAMPLE, len(source))).round().astype(int).tolist():
        found.update(_pixels(source.scenes, index))
    return found.hexdigest()


def split_digests(train: Split, val: Split | None) -> dict[str, str | None]:
    """Return the digests of what is trained and validated on, as a run keeps them."""
    return {"train": source_digest(train), "val": None if val is None else source_digest(val)}


def _pixels(scenes: Scenes, index: int) -> bytes:
    try:
        image: Any = scenes[index].image
    except (ImageError, DataError):  # whoever trains on it decides what becomes of it
        return b"damaged"
    return f"{image.dtype} {image.shape}".encode() + np.ascontiguousarray(image).tobytes()
