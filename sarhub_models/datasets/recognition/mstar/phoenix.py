"""The Phoenix format, in which the chips of MSTAR were published.

A file is an ASCII header, ``[PhoenixHeaderVer01.04]`` to ``[EndofPhoenixHeader]`` with lines ``key= value``, then a
native header that chips do not have (length 0), then magnitude and phase, one after the other, as big-endian float32
row by row. The header says how long it is (``PhoenixHeaderLength``, ``native_header_length``) and how large the chip
(``NumberOfRows``, ``NumberOfColumns``). Nothing is allocated before these numbers agree with the length of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....errors import ImageError
from ...archives import open_member
from ...lists import AnyPath

__all__ = ["LARGEST", "PhoenixChip", "PhoenixHeader", "parse_header", "parse_phoenix", "read_header", "read_phoenix"]

LARGEST = 1 << 24
"""Bytes of a chip, at most; the published ones have 0.3 MiB."""
_START, _END = b"[PhoenixHeaderVer", b"[EndofPhoenixHeader]"
_LARGEST_HEADER = 1 << 14  # published ones have 2 KiB; a foreign file is not searched further than this
_COUNT = re.compile(r"[0-9]{1,9}")
_LAYOUT = ("PhoenixHeaderLength", "native_header_length", "NumberOfRows", "NumberOfColumns")


@dataclass(frozen=True)
class PhoenixHeader:
    """The header of a Phoenix file.

    Attributes:
        fields: every ``key= value``, as text; ``TargetType``, ``TargetSerNum``, ``TargetAz``, ``DesiredDepression``, …
        rows: height of the chip, in pixels.
        columns: width of the chip, in pixels.
        offset: where the magnitude begins, in bytes.
    """

    fields: Mapping[str, str]
    rows: int
    columns: int
    offset: int

    def check_size(self, size: int) -> None:
        """Check that a file is as long as this header says.

        Raises:
            ImageError: it is not, or longer than any chip; a scene of 16-bit values is told apart from a damaged chip.
        """
        count = self.rows * self.columns
        what = f"{self.rows} by {self.columns} pixels"
        if size == self.offset + 4 * count:
            raise ImageError(f"a scene of 16-bit values, {what}; expected a chip of float32 magnitude and phase")
        if size > LARGEST:
            raise ImageError(f"expected a chip of at most {LARGEST} bytes, got {size}; damaged?")
        if size != self.offset + 8 * count:
            expected = f"expected {self.offset + 8 * count} bytes for a chip of {what}"
            raise ImageError(f"{expected}, found {size}; truncated or damaged?")


@dataclass(frozen=True)
class PhoenixChip:
    """A chip.

    Attributes:
        header: what its header says.
        magnitude: float32 (H, W), 0 or above.
        phase: float32 (H, W), radians.
    """

    header: PhoenixHeader
    magnitude: np.ndarray
    phase: np.ndarray


def parse_phoenix(data: bytes) -> PhoenixChip:
    """Return the chip in the bytes of a Phoenix file.

    Raises:
        ImageError: they are no Phoenix chip, are cut off or too long, or hold a value that is no magnitude or phase.
    """
    header = parse_header(data)
    header.check_size(len(data))
    count = header.rows * header.columns
    values = np.frombuffer(data, ">f4", 2 * count, header.offset).astype(np.float32)
    magnitude, phase = values.reshape(2, header.rows, header.columns)
    finite = np.isfinite(values)
    if not finite.all():
        raise ImageError(f"{int((~finite).sum())} values of the chip are NaN or infinite; damaged?")
    if magnitude.min() < 0:
        raise ImageError(f"expected magnitudes of 0 or above, got {magnitude.min():.4g}; damaged?")
    return PhoenixChip(header, magnitude, phase)


def parse_header(data: bytes) -> PhoenixHeader:
    """Return the header at the beginning of the bytes of a Phoenix file.

    Raises:
        ImageError: they do not begin with a header, it is cut off, or it does not say how large the chip is.
    """
    head = data[:_LARGEST_HEADER]
    if not head.lstrip().startswith(_START):
        raise ImageError(f"no Phoenix file; expected a header that begins with {_START.decode()}…]")
    end = head.find(_END)
    if end < 0:
        raise ImageError(f"expected {_END.decode()} within {_LARGEST_HEADER} bytes, found none; truncated or damaged?")
    fields = _fields(head[:end].decode("latin-1"))
    length, native, rows, columns = (_count(fields, key) for key in _LAYOUT)
    if length < end + len(_END):
        raise ImageError(f"PhoenixHeaderLength is {length}, but the header ends at byte {end + len(_END)}; damaged?")
    if rows == 0 or columns == 0:
        raise ImageError(f"expected at least one pixel, got {rows} rows and {columns} columns")
    return PhoenixHeader(fields, rows, columns, length + native)


def read_phoenix(path: AnyPath) -> PhoenixChip:
    """Read the chip of a Phoenix file, or of one in a .zip archive, ``ARCHIVE.zip/path/in/it``.

    Raises:
        ImageError: the file cannot be read, is no Phoenix chip, or is damaged; the message names it.
    """
    with open_member(path) as (file, size):
        head = file.read(_LARGEST_HEADER)
        parse_header(head).check_size(size)  # a foreign file may be of any size
        data = head + file.read(size + 1 - len(head))  # to the end, where an archive verifies the checksum
        return parse_phoenix(data)


def read_header(path: AnyPath, *, chip: bool = True) -> PhoenixHeader:
    """Read the header of a Phoenix file, or of one in a .zip archive.

    Args:
        path: the file, or ``ARCHIVE.zip/path/in/it``.
        chip: check that the file is as long as a chip of that header; ``False`` also takes scenes.

    Raises:
        ImageError: the file cannot be read, or is no Phoenix file or chip; the message names it.
    """
    with open_member(path) as (file, size):
        header = parse_header(file.read(_LARGEST_HEADER))
        if chip:
            header.check_size(size)
    return header


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in re.split(r"[\r\n]+", text):
        key, equals, value = (part.strip() for part in line.partition("="))
        if equals and fields.setdefault(key, value) != value and key in _LAYOUT:
            raise ImageError(f"the header says {key} twice, {fields[key]!r} and {value!r}; damaged?")
    return fields


def _count(fields: Mapping[str, str], key: str) -> int:
    value = fields.get(key)
    if value is None or _COUNT.fullmatch(value) is None:
        raise ImageError(f"expected a header with {key}= and a number, got {value!r}; damaged?")
    return int(value)
