"""Every exception that this package raises on purpose.

Each subclasses the built-in exception that a caller would expect as well as :class:`SarHubError`, so
``except ValueError`` and ``except SarHubError`` both work. The message is one paragraph for a person: what was
expected, what came instead, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergedError",
    "DownloadError",
    "ImageError",
    "IncompleteError",
    "InputError",
    "IntegrityError",
    "ManifestError",
    "MissingDependencyError",
    "OfflineError",
    "OptionError",
    "SarHubError",
    "UnitWarning",
    "UnknownNameError",
    "closest",
]


class SarHubError(Exception):
    """Base class of all errors of this package."""


class UnitWarning(UserWarning):
    """An image is plainly not in the unit that it was said to be in; what follows is computed nonetheless."""


class UnknownNameError(SarHubError, KeyError):
    """A model, network, data set or option of that name does not exist."""

    def __str__(self) -> str:  # KeyError would print the repr of the message, quotes included
        return str(self.args[0]) if self.args else ""


class OptionError(SarHubError, ValueError):
    """An argument asks for something that this network or these weights cannot do."""


class ManifestError(SarHubError, ValueError):
    """The list of weights is malformed, or asks for something that is not allowed."""


class CheckpointError(SarHubError, ValueError):
    """A file of weights is truncated, foreign, unsafe, or does not fit its network."""


class ImageError(SarHubError, ValueError):
    """An image cannot be used: unreadable, not finite, of the wrong shape, or out of the value range."""


class InputError(SarHubError, ValueError):
    """A tensor or number has the wrong shape, dtype or range."""


class DataError(SarHubError, OSError):
    """A data set is not where it was expected, or a file of it is damaged."""


class IncompleteError(DataError):
    """Files of a data set are missing or damaged.

    Attributes:
        missing: names of the files that are not there, as the list or the annotations write them.
        damaged: what is wrong with each file that is there, but cannot be used.
        found: the files that are there, in order.
    """

    def __init__(
        self,
        message: str,
        *,
        missing: Iterable[str] = (),
        damaged: Mapping[Path, str] | None = None,
        found: Iterable[Path] = (),
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.damaged = dict(damaged or {})
        self.found = tuple(found)


class DivergedError(SarHubError, ArithmeticError):
    """A training's loss, or what it made of the weights, is not finite."""


class DownloadError(SarHubError, OSError):
    """No source of a set of weights could deliver it."""


class IntegrityError(DownloadError):
    """Bytes arrived, but they are not the promised ones (size, checksum or pin)."""


class OfflineError(DownloadError):
    """The weights are not on this machine and the network must not be used."""


class MissingDependencyError(SarHubError, ImportError):
    """An optional package is needed for this; the message names the extra that brings it."""


def closest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the names closest to ``name``, or ``""`` if none is close."""
    folded = {k.lower(): k for k in known}
    matches = [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.5)]
    return "; did you mean " + " or ".join(repr(m) for m in matches) + "?" if matches else ""
