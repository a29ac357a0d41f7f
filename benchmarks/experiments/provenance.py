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

from sarhub_models import model_info
from sarhub_models.engine.checkpoint import LAST
from sarhub_models.engine.provenance import source_digest
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import SUMMARY
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import OptionError
from sarhub_models.io.files import digests, write_text
from sarhub_models.zoo.manifest import ModelInfo

from .initializations import ANY

__all__ = ["Inputs", "InputsReader"]

RECORD = "inputs.json"
_SHOWN = 12  # digits of a digest in a message


@dataclass(frozen=True)
class Inputs:
    """Digests of what a result was computed from, SHA-256 in hexadecimal.

    Attributes:
        train: the training split: names, labels, names of the classes, and the pixels of some chips.
        test: the test split, likewise.
        weights: the file of the starting weights; of a registered name, what the list of weights says of the file
            and its preprocessing; ``None`` for those of timm, and for none.
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
            SarHubError: the chips cannot be opened, as :func:`~sarhub_models.engine.splits.open_source` says.
        """
        train, test = (self._split(recipe, split) for split in (recipe.data.train, recipe.data.test))
        return Inputs(train, test, self._weights(recipe.model.init))

    def _split(self, recipe: Recipe, split: str) -> str:
        data = recipe.data.model_copy(update={"train": split, "test": split, "fraction": 1.0})
        key = data.model_dump_json()
        if key not in self._known:
            self._known[key] = source_digest(open_source(data, split))
        return self._known[key]

    def _weights(self, init: str) -> str | None:
        if init in ANY:
            return None
        if init not in self._known:
            file = Path(init).expanduser()
            self._known[init] = digests(file).sha256 if file.is_file() else _entry_digest(model_info(init))
        return self._known[init]


def _entry_digest(info: ModelInfo) -> str:
    preprocessing = {name: value for name, value in asdict(info.preprocessing).items() if name != "note"}
    entry = {"checksum": info.checksum and asdict(info.checksum), "preprocessing": preprocessing}
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
