"""Chips of MSTAR in .zip and .tar(.gz) archives, read where they lie.

A member has the path ``ARCHIVE/path/in/it``, as if the archive were a folder. Nothing but such paths is kept by a data
set: archives are opened by the process that reads, when it reads. Not even a damaged archive makes it read more than
the header of a member that is no chip, or than :data:`LARGEST` bytes.
"""

from __future__ import annotations

import gzip
import mmap
import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ....errors import DataError, ImageError
from .phoenix import PhoenixChip, PhoenixHeader, parse_header, parse_phoenix, read_header, read_phoenix

__all__ = ["CHIP", "LARGEST", "find_archives", "is_archive", "list_members", "read_chip", "read_chip_header"]

CHIP = re.compile(r"HB\d+\.\d{3}", re.IGNORECASE)
"""What a chip is called."""
LARGEST = 1 << 24
"""Bytes of a chip in an archive, at most; the published ones have 0.3 MiB."""
_HEAD = 1 << 14  # bytes that parse_header looks at
_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_BLOCK = 512  # of a tar archive
_FAULTS = (
    OSError,
    EOFError,
    RuntimeError,  # zipfile's for what is encrypted; NotImplementedError, for its other methods, is one, too
    ValueError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
)


def is_archive(name: str) -> bool:
    """Return whether a file is called like an archive that can be read."""
    return name.lower().endswith(_SUFFIXES)


def find_archives(root: Path) -> list[Path]:
    """Return the archives below a folder, sorted; hidden folders and files are passed over."""
    found = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if is_archive(name) and not name.startswith(".")]
    return sorted(found)


def list_members(archive: Path) -> tuple[list[Path], list[str]]:
    """Return the paths of the chips in an archive, sorted, and the names of archives in it.

    Raises:
        DataError: it is damaged, or cut off.
    """
    opened = _open(archive)
    return [archive / name for name in sorted(opened.sizes)], opened.nested


def read_chip_header(file: Path, *, chip: bool = True) -> PhoenixHeader:
    """Read the header of a chip, in a file or an archive; as :func:`.mstar.phoenix.read_header`.

    Raises:
        ImageError: it cannot be read, or is no Phoenix file or chip; the message names archive and member.
    """
    place = _place(file)
    if place is None:
        return read_header(file, chip=chip)
    with _naming(file):
        return _member_header(*place, chip)[0]


def read_chip(file: Path) -> PhoenixChip:
    """Read a chip, in a file or an archive.

    Raises:
        ImageError: it cannot be read, is no Phoenix chip, or is damaged; the message names archive and member.
    """
    place = _place(file)
    if place is None:
        return read_phoenix(file)
    with _naming(file):
        _, opened = _member_header(*place, True)
        return parse_phoenix(opened.read(place[1], LARGEST))


def _member_header(archive: Path, name: str, chip: bool) -> tuple[PhoenixHeader, _Zip | _Tar]:
    opened = _open(archive)
    if name not in opened.sizes:
        raise ImageError(f"no such member of {archive}")
    header = parse_header(opened.read(name, _HEAD))
    if chip:
        size = opened.sizes[name]
        if size > LARGEST:
            raise ImageError(f"expected a chip of at most {LARGEST} bytes, the archive says {size}; damaged?")
        header.check_size(size)
    return header, opened


