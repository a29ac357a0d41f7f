"""The contents of a cache folder, as its files themselves tell.

The folder may be anybody's: a file counts as weights only if this package wrote it and under the name that it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from ..io.files import CONTENT, is_name, metadata

__all__ = ["CachedWeights", "Verification", "files_below", "record", "written"]

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class CachedWeights:
    """One set of weights in the cache.

    Attributes:
        name: name of the model.
        path: the safetensors file.
        size: its size in bytes.
        source: the origin of the released file.
        date: when it was converted, ISO 8601, UTC.
        original_sha256: SHA-256 of the released file.
    """

    name: str
    path: Path
    size: int
    source: str
    date: str
    original_sha256: str


@dataclass(frozen=True)
class Verification:
    """The outcome of hashing one file anew.

    Attributes:
        name: name of the model.
        path: the file.
        problem: what is wrong with it and where it was put, or ``None`` if it is intact.
    """

    name: str
    path: Path
    problem: str | None

    @property
    def ok(self) -> bool:
        """Tell whether the file is intact."""
        return self.problem is None


def record(path: Path) -> dict[str, str] | None:
    """Return the metadata of a file that this package wrote for the model whose name it bears, else ``None``.

    The file is of the length that its header says; its bytes are not hashed.
    """
    try:
        known = metadata(path)
    except (CheckpointError, OSError):
        return None
    name = path.name.removesuffix(_SUFFIX)
    return known if is_name(name) and CONTENT in known and known.get("model") == name else None


def written(root: Path) -> Iterator[CachedWeights]:
    """Yield the weights in a cache that this package wrote, by name; all other files are passed over."""
    for path in sorted(root.glob(f"[!.]*{_SUFFIX}")):
        if (known := record(path)) is not None:
            yield CachedWeights(
                name=known["model"],
                path=path,
                size=path.stat().st_size,
                source=known.get("source", "unknown"),
                date=known.get("date", "unknown"),
                original_sha256=known.get("original_sha256", "unknown"),
            )


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder and its subfolders, sorted; none if there is no such folder."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
