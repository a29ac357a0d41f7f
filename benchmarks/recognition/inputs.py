"""What a result was computed from: the chips and the starting weights, whatever their place on this disk.

Settings name folders and files. These may be moved, and something else may come to lie there; so the digests of what
was read are kept with each result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarhub_models.errors import ImageError, OptionError
from sarhub_models.weights.files import digests, write_text
from training.batches import Files
from training.checkpoint import LAST
from training.data import Source, open_source
from training.recipe import Recipe
from training.run import SUMMARY
from training.sources import Scenes

from .starts import ANY

__all__ = ["Inputs", "InputsReader", "chips_digest"]

RECORD = "inputs.json"
_SHOWN = 12  # digits of a digest in a message
_SAMPLE = 16  # chips of a split whose pixels are looked at


@dataclass(frozen=True)
class Inputs:
    """Digests of what a result was computed from, SHA-256 in hexadecimal.

    Attributes:
        train: the training split: names, labels, names of the classes, and the pixels of some chips.
        test: the test split, likewise.
        weights: the file of the starting weights; ``None`` where they have a name and no file.
    """

    train: str
    test: str
    weights: str | None

    def check(self, folder: Path, stored: object) -> None:
        """Check that what lies in a folder was computed from the same.

        Args:
            folder: to be named in the message.
            stored: what is kept with the results, as :func:`dataclasses.asdict` gives it.

        Raises:
            OptionError: it was computed from something else, or that is not known.
        """
        if stored == asdict(self):
            return
        advice = "take another folder with --out, or delete it"
        if not isinstance(stored, Mapping) or set(stored) != set(asdict(self)):
            raise OptionError(f"{folder} does not say which chips and weights its results come from: {advice}")
        for name, what in (("train", "chips to train on"), ("test", "test chips"), ("weights", "starting weights")):
            there, now = stored[name], asdict(self)[name]
            if there != now:
                raise OptionError(
                    f"{folder} holds results of other {what} (SHA-256 {str(there)[:_SHOWN]} there, "
                    f"{str(now)[:_SHOWN]} now): {advice}"
                )

    def check_training(self, folder: Path) -> None:
        """Check that a training that a folder holds, finished or not, was started with the same.

        Raises:
            OptionError: as :meth:`check` says.
        """
        if not any((folder / name).is_file() for name in (SUMMARY, LAST)):
            return
        try:
            stored = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stored = None
        self.check(folder, stored)

    def keep(self, folder: Path) -> None:
        """Write the digests beside a training that begins or goes on.

        Raises:
            OptionError: as :meth:`check_training` says.
        """
        self.check_training(folder)
        write_text(folder / RECORD, json.dumps(asdict(self), indent=2) + "\n")


class InputsReader:
    """Reads each split and each file of weights once, however many cells use it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def read(self, recipe: Recipe) -> Inputs:
        """Return the digests of what a recipe computes from.

        Raises:
            SarHubError: the chips cannot be opened, as :func:`~training.data.open_source` says.
        """
        train, test = (self._split(recipe, split) for split in (recipe.data.train, recipe.data.test))
        init = recipe.model.init
        file = Path(init).expanduser()
        return Inputs(train, test, self._weights(file) if init not in ANY and file.is_file() else None)

    def _split(self, recipe: Recipe, split: str) -> str:
        data = recipe.data.model_copy(update={"train": split, "test": split, "fraction": 1.0})
        key = data.model_dump_json()
        if key not in self._known:
            self._known[key] = _source_digest(open_source(data, split))
        return self._known[key]

    def _weights(self, file: Path) -> str:
        if str(file) not in self._known:
            self._known[str(file)] = digests(file).sha256
        return self._known[str(file)]


def chips_digest(scenes: Scenes) -> str:
    """Return the digest of names, labels and names of the classes; no image is read."""
    content = [list(scenes.names), scenes.labels.tolist(), list(scenes.class_names)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _source_digest(source: Source) -> str:
    if not isinstance(source, Files):  # of a stream the settings say the place, and its index the classes
        content = [list(source.class_names), source.counts.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
    found = hashlib.sha256(chips_digest(source.scenes).encode())
    # names are often alike where the same scenes were processed in two ways; some pixels tell, all would take long
    for index in np.linspace(0, len(source) - 1, min(_SAMPLE, len(source))).round().astype(int).tolist():
        found.update(_pixels(source.scenes, index))
    return found.hexdigest()


def _pixels(scenes: Scenes, index: int) -> bytes:
    try:
        image: Any = scenes[index].image
    except ImageError:  # whoever trains on it decides what becomes of it
        return b"damaged"
    return f"{image.dtype} {image.shape}".encode() + np.ascontiguousarray(image).tobytes()
