"""Hash files, read the header of safetensors, write atomically, check names.

Imports no torch, so that ``sarhub list`` may ask the cache without paying for it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError, ManifestError, OptionError

__all__ = [
    "CONTENT",
    "Digests",
    "abandoned",
    "check_name",
    "clear_abandoned",
    "content_digest",
    "copy_and_hash",
    "digests",
    "is_name",
    "keep_inputs",
    "metadata",
    "no_links",
    "open_file",
    "read_header",
    "replace_atomically",
    "replacing",
    "write_text",
]

CONTENT = "content_sha256"  # metadata key of the digest that a converted file carries of itself

_CHUNK = 1 << 20
_LARGEST_HEADER = 16_000_000  # of 60,000 tensors; the format allows more, which takes minutes to parse
_TEMPORARY = ".tmp"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")  # with what is added, file systems take it


@dataclass(frozen=True)
class Digests:
    """The two hashes by which a released file may be known.

    Attributes:
        sha256: SHA-256 of the bytes, lower-case hexadecimal.
        git_blob: git's blob id, SHA-1 over ``b"blob <size>\\0"`` and the bytes, lower-case hexadecimal.
    """

    sha256: str
    git_blob: str

    def by(self, algorithm: str) -> str:
        """Return the digest of a manifest's algorithm.

        Args:
            algorithm: ``"sha256"``, ``"sha256-prefix"`` (gives the whole SHA-256) or ``"git-blob"``.

        Raises:
            ManifestError: the algorithm is another one.
        """
        known = {"sha256": self.sha256, "sha256-prefix": self.sha256, "git-blob": self.git_blob}
        if algorithm not in known:
            raise ManifestError(f"unknown checksum algorithm {algorithm!r}; expected one of {', '.join(known)}")
        return known[algorithm]


def is_name(name: str) -> bool:
    """Return ``True`` if ``name`` is a plain file name that cannot lead out of its folder."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return ``name`` if it is a plain file name that cannot lead out of its folder.

    Raises:
        ManifestError: it holds a separator, starts with a dot, is empty, or has another unsafe character.
    """
    if not is_name(name):
        raise ManifestError(
            f"{name!r} is not a plain file name: expected letters, digits, '_', '-' and '.', not starting with a dot"
        )
    return name


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it has: Python would reserve memory for all that a length claims."""

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, or what is left."""
        if size is not None and size > _CHUNK:
            size = min(size, max(os.fstat(self.fileno()).st_size - self.tell(), 0))
        return super().read(size)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        CheckpointError: it is a pipe, a socket or a device, which would be waited for without end.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise CheckpointError(f"{path} is no regular file but a folder, pipe, socket or device")
    return _Bounded(io.FileIO(handle))


def no_links(path: str, flags: int) -> int:
    """Open a file for :func:`open`, refusing a symbolic link that somebody put in its place."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def digests(path: Path) -> Digests:
    """Hash a file, reading it once."""
    with open_file(path) as file:
        return _hash(_chunks(file), os.fstat(file.fileno()).st_size)


def _hash(chunks: Iterable[bytes], size: int) -> Digests:
    """Hash bytes as they pass.

    Args:
        chunks: the bytes.
        size: their number, which a git blob begins with.
    """
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for chunk in chunks:
        sha256.update(chunk)
        blob.update(chunk)
    return Digests(sha256.hexdigest(), blob.hexdigest())


def copy_and_hash(path: Path, target: Path) -> Digests:
    """Copy a file and return the hashes of just the bytes that were copied, whatever becomes of ``path`` meanwhile.

    Raises:
        CheckpointError: it is no regular file.
        OSError: it cannot be read, or ``target`` not written.
    """

    def copied() -> Iterator[bytes]:
        for chunk in _chunks(file):
            out.write(chunk)
            yield chunk

    with open_file(path) as file, open(target, "wb", opener=no_links) as out:
        size = os.fstat(file.fileno()).st_size
        found = _hash(copied(), size)
        if out.tell() != size:
            raise CheckpointError(f"{path} was written while it was read; try again")
    return found


