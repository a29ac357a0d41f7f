"""MSTAR as it mostly circulates: chips as JPEG or PNG, 255 × magnitude / maximum, in the folders of the CDs.

They have no header: the folders tell the vehicle (``BTR_60``), the depression angle (``17_DEG``) and, where there are
several of a type, the serial number (``SN_9563``; ``A04`` on the CDs of the T-72's variants).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ....errors import ImageError
from ....io.limits import check_size
from ...archives import open_member

__all__ = ["is_picture", "picture_folders", "picture_size", "read_picture"]

_SUFFIXES = (".jpg", ".jpeg", ".png")
_LARGEST = 1 << 20  # bytes; the published ones have some 2 KiB
_DEPRESSION = re.compile(r"(\d{2})_?DEG(?:REES)?", re.IGNORECASE)
_SERIAL = re.compile(r"SN_?(\w+)", re.IGNORECASE)
_VARIANTS = re.compile(r"(T_?72)_VARIANTS", re.IGNORECASE)


def is_picture(file: Path) -> bool:
    """Return whether a chip is a picture, by its name."""
    return file.suffix.lower() in _SUFFIXES


def picture_folders(folders: Iterable[str]) -> tuple[list[str], str, int | None]:
    """Return what the folders of a picture say.

    Args:
        folders: their names, from the root on.

    Returns:
        Names that may be those of a vehicle, the likeliest first; the serial number, in lower case, or ``""``; the
        depression angle in degrees, or ``None``.
    """
    inner = list(folders)[::-1]
    serials = [match[1].lower() for name in inner if (match := _SERIAL.fullmatch(name))]
    angles = [int(match[1]) for name in inner if (match := _DEPRESSION.fullmatch(name))]
    types = [match[1] for name in inner if (match := _VARIANTS.search(name))]
    if types and not serials:
        serials = [inner[0].lower()]
    return [*inner, *types], next(iter(serials), ""), next(iter(angles), None)


def read_picture(path: Path) -> np.ndarray:
    """Read a picture, or one in a .zip archive, ``ARCHIVE.zip/path/in/it``.

    Returns:
        Magnitude over its maximum, float32 (H, W) in [0, 1].

    Raises:
        ImageError: it cannot be read, is damaged, or is no gray picture of 8 bits; the message names it.
    """
    return np.asarray(_decoded(path), dtype=np.float32) / 255


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width in pixels; raises as :func:`read_picture`."""
    width, height = _decoded(path).size
    return height, width


def _decoded(path: Path) -> Image.Image:
    with open_member(path) as (file, size):
        if size > _LARGEST:
            raise ImageError(f"expected a chip of at most {_LARGEST} bytes, got {size}; damaged?")
        try:
            with Image.open(BytesIO(file.read(_LARGEST + 1))) as picture:
                check_size((picture.height, picture.width))
                gray = picture.convert("L") if picture.mode == "RGB" else picture.copy()
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as err:
            raise ImageError(f"no picture, or damaged ({err})") from err
        if gray.mode != "L":
            raise ImageError(f"expected a gray picture of 8 bits, got mode {gray.mode}")
        return gray
