"""One writer for each model, and files that nobody writes to once they have their name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["held", "protect"]

_PATIENCE = 2.0  # seconds that a process waits for another before it says so
_log = logging.getLogger(__name__)


@contextmanager
def held(path: Path, name: str) -> Iterator[None]:
    """Hold a model's lock; log a warning where another process holds it for long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        _log.warning("waiting for another process that fetches or imports the weights of %r", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def protect(path: Path) -> None:
    """Take the right to write from a cached file: processes map it, and must never see it change under them.

    A new version takes its name and leaves the old file to those who have it open.
    """
    if os.name == "posix":  # elsewhere a file that cannot be written cannot be replaced either
        path.chmod(path.stat().st_mode & ~0o222)
