"""The bytes that are believed: published checksums, pins of first downloads, and the digest in converted files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from ..errors import CheckpointError, IntegrityError
from ..io.files import CONTENT, Digests, content_digest, metadata, write_text
from ..zoo.entries import Checksum, ModelInfo

__all__ = ["check_digests", "damage", "matches", "needs_pin", "original_digests", "other_release", "pin_digests"]

_PREFIX = "sha256-prefix"


def matches(checksum: Checksum, found: Digests) -> bool:
    """Tell whether a file has the published hash or, where only its first digits were published, those."""
    value = found.by(checksum.algorithm)
    return value.startswith(checksum.value) if checksum.algorithm == _PREFIX else value == checksum.value


def needs_pin(info: ModelInfo) -> bool:
    """Tell whether the published hash of a model leaves room for other files, so that its first download is pinned."""
    return info.checksum is None or info.checksum.algorithm == _PREFIX


def original_digests(file: Path, found: Digests, *, trusted: bool) -> Digests:
    """Return the hashes of a released file.

    Args:
        file: the released file, or one converted from it.
        found: its own hashes.
        trusted: whether the user brought the file or named the mirror it came from. Then a converted file that is
            intact is believed in what it says of the released file it was made from; the manifest's sources are
            not, for anybody could write a matching hash into a file.

    Raises:
        IntegrityError: a converted file does not match its own digest.
    """
    if trusted:
        try:
            known = metadata(file)
        except CheckpointError:
            known = {}
        if {CONTENT, "original_sha256", "original_git_blob"} <= set(known):
            if (problem := damage(file)) is not None:
                raise IntegrityError(problem)
            return Digests(known["original_sha256"], known["original_git_blob"])
    return found


def check_digests(info: ModelInfo, found: Digests, pin: Path) -> None:
    """Compare a released file with the published checksum and, where that is not a whole hash, with the pin.

    Args:
        info: the model, with its checksum.
        found: the hashes of the file.
        pin: where the first download of this model was pinned; it need not exist.

    Raises:
        IntegrityError: the hashes differ, or the pin cannot be read.
    """
    if info.checksum is not None:
        value = found.by(info.checksum.algorithm)
        if not matches(info.checksum, found):
            what = (
                "a SHA-256 that starts with"
                if info.checksum.algorithm == _PREFIX
                else f"the {info.checksum.algorithm} hash"
            )
            raise IntegrityError(
                f"expected {what} {info.checksum.value}, found {value}: the file is damaged, or not the published one"
            )
    if not needs_pin(info):
        return
    forget = f"run 'sarhub cache remove {info.name} --forget-pin'"
    try:
        pinned = json.loads(pin.read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise IntegrityError(f"the pin {pin} cannot be read; {forget} to start anew") from err
    if found.sha256 != pinned:
        raise IntegrityError(
            f"expected the SHA-256 {pinned} of the first download (pinned in {pin}), found {found.sha256}: the file "
            f"is damaged, or its authors changed it; if you trust the new one, {forget} and fetch it again"
        )


def other_release(info: ModelInfo, known: Mapping[str, str]) -> str | None:
    """Say how a converted file's origin differs from the published file, or return ``None`` if it does not.

    Args:
        info: the model, with its checksum; without one, any release is right.
        known: metadata of the converted file.
    """
    if info.checksum is None:
        return None
    origin = Digests(known.get("original_sha256", "none"), known.get("original_git_blob", "none"))
    if matches(info.checksum, origin):
        return None
    found = origin.by(info.checksum.algorithm)
    return (
        f"made from another release: expected the {info.checksum.algorithm} hash {info.checksum.value} of the "
        f"released file, found {found}"
    )


def pin_digests(found: Digests, pin: Path, origin: str) -> None:
    """Remember the hash of a model's first download; an existing pin stays.

    Args:
        found: the hashes of the released file.
        pin: the file to write.
        origin: where the released file came from.
    """
    if not pin.exists():
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_text(pin, json.dumps({"sha256": found.sha256, "source": origin, "date": date}, indent=2) + "\n")


def damage(path: Path) -> str | None:
    """Hash a converted file anew and say what is wrong with it, or return ``None`` if it is intact."""
    try:
        recorded = metadata(path).get(CONTENT, "nothing")
        found = content_digest(path)
    except CheckpointError as err:
        return str(err)
    return None if found == recorded else f"{path} is damaged: recorded content hash {recorded}, found {found}"
