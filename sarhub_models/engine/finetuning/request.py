"""The arguments and labels of a fine-tuning in the folder of its run: the same resume it, others are refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import OptionError
from ...io.files import digests, write_text
from ...io.images import list_images
from ...io.json_files import read_object
from ...io.tables import read_table, write_table
from .options import Options

SKIPPED = "skipped.csv"
_REQUEST = "finetune.json"
_MOVES = ("data", "labels", "masks", "boxes")  # may lie elsewhere when a run is resumed: what is in them is compared
_CONTENT = "content"
_GLANCE = 1 << 16  # bytes of a part of an image that is looked at
_OPTIONS = {
    "data.radiometry": "radiometry",
    "data.full_scale": "full_scale",
    "data.options.given": "bands",
    "data.options.band": "band",
    "data.options.nodata": "nodata",
}
"""Keys of a recipe that are options, too: the look at the images and the weights file's description need these."""


def check_folder(folder: Path, options: Options) -> None:
    """Refuse a folder of something else, and a run with other arguments, images or labels.

    Args:
        folder: of the run.
        options: of the run.

    Raises:
        OptionError: it is one, or an assignment has an option of its own.
    """
    for assignment in options.assignments:
        if option := _OPTIONS.get(key := assignment.partition("=")[0]):
            raise OptionError(f"{key} is an option of its own: give {option} (--{option.replace('_', '-')})")
    file = folder / _REQUEST
    if not file.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OptionError(f"{folder} holds something that 'sarhub finetune' did not make: take another folder")
        return
    there = read_object(file, keys=(), fix="take another folder")
    now = {key: value for key, value in _as_json(options).items() if key not in _MOVES}
    found = [f"{key}: {there.get(key)!r} there, {value!r} now" for key, value in now.items() if there.get(key) != value]
    if found:
        raise OptionError(
            f"{folder} holds a fine-tuning with other options ({'; '.join(found[:3])}): take another folder, or delete "
            "this one"
        )
    before = there.get(_CONTENT) or {}
    if changed := [key for key, digest in _content(folder, options).items() if before.get(key) != digest]:
        names = " and ".join("images" if key == "data" else key for key in changed)
        raise OptionError(
            f"the {names} changed since the fine-tuning in {folder} began: take another folder, or delete this one"
        )


def begin(folder: Path, options: Options, skipped: dict[str, str]) -> None:
    """Make the folder of a run, with its options, digests of images and labels, and why images are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(
        folder / _REQUEST, json.dumps({**_as_json(options), _CONTENT: _content(folder, options)}, indent=2) + "\n"
    )
    if skipped:
        file = folder / SKIPPED
        write_table([{"name": name, "reason": reason} for name, reason in skipped.items()], file)
        options.say(f"{len(skipped)} images are left out, {next(iter(skipped.values()))}; all of them: {file}")


def read_skipped(folder: Path) -> dict[str, str]:
    """Return why images were left out of a run, by their names."""
    file = folder / SKIPPED
    return {row["name"]: row["reason"] for row in read_table(file)} if file.is_file() else {}


def _as_json(options: Options) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(options.decided(), default=os.fspath))
    return values


def _content(folder: Path, options: Options) -> dict[str, str]:
    """Return the SHA-256 of the names and content of the images, and that of the files of each kind of labels."""
    root, run = options.files(), folder.resolve()
    images = [file for file in list_images(root) if run not in file.resolve().parents]  # without the run's own pictures
    found = {"data": _digest(f"{file.relative_to(root).as_posix()} {_glance(file)}" for file in images)}
    for key in _MOVES[1:]:
        if given := getattr(options, key, None):
            found[key] = _digest(_label_lines(key, Path(given), root))
    return found


def _label_lines(key: str, place: Path, root: Path) -> Iterable[str]:
    """Yield the name and digest of each file of labels."""
    files = {"": place}
    if place.is_dir():
        listed = list_images(place) if key == "masks" else sorted(place.glob("*.json"))
        files = {file.relative_to(place).as_posix(): file for file in listed}
    elif key == "masks":
        files |= {str(row["mask"]): root / str(row["mask"]) for row in read_table(place)}
    for name, file in files.items():
        yield f"{name} {digests(file).sha256 if file.is_file() else 'missing'}"


def _glance(file: Path) -> str:
    """Return a digest of a file's size, and of its whole content, or of large ones of the begin, middle and end."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            found = hashlib.sha256(str(size).encode())
            for place in (0, max(size // 2 - _GLANCE, _GLANCE), max(size - _GLANCE, 2 * _GLANCE)):
                stream.seek(place)
                found.update(stream.read(_GLANCE))
    except OSError:  # reading the image says what is wrong
        return "unreadable"
    return found.hexdigest()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
