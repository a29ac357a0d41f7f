"""Hash files, read the header of safetensors, write atomically, check names.

Imports no torch, so that ``sarhub list`` may ask the cache without paying for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ManifestError

__all__ = [
    "CONTENT",
    "Digests",
    "check_name",
    "content_digest",
    "digests",
    "is_name",
    "metadata",
    "read_header",
    "replace_atomically",
    "replacing",
    "write_text",
]

CONTENT = "content_sha256"  # metadata key of the digest that a converted file carries of itself

_CHUNK = 1 << 20
_LARGEST_HEADER = 100_000_000  # the limit of the safetensors format
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


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


def digests(path: Path) -> Digests:
    """Hash a file, reading it once."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    for chunk in _chunks(path):
        sha256.update(chunk)
        blob.update(chunk)
    return Digests(sha256.hexdigest(), blob.hexdigest())


def _chunks(path: Path, start: int = 0) -> Iterator[bytes]:
    with path.open("rb") as file:
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
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise CheckpointError(f"{path} is not a safetensors file, or is cut off within its header ({size} bytes)")
        try:
            header = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
            expected = 8 + length + int(end)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as err:
            raise CheckpointError(f"{path} is not a safetensors file: its header cannot be parsed ({err})") from err
    if size != expected:
        raise CheckpointError(f"{path} is truncated or damaged: expected {expected} bytes, found {size}")
    return header, 8 + length


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        CheckpointError: the file is not an intact safetensors file.
    """
    found = read_header(path)[0].get("__metadata__") or {}
    return {str(key): str(value) for key, value in found.items()}


def content_digest(path: Path) -> str:
    """Return the SHA-256 over the tensors of a safetensors file: names, types, shapes and bytes, not the metadata.

    A converted file carries this digest in its own metadata (key :data:`CONTENT`), so it can be verified wherever
    it was copied to.

    Raises:
        CheckpointError: the file is not an intact safetensors file.
    """
    header, start = read_header(path)
    header.pop("__metadata__", None)
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for chunk in _chunks(path, start):
        digest.update(chunk)
    return digest.hexdigest()


def replace_atomically(temporary: Path, target: Path) -> None:
    """Put a finished temporary file in the place of ``target`` so that no reader ever sees a part of it.

    Both must be on one file system. The bytes are forced to the disk before the name changes: after a power cut
    the name stands for the old file or for the whole new one.
    """
    with temporary.open("rb+") as file:
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
    """Yield an empty temporary file beside ``target``; when the block ends, it replaces ``target``.

    The folder is created, and the file gets the permissions of the user's umask whatever the block does: safetensors
    writes files that only their owner may read. If the block raises, the temporary file is removed and ``target``
    stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        replace_atomically(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            temporary.unlink(missing_ok=True)
        raise


def write_text(target: Path, text: str) -> None:
    """Write a small file atomically, creating its folder."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
