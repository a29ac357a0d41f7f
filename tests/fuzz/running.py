"""Read changed files under the property that all readers keep, and count how they end."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sarhub_models.errors import SarHubError

from .mutation import Sample, mutate

__all__ = ["MEMORY", "Target", "check", "inputs"]

MEMORY = 512 << 20
"""Bytes of address space that a reader of a file of a few kilobytes may ask for."""
_HANG = 60  # seconds
# Not libtiff's "Out of memory", which it says of counts that it refuses
_OUT_OF_MEMORY = re.compile(r"bad_alloc|can'?t allocate|cannot allocate|MemoryError", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: of the target.
        suffix: of its files.
        samples: valid files.
        read: takes the path of a file; asserts what holds of whatever it accepts.
    """

    name: str
    suffix: str
    samples: Callable[[], Sequence[Sample]]
    read: Callable[[Path], Any]
    ends: Counter[str] = field(default_factory=Counter, compare=False)


class Hang(BaseException):
    """A file was read for longer than a file of a few kilobytes can need."""


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Bound the memory and the time of the block."""

    def ring(*_: Any) -> None:
        raise Hang(f"not read within {_HANG} s")

    # The limit on pixels is that of whole scenes; with a small one, memory beyond it shows
    given = os.environ.get("SARHUB_MAX_PIXELS")
    os.environ["SARHUB_MAX_PIXELS"] = str(MEMORY // 128)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HANG)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        del os.environ["SARHUB_MAX_PIXELS"]
        if given is not None:
            os.environ["SARHUB_MAX_PIXELS"] = given


def check(target: Target, content: bytes, file: Path) -> str:
    """Read a file and return ``"read"`` or the kind of error that it was refused with; the file is deleted.

    Raises:
        Exception: whatever is neither, so that the property is broken.
    """
    file.write_bytes(content)
    try:
        with _limits(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(file)
    except SarHubError as err:
        message = str(err)
        assert message.strip() and "Traceback" not in message
        assert not _OUT_OF_MEMORY.search(message), f"memory was asked for: {message}"
        return type(err).__name__
    finally:
        file.unlink(missing_ok=True)
    return "read"


def inputs(target: Target, chance: random.Random) -> Iterator[bytes]:
    """Yield changed files without end."""
    samples = list(target.samples())
    while True:
        yield mutate(chance.choice(samples), samples, chance)
