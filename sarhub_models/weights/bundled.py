"""Weights that are installed with the package: found, and hashed anew."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from ..io.files import digests, metadata
from ..zoo.manifest import Checksum, ModelInfo
from . import trust
from .inventory import Verification
from .sources import Bundled, source_from

__all__ = ["bundled", "bundled_file", "verify_bundled", "verify_file"]


def bundled_file(info: ModelInfo) -> Path | None:
    """Return the file that holds a model's weights in the installation, or ``None``."""
    for entry in info.sources:
        if entry.get("type") == Bundled.kind and (path := source_from(entry).in_place()) is not None:
            return path
    return None


def bundled(info: ModelInfo) -> Path | None:
    """Return a model's file in the installation if there is one, and check its length.

    Raises:
        CheckpointError: it is damaged.
    """
    if (path := bundled_file(info)) is None:
        return None
    try:
        metadata(path)
    except CheckpointError as err:
        raise CheckpointError(f"{err}; it came with the package: reinstall sarhub-models") from err
    return path


def verify_bundled(name: str, path: Path, checksum: Checksum | None) -> Verification:
    """Hash a file of the installation and compare it with the list of weights."""
    if checksum is None:
        problem = trust.damage(path)
    else:
        found = digests(path)
        expected = f"expected {checksum.value}, found {found.by(checksum.algorithm)}"
        problem = None if trust.matches(checksum, found) else f"{path} is damaged: {expected}"
    return Verification(name, path, f"{problem}; reinstall sarhub-models" if problem else None)


def verify_file(path: Path) -> Verification:
    """Hash a file of one's own that this package wrote, and compare it with the digest in its metadata."""
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} has no digest to compare with: verify is for the .safetensors of this package")
    return Verification(path.name, path, trust.damage(path))
