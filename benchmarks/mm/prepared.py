"""Folders of images that a command prepares for the MM packages: written once, complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from benchmarks.experiments.provenance import check_record, write_record
from sarhub_models.errors import DataError

__all__ = ["CLASSES_FILE", "RECORD", "prepare_folder", "write_png"]

CLASSES_FILE = "classes.txt"  # of masks: a name a line, the first is that of 0
RECORD = "settings.json"


def write_png(image: np.ndarray, file: Path) -> None:
    """Write uint8 (H, W) as a grayscale PNG."""
    Image.fromarray(image).save(file)


def prepare_folder(out: Path, settings: Mapping[str, Any], fill: Callable[[Path], None]) -> bool:
    """Let ``fill`` write a folder, unless it is there already; it appears complete or not at all.

    Args:
        out: the folder.
        settings: all that decides what ``fill`` writes, to be kept in ``settings.json``; plain values of JSON.
        fill: gets the folder to write to, which is empty.

    Returns:
        Whether it was written; ``False`` where a folder with the same settings was there.

    Raises:
        OptionError: the folder was written with other settings.
        DataError: the folder holds something else.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_name(f".{out.name}.lock")):
        if (out / RECORD).is_file():
            check_record(out / RECORD, settings, "give another folder")
            return False
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise DataError(f"{out} is not empty and holds no {RECORD}; give a new folder")
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
        partial.mkdir()
        fill(partial)
        write_record(partial / RECORD, settings)
        if out.is_dir():
            out.rmdir()
        partial.replace(out)
    return True