def _chunks(file: BinaryIO, start: int = 0) -> Iterator[bytes]:
    file.seek(start)
    while chunk := file.read(_CHUNK):
        yield chunk


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read the header of a safetensors file and check that the file is as long as the header says.

    Args:
        path: the file.

    Returns:
        The parsed header (tensor name to dtype, shape and offsets, and ``__metadata__``) and the offset in bytes
        at which the tensors begin.

    Raises:
        CheckpointError: the file is not safetensors, or is truncated or over-long.
        OSError: the file cannot be read.
    """
    with open_file(path) as file:
        return _header(path, file)


def _header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise CheckpointError(f"{path} is not a safetensors file, or is cut off within its header ({size} bytes)")
    if length > _LARGEST_HEADER:
        raise CheckpointError(f"{path} has a header of {length} bytes; expected at most {_LARGEST_HEADER}")
    try:
        header = json.loads(file.read(length))
        known = header.get("__metadata__", {})
        if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
            raise TypeError("__metadata__ must hold texts by name")
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        if not all(type(end) is int for end in ends):
            raise TypeError("data_offsets must be whole numbers")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as err:
        raise CheckpointError(f"{path} is not a safetensors file: its header cannot be parsed ({err})") from err
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise CheckpointError(f"{path} is truncated or damaged: expected {expected} bytes, found {size}")
    return header, 8 + length


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, without control characters, which a terminal would obey.

    Raises:
        CheckpointError: the file is not an intact safetensors file.
    """
    found = read_header(path)[0].get("__metadata__", {})
    return {key: "".join(c if c.isprintable() or c == "\n" else "?" for c in value) for key, value in found.items()}


def content_digest(path: Path) -> str:
    """Return the SHA-256 over the tensors of a safetensors file: names, types, shapes and bytes, not the metadata.

    A converted file carries this digest in its own metadata (key :data:`CONTENT`), so it can be verified wherever
    it was copied to.

    Raises:
        CheckpointError: the file is not an intact safetensors file.
    """
    with open_file(path) as file:
        header, start = _header(path, file)
        header.pop("__metadata__", None)
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for chunk in _chunks(file, start):
            digest.update(chunk)
    return digest.hexdigest()


def keep_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Args:
        outputs: files to be written, which may exist.
        inputs: files that are read, under whatever names.

    Raises:
        OptionError: an output is an input.
    """
    read = {(status.st_dev, status.st_ino) for status in (file.stat() for file in inputs if file.exists())}
    for file in outputs:
        if file.exists() and (file.stat().st_dev, file.stat().st_ino) in read:
            raise OptionError(f"{file} is read, and would be replaced by the result: give another name for that")


def replace_atomically(temporary: Path, target: Path) -> None:
    """Put a finished temporary file in the place of ``target`` so that no reader ever sees a part of it.

    Both must be on one file system. The bytes are forced to the disk before the name changes: after a power cut
    the name stands for the old file or for the whole new one.
    """
    with temporary.open("rb" if os.name == "posix" else "rb+") as file:  # it may be read-only
        os.fsync(file.fileno())
    os.replace(temporary, target)  # noqa: PTH105 (named after the guarantee it gives)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield the path of an empty temporary file; when the block ends, it replaces ``target``.

    The folder of ``target`` is created. The temporary file lies in a folder of its own beside ``target``, with a name
    that no other process has and that holds whatever a library writes beside its output. The file gets the permissions
    of the user's umask whatever the block does: safetensors writes files that only their owner may read. If the block
    raises, ``target`` stays as it was. A killed process leaves the folder, which :func:`abandoned` finds.

    Raises:
        OSError: the disk refuses; the error names ``target``, or the folder where nothing can be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_TEMPORARY, dir=target.parent))
    except OSError as err:
        err.filename = str(target.parent)
        raise
    temporary = folder / target.name
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        replace_atomically(temporary, target)
    except OSError as err:
        if err.errno is not None and err.filename in (None, str(temporary)):
            err.filename = str(target)
        raise
    except Exception as err:  # safetensors has an error of its own for what the disk refuses
        if (code := re.search(r"os error (\d+)", str(err))) is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(target)) from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(target: Path) -> list[Path]:
    """Return the temporary folders that killed processes left while they were :func:`replacing` ``target``."""
    return sorted(target.parent.glob(f".{glob.escape(target.name)}.*{_TEMPORARY}"))


def clear_abandoned(folder: Path, *, prefix: str = "") -> None:
    """Delete what killed processes left while they were :func:`replacing` files of a folder.

    Args:
        folder: that nobody else writes to, as its lock guarantees.
        prefix: of the names of the files.
    """
    for left in folder.glob(f".{glob.escape(prefix)}*{_TEMPORARY}"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a small file atomically, creating its folder."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
