"""Read the arrays of an ``.npz``, checked before anything is allocated: a few bytes may unpack to any number."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, ImageError
from .limits import check_array, check_member

__all__ = ["read_arrays"]


def read_arrays(file: Path, *, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of numbers or text.

    Args:
        file: an ``.npz``.
        keys: names of the arrays; by default all.

    Raises:
        DataError: the file is missing or damaged, lacks an array, holds Python objects, or an array has more values
            than :func:`~sarhub_models.io.limits.max_pixels` or its bytes can hold.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist() if keys is None else [f"{key}.npy" for key in keys]
            return {name.removesuffix(".npy"): _read(file, archive, archive.getinfo(name)) for name in names}
    except (OSError, KeyError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as err:
        if isinstance(err, FileNotFoundError):
            raise DataError(f"{file}: no such file") from err
        raise DataError(f"{file}: {err.args[0] if isinstance(err, KeyError) else err}") from err


def _read(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    check_member(info, file.stat().st_size)
    try:
        with archive.open(info) as stream:
            check_array(stream, info.file_size)
        with archive.open(info) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except ImageError as err:
        raise ImageError(f"{info.filename} {err}") from err
