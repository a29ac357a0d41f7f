"""The arguments of a fine-tuning in the folder of its run: the same ones resume it, others are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ...errors import OptionError
from ...io.files import write_text
from ...io.json_files import read_object

_REQUEST = "finetune.json"
_MOVES = ("data", "labels", "masks", "boxes")  # may lie elsewhere when a run is resumed: what is in them is compared


def check_folder(folder: Path, request: Any) -> None:
    """Refuse a folder of something else, and a run with other arguments.

    Args:
        folder: of the run.
        request: a dataclass of the arguments.

    Raises:
        OptionError: it is one.
    """
    file = folder / _REQUEST
    if not file.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OptionError(f"{folder} holds something that 'sarhub finetune' did not make: take another folder")
        return
    there = read_object(file, keys=(), fix="take another folder")
    now = {key: value for key, value in _as_json(request).items() if key not in _MOVES}
    found = [f"{key}: {there.get(key)!r} there, {value!r} now" for key, value in now.items() if there.get(key) != value]
    if found:
        raise OptionError(
            f"{folder} holds a fine-tuning with other options ({'; '.join(found[:3])}): take another folder, or delete "
            "this one"
        )


def write_request(folder: Path, request: Any) -> None:
    """Write the arguments, a dataclass, into the folder of a run."""
    write_text(folder / _REQUEST, json.dumps(_as_json(request), indent=2) + "\n")


def _as_json(request: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(request)))
    return values
