"""Groups of windows that are done, each one file beside the output: what a run resumes from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..errors import CheckpointError, OptionError
from ..io.files import read_header, replacing, write_text

__all__ = ["Group", "Groups", "groups_folder"]

_MAKER = "run.json"


@dataclass(frozen=True)
class Group:
    """Some windows of a scene with what became of them; those that were left out are not among them.

    Attributes:
        indices: int64 (N,), in the plan, ascending.
        values: (N, channels, h, w).
        valid: bool (N, h, w), where the scene has data.
    """

    indices: np.ndarray
    values: np.ndarray
    valid: np.ndarray


def groups_folder(out: Path) -> Path:
    """Return the folder of the groups of an unfinished ``out``."""
    return Path(f"{out}.partial")


class Groups:
    """The groups of a run, by number, in a folder that all of its processes see.

    A group is written as a whole and twice the same; a damaged one counts as not done.

    Args:
        folder: of :func:`groups_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, maker: Mapping[str, Any]) -> None:
        """Create the folder, or go on with one that the same arguments made.

        Args:
            maker: all that decides what the groups hold, JSON-ready.

        Raises:
            OptionError: other arguments made it.
        """
        file, text = self.folder / _MAKER, json.dumps(maker, indent=1, sort_keys=True)
        if file.exists():
            differing = _differences(file.read_text(encoding="utf-8"), maker)
            if differing:
                raise OptionError(
                    f"{self.folder} comes from an unfinished run with other arguments ({', '.join(differing)}). Use "
                    "the same ones to resume, or delete it to start again"
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(file, text)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:08d}.safetensors"

    def save(self, number: int, group: Group) -> None:
        """Write a group."""
        tensors = {"indices": group.indices, "values": group.values, "valid": group.valid}
        with replacing(self._file(number)) as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, temporary)

    def load(self, number: int) -> Group | None:
        """Return a group, or ``None`` where it is not done or damaged."""
        try:
            return Group(**load_file(self._file(number)))
        except (OSError, SafetensorError, ValueError, TypeError):
            return None

    def done(self, number: int) -> bool:
        """Return whether a group is done, as its header and its size say."""
        try:
            read_header(self._file(number))
        except (OSError, CheckpointError):
            return False
        return True

    def remove_unused(self) -> None:
        """Remove the folder if nothing was computed yet."""
        if not any(self.folder.glob("*.safetensors")):
            self.remove()

    def remove(self) -> None:
        """Remove the folder, when the output is there."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _differences(text: str, maker: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments that differ."""
    try:
        known = json.loads(text)
        wanted = json.loads(json.dumps(maker))
        return [name for name in sorted({*known, *wanted}) if known.get(name) != wanted.get(name)]
    except (ValueError, TypeError, AttributeError):
        return ["its list of arguments is damaged"]