def _place(file: Path) -> tuple[Path, str] | None:
    """Return archive and name of a member, or ``None`` for a file of its own."""
    for parent in file.parents:
        if is_archive(parent.name) and parent.is_file():
            return parent, file.relative_to(parent).as_posix()
    return None


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Make one error that names archive and member of whatever goes wrong."""
    try:
        yield
    except _FAULTS as err:
        raise ImageError(f"{file}: {_reason(err)}") from err


def _reason(err: Exception) -> str:
    return str(err) if isinstance(err, DataError | ImageError) else f"cannot be read ({err}); damaged, or cut off?"


def _open(archive: Path) -> _Zip | _Tar:
    """Return an archive, opened once a process, and again where it has changed.

    Raises:
        DataError: it is damaged, or cut off.
    """
    try:
        state = archive.stat()
        # a process that was forked would share its parent's position in the file
        return _opened(archive, state.st_mtime_ns, state.st_size, os.getpid())
    except _FAULTS as err:
        if isinstance(err, DataError):
            raise
        raise DataError(f"{archive}: damaged or cut off ({err}); fetch it again") from err


@lru_cache(maxsize=16)
def _opened(archive: Path, changed: int, size: int, process: int) -> _Zip | _Tar:
    return _Zip(archive) if archive.suffix.lower() == ".zip" else _Tar(archive)


def _inner(name: str) -> str | None:
    """Return the path of a member as it stands below the archive, or ``None`` where a part of it is hidden."""
    parts = PurePosixPath(name.replace("\\", "/").lstrip("/")).parts
    return None if not parts or any(part.startswith(".") for part in parts) else "/".join(parts)


class _Zip:
    """A .zip archive.

    Attributes:
        sizes: of each chip in bytes, as the archive says.
        nested: names of archives in it.
    """

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path)
        self._members = {}
        self.nested = []
        for info in self._file.infolist():
            name = _inner(info.filename)
            if name is None or info.is_dir():
                continue
            if CHIP.fullmatch(PurePosixPath(name).name):
                self._members[name] = info
            elif is_archive(name):
                self.nested.append(name)
        self.sizes = {name: info.file_size for name, info in self._members.items()}

    def read(self, name: str, count: int) -> bytes:
        """Return the beginning of a member, ``count`` bytes at most."""
        info = self._members[name]
        if info.flag_bits & 1:
            raise ImageError("encrypted; unpack the archive with its password, and move it elsewhere")
        with self._file.open(info) as stream:
            found = stream.read(count)
            if count > info.file_size:
                stream.read(1)  # the end of the member, where its checksum is verified
        if len(found) < min(count, info.file_size):
            raise ImageError(f"expected {info.file_size} bytes, found {len(found)}; cut off?")
        return found


class _Tar:
    """A .tar or .tar.gz archive. Chips of the latter are unpacked to a temporary file: it cannot be read from within.

    Attributes:
        sizes: of each chip in bytes, as the archive says.
        nested: names of archives in it.
    """

    def __init__(self, path: Path) -> None:
        self.sizes: dict[str, int] = {}
        self.nested: list[str] = []
        self._path = path
        self._starts: dict[str, int] = {}  # in the archive, or in the temporary file
        self._unpacked: mmap.mmap | None = None
        if path.suffix.lower() == ".tar":
            with path.open("rb") as stream:
                self._scan(stream, None)
            return
        with gzip.open(path) as stream, tempfile.TemporaryFile() as spool:
            self._scan(stream, spool)
            if spool.tell():
                spool.flush()
                self._unpacked = mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ)

    def _scan(self, stream: Any, spool: IO[bytes] | None) -> None:
        """List the members, and copy what is read of each chip to the temporary file, if there is one."""
        watched = _Watched(stream)
        with tarfile.open(fileobj=watched, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                name = _inner(member.name)
                if name is None or not member.isreg():
                    continue
                if CHIP.fullmatch(PurePosixPath(name).name):
                    self.sizes[name], self._starts[name] = member.size, member.offset_data
                    if spool is not None:
                        self._starts[name] = spool.tell()
                        data = archive.extractfile(member)
                        assert data is not None
                        spool.write(data.read(member.size if member.size <= LARGEST else _HEAD))
                elif is_archive(name):
                    self.nested.append(name)
            end = archive.offset
        while watched.read(1 << 20):  # gzip's checksum stands at the end
            pass
        # tarfile takes a header that it cannot read for the end
        if watched.position < end + _BLOCK or watched.content > end:
            raise DataError(f"{self._path}: damaged or cut off (no end after {end} bytes); fetch it again")

    def read(self, name: str, count: int) -> bytes:
        """Return the beginning of a member, ``count`` bytes at most."""
        start, count = self._starts[name], min(count, self.sizes[name])
        if self._unpacked is not None:
            found = self._unpacked[start : start + count]
        else:
            with self._path.open("rb") as stream:
                stream.seek(start)
                found = stream.read(count)
        if len(found) < count:
            raise ImageError(f"expected {count} bytes, found {len(found)}; cut off?")
        return found


class _Watched:
    """A stream that knows where it is, and where the last byte was that is not zero."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.position = self.content = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes."""
        found: bytes = self._stream.read(count)
        if kept := len(found.rstrip(b"\0")):
            self.content = self.position + kept
        self.position += len(found)
        return found
