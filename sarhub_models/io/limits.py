"""Refuse files of images before they are opened: pipes, sizes beyond a limit, sizes that the file cannot hold."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo

import numpy as np

from ..errors import ImageError, OptionError

__all__ = [
    "MAX_PIXELS",
    "check_array",
    "check_member",
    "check_regular",
    "check_scene",
    "check_size",
    "max_pixels",
    "read_array_header",
]

MAX_PIXELS = 2 * 89_478_485
"""Values in one image, all bands together, that are read at most; that of Pillow for pictures."""

_SCENE = 8
_LARGEST_ARRAY_HEADER = 10_000  # bytes; NumPy's own limit
_DEFLATE = 1100  # no deflated member grows by more

_VARIABLE = "SARHUB_MAX_PIXELS"


def max_pixels() -> int:
    """Return the limit: ``SARHUB_MAX_PIXELS``, or else :data:`MAX_PIXELS`.

    Raises:
        OptionError: the variable is no positive whole number.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise OptionError(f"expected {_VARIABLE} to be a positive whole number, got {text!r}")
    return int(text)


def check_size(shape: Sequence[int]) -> None:
    """Refuse an image of more values than the limit, before memory for it is asked for.

    Raises:
        ImageError: it is larger.
    """
    count, limit = math.prod(shape), max_pixels()
    if count > limit:
        size = " x ".join(str(int(side)) for side in shape)
        raise ImageError(
            f"holds {size} = {count} values, the limit is {limit}; cut it into tiles, or raise the limit with the "
            f"environment variable {_VARIABLE}"
        )


def read_array_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, whether it is in Fortran's order, and the dtype that the header of a NumPy file says.

    Raises:
        ValueError: it is no NumPy file, or one of a version for structured arrays.
    """
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ImageError(f"expected an array of numbers, got version {version} of the format")
    if version == (2, 0):  # NumPy asks for as much memory as the length claims before it compares it with its limit
        length = int.from_bytes(stream.read(4), "little")
        if length > _LARGEST_ARRAY_HEADER:
            raise ValueError(f"its header claims {length} bytes, at most {_LARGEST_ARRAY_HEADER} are read")
        stream.seek(-4, os.SEEK_CUR)
    try:
        shape, fortran, dtype = readers[version](stream)
    except (SyntaxError, TokenError, TypeError, RecursionError) as err:  # it is Python's syntax
        raise ValueError(f"its header cannot be parsed ({type(err).__name__})") from err
    if max(shape, default=0) > np.iinfo(np.intp).max:  # of an array without values, too
        raise ValueError("its shape is larger than any array's")
    return shape, fortran, dtype


def check_array(stream: IO[bytes], size: int) -> tuple[int, ...]:
    """Return the shape that the header of a NumPy file says, and check it before memory for it is asked for.

    Args:
        stream: at the begin of the file; the header is read.
        size: of the file in bytes.

    Raises:
        ImageError: it is of Python objects, has more values than the limit, or takes more bytes than there are.
        ValueError: it is no NumPy file.
    """
    shape, _, dtype = read_array_header(stream)
    if dtype.hasobject:
        raise ImageError("no array of numbers; Python objects (pickle) can run code and are never loaded")
    if min(shape, default=0) < 0:
        raise ImageError(f"cannot be read as an array: its shape is {shape}; damaged?")
    check_size(shape)
    needed, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if needed > there:
        raise ImageError(f"cannot be read as an array: {shape} takes {needed} bytes, {there} are there; truncated?")
    return shape


def check_member(info: ZipInfo, size: int) -> None:
    """Refuse a member of a zip archive that says more bytes than it can hold, before it is unpacked.

    Args:
        info: the member.
        size: of the archive in bytes.

    Raises:
        ImageError: it is compressed without bounds, or is longer than its compressed bytes or the archive allow.
    """
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ImageError(f"expected a stored or deflated array, got method {info.compress_type}")
    if info.compress_size > size or info.file_size > _DEFLATE * (info.compress_size + 64):
        raise ImageError(f"an array of {info.file_size} bytes does not fit {info.compress_size} compressed ones")


def check_scene(shape: Sequence[int], side: int | None) -> None:
    """Refuse a scene that would be squeezed to the input of a network, of which nothing would be left.

    Args:
        shape: (..., H, W).
        side: of the input in pixels; ``None``: nothing is resized.

    Raises:
        ImageError: a side is more than eight times that of the input.
    """
    height, width = shape[-2:]
    if side is not None and max(height, width) > _SCENE * side:
        raise ImageError(
            f"a scene of {height} x {width} pixels would be squeezed to {side} x {side}; cut it into tiles of about "
            f"{side} pixels, or at most {_SCENE * side}, crop what matters, or walk over it with 'sarhub scene'"
        )


def check_regular(file: Path) -> None:
    """Refuse what is no regular file, without opening it: a pipe would be waited for without end.

    Raises:
        ImageError: there is no such file, or it is a folder, pipe, socket or device; the message names it.
    """
    try:
        mode = file.stat().st_mode
    except FileNotFoundError as err:
        broken = "; the link leads nowhere" if file.is_symlink() else ""
        raise ImageError(f"{file}: no such file{broken}") from err
    except (OSError, ValueError) as err:
        raise ImageError(f"{file}: cannot be opened ({err})") from err
    if stat.S_ISDIR(mode):
        raise ImageError(f"{file}: no such file, but a folder")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{file}: no regular file but a pipe, socket or device")
