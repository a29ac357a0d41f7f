"""Records of what a result was computed from, and the one comparison with what is asked for now.

Settings name folders and files. These may be moved, and something else may come to lie there; so the digests of what
was read are recorded, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sarhub_models import model_info
from sarhub_models.engine.provenance import source_digest
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import OptionError
from sarhub_models.io.files import digests, write_text
from sarhub_models.io.json_files import read_object
from sarhub_models.zoo.manifest import ModelInfo

from .initializations import ANY

__all__ = ["Provenance", "RecipeInputs", "check_record", "recipe_settings", "write_record"]

RECORD = "provenance.json"
_DIGEST = re.compile("[0-9a-f]{64}")
_SHOWN = 12  # digits of a digest in a message
_UNTRACKED = ("log.txt", ".lock")  # files of a folder that are no results
# What may differ without a change in what is computed; what lies at these places is compared by its content.
_FREE = {"data": ("root", "lists", "workers"), "runtime": ("threads", "save_minutes")}


def write_record(file: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON."""
    write_text(file, json.dumps(record, indent=2) + "\n")


def check_record(file: Path, record: Mapping[str, Any], advice: str = "take another folder with --out") -> None:
    """Check that what lies beside a record was computed from the same.

    Args:
        file: the record that was written then.
        record: what it should say; values of JSON.
        advice: what to do otherwise, beside deleting the folder.

    Raises:
        OptionError: it says something else, or is missing or damaged.
    """
    try:
        stored = read_object(file)
    except OSError:  # missing or damaged
        raise OptionError(
            f"{file.parent} does not say what its results come from ({file.name}): {advice}, or delete it; results of "
            "earlier versions: python -m benchmarks.convert"
        ) from None
    if found := list(_differences(stored, json.loads(json.dumps(record)))):
        kind = found[0].partition(":")[0].partition(".")[0]
        what = {"data": "data", "weights": "starting weights"}.get(kind, "settings")
        shown = "; ".join(found[:3])
        raise OptionError(f"{file.parent} holds results of other {what} ({shown}): {advice}, or delete it")


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    flat_there, flat_now = dict(_flat(there)), dict(_flat(now))
    for key in dict.fromkeys((*flat_now, *flat_there)):
        one, other = flat_there.get(key), flat_now.get(key)
        if one != other:
            yield f"{key.removeprefix('settings.')}: {_short(one)} there, {_short(other)} now"


def _flat(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Give the values of nested mappings by dotted key."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _flat(value, f"{key}.{name}" if key else name)
    else:
        yield key, node


def _short(value: Any) -> str:
    digest = str(value).removeprefix("sha256 ")
    return f"SHA-256 {digest[:_SHOWN]}" if _DIGEST.fullmatch(digest) else repr(value)


@dataclass(frozen=True)
class Provenance:
    """Inputs that the result of a trial follows from.

    Attributes:
        settings: all that was chosen; values of JSON.
        data: digests of what was read, by name.
        weights: digest of the starting weights, ``None`` where there are none, or timm's.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, str | None] = field(default_factory=dict)
    weights: str | None = None

    def check(self, folder: Path) -> None:
        """Check that a folder holds nothing, or what was computed from the same.

        Raises:
            OptionError: it holds something else, or does not say what its results come from.
        """
        if (folder / RECORD).is_file() or _results(folder):
            check_record(folder / RECORD, asdict(self))

    def matches(self, folder: Path) -> bool:
        """Return whether a folder holds what was computed from the same."""
        try:
            check_record(folder / RECORD, asdict(self))
        except OptionError:
            return False
        return True

    def check_beside(self, folders: Iterable[Path], free: Collection[str]) -> None:
        """Check that other results, of one table with these, differ in nothing but the weights and ``free``.

        Args:
            folders: of the others; those without a record are left out.
            free: keys of the settings, dotted, that may differ.

        Raises:
            OptionError: some were computed by other settings or from other data.
        """
        may = {"weights", *(f"settings.{key}" for key in free)}
        now = {key: value for key, value in _flat(json.loads(json.dumps(asdict(self)))) if key not in may}
        for folder in folders:
            if not (folder / RECORD).is_file():
                continue
            there = {key: value for key, value in _flat(read_object(folder / RECORD)) if key not in may}
            if found := list(_differences(there, now)):
                raise OptionError(
                    f"{folder} holds results of other settings or data ({'; '.join(found[:3])}), which would stand in "
                    "one table with these: take another folder with --out"
                )

    def keep(self, folder: Path) -> None:
        """Write the record into the folder of what is computed now."""
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / RECORD, asdict(self))


def _results(folder: Path) -> bool:
    return folder.is_dir() and any(path.name not in _UNTRACKED and path.is_file() for path in folder.iterdir())


def recipe_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the part of a recipe that decides what comes out, as JSON-ready sections."""
    return {
        section: {name: value for name, value in values.items() if name not in _FREE.get(section, ())}
        for section, values in recipe.model_dump(mode="json").items()
    }


class RecipeInputs:
    """Reads what recipes are computed from: each split and each file of weights once, however many trials use it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def read(self, recipe: Recipe) -> Provenance:
        """Return the provenance of a training by a recipe and its test.

        Raises:
            SarHubError: the chips cannot be opened, as :func:`~sarhub_models.engine.splits.open_source` says.
        """
        splits = {"train": recipe.data.train, "val": recipe.evaluation.split, "test": recipe.data.test}
        data = {name: self._split(recipe, split) for name, split in splits.items() if split is not None}
        return Provenance(recipe_settings(recipe), data, self.weights(recipe.model.init))

    def _split(self, recipe: Recipe, split: str) -> str:
        data = recipe.data.model_copy(update={"train": split, "test": split, "fraction": 1.0})
        key = data.model_dump_json()
        if key not in self._known:
            self._known[key] = source_digest(open_source(data, split))
        return self._known[key]

    def weights(self, init: str) -> str | None:
        """Return the digest of starting weights: of a name that of its entry, ``None`` for none and timm's."""
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
