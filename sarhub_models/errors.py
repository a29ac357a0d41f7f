"""All exceptions and warnings of this package, and the rule for which one.

Each subclasses :class:`SarHubError` and the built-in exception that a caller would expect, so ``except ValueError`` and
``except SarHubError`` both work. The message is one paragraph: what was expected, what came instead, and what to do.

Choose by what has to change for the same call to succeed:

- the call: a name (:class:`UnknownNameError`), an option (:class:`OptionError`), or a tensor or number handed to a
  function (:class:`InputError`);
- a file of the caller's: an image (:class:`ImageError`), weights (:class:`CheckpointError`), a data set
  (:class:`DataError`, or :class:`IncompleteError` where the files that are missing or damaged are known), the list of
  weights (:class:`ManifestError`);
- what the other side of the network answers: :class:`DownloadError` in general, :class:`NotFoundError` where a server
  has no such file, :class:`IntegrityError` for the wrong bytes, :class:`OfflineError` where the network must not be
  used, :class:`PublishError` for uploads;
- the environment: an optional package (:class:`MissingDependencyError`);
- the computation: :class:`DivergedError` in training, :class:`ExportError` where an exported file computes something
  else, :class:`StoppedError` where the user asked to stop.

A broken promise of the package's own code is none of these: let the built-in exception through.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = [
    "BandsWarning",
    "CheckpointError",
    "DataError",
    "DivergedError",
    "DownloadError",
    "ExportError",
    "ImageError",
    "IncompleteError",
    "InputError",
    "IntegrityError",
    "ManifestError",
    "MissingDependencyError",
    "NodataError",
    "NotFoundError",
    "OfflineError",
    "OptionError",
    "PublishError",
    "RadiometryWarning",
    "SarHubError",
    "StoppedError",
    "UnknownNameError",
    "closest",
]


class SarHubError(Exception):
    """Base class of all errors of this package."""


class RadiometryWarning(UserWarning):
    """The radiometry of an image is plainly not what it was said to be; what follows is computed nonetheless."""


class BandsWarning(UserWarning):
    """An image has bands that the network does not take, which are left out; or its only band is another one."""


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


class NodataError(ImageError):
    """An image has pixels without data, and the policy for them leaves it out."""


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


class DownloadError(SarHubError, OSError):
    """No source of a set of weights could deliver it."""


class IntegrityError(DownloadError):
    """Bytes arrived, but size, checksum or pin differ from the expected ones."""


class NotFoundError(DownloadError):
    """The server answered that it has no such file (404, 410)."""


class OfflineError(DownloadError):
    """The weights are not on this machine and the network must not be used."""


class PublishError(SarHubError, OSError):
    """The Hub refused a repository or could not be reached."""


class ExportError(SarHubError, RuntimeError):
    """An exported file does not compute what the network computes."""


class DivergedError(SarHubError, ArithmeticError):
    """The loss or the weights of a network in training are not finite."""


class StoppedError(SarHubError, RuntimeError):
    """The process was asked to stop before the work was done; the same command resumes it."""


class MissingDependencyError(SarHubError, ImportError):
    """An optional package is needed for this; the message names the extra that brings it."""


def closest(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the names closest to ``name``, or ``""`` if none is close."""
    folded = {k.lower(): k for k in known}
    matches = [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.5)]
    return "; did you mean " + " or ".join(repr(m) for m in matches) + "?" if matches else ""
