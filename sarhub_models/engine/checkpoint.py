"""Resuming a run, and its weights: ``last.pt`` holds all that is needed to go on, ``best.safetensors`` what to use.

Both appear whole or not at all. ``last.pt`` holds tensors and plain values only and is read with
``weights_only=True`` after each of its records was compared with its CRC-32, which torch writes and never reads. The
one before it is kept as ``previous.pt`` and takes its place where it is damaged.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, DataError
from ..io.files import replacing
from ..weights import write_weights
from ..weights.archives import opened_zip, whole_records
from ..zoo.description import BEST, to_metadata
from ..zoo.entries import ModelInfo
from .provenance import check_same_run
from .sections import Recipe

LAST, PREVIOUS = "last.pt", "previous.pt"
FORMAT = 3  # of last.pt; another one is not read
_MEND = "start again in another folder, or delete this one"


def save_last(folder: Path, values: dict[str, Any]) -> None:
    """Replace the checkpoint to go on from; the one that it replaces is kept beside it.

    Raises:
        DataError: it cannot be written; the one before is kept.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    _write(last, lambda file: torch.save({"format": FORMAT, **values}, file), keep=previous)


def load_last(folder: Path) -> dict[str, Any] | None:
    """Return the checkpoint to go on from, on the CPU, or ``None`` where there is none.

    Raises:
        CheckpointError: the file is damaged, and so is the one before it; or it is not of this version.

    Warns:
        UserWarning: the file is damaged or was lost, and the one before it is taken.
    """
    file, before = folder / LAST, folder / PREVIOUS
    if not before.is_file():
        return _load(file) if file.is_file() else None
    try:
        return _load(file)
    except (CheckpointError, FileNotFoundError) as err:
        try:
            values = _load(before)
        except CheckpointError:
            raise err from None
        warnings.warn(f"{file} is missing or damaged: the run resumes from the checkpoint before it", stacklevel=2)
        return values


def _load(file: Path) -> dict[str, Any]:
    try:
        with opened_zip(file) as archive:
            if archive is None:
                raise CheckpointError("no zip archive")
            whole_records(file, archive)
        values = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as err:  # damaged bytes make torch raise almost anything
        cause = err.__cause__ or err if isinstance(err, CheckpointError) else err
        reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise CheckpointError(f"{file} cannot be read ({reason}); {_MEND}") from err
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CheckpointError(f"{file} is no checkpoint of this version of the training; {_MEND}")
    return values


def state_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of a run's modules, optimizer, …, as :func:`restore` takes them; ``None`` stays ``None``."""
    return {name: None if part is None else part.state_dict() for name, part in parts.items()}


def restore(parts: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Load the states that a checkpoint holds of a run's parts."""
    for name, part in parts.items():
        if part is not None and saved[name] is not None:
            part.load_state_dict(saved[name])


def check_same(folder: Path, saved: Mapping[str, Any], recipe: Recipe, now: Mapping[str, Any]) -> None:
    """Check that a checkpoint is of the run that shall be resumed from it.

    Args:
        folder: of the run.
        saved: the checkpoint.
        recipe: of the run.
        now: ``global_batch``, ``quotas``, ``counts`` and ``data`` (digests) of the run, as the checkpoint has them.

    Raises:
        OptionError: it is of another one.
    """
    found = []
    for name, text in (
        ("global_batch", "samples per step of all processes"),
        ("quotas", "samples per step of each source"),
        ("counts", "samples of each class"),
    ):
        if saved[name] != now[name]:
            found.append(f"{text}: {saved[name]} there, {now[name]} now")
    if saved["counts"] == now["counts"] and saved["data"] != now["data"]:
        found.append("other samples, labels or pixels")
    check_same_run(folder, saved["recipe"], recipe, found)


def save_best(folder: Path, state: dict[str, Tensor], info: ModelInfo) -> None:
    """Replace the weights to use: float32 under the network's own keys, with a description of themselves.

    Raises:
        DataError: they cannot be written; those before are kept.
    """
    tensors = {key: tensor.detach().cpu() for key, tensor in state.items()}
    with _kept(folder / BEST):
        write_weights(tensors, folder / BEST, info=to_metadata(info))


def _write(target: Path, write: Callable[[Path], Any], *, keep: Path) -> None:
    """Replace a file; what was there stays as ``keep``, and ``target`` is there at any time."""
    with _kept(target), replacing(target) as temporary:
        write(temporary)
        if target.is_file():
            _link(target, keep)


def _link(file: Path, name: Path) -> None:
    """Give a file a second name, which may be another file's until then."""
    temporary = name.with_name(f".{name.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(file)
    except OSError:  # a file system without links: a kill now leaves only this name, from which a run resumes, too
        file.replace(name)
    else:
        temporary.replace(name)


@contextlib.contextmanager
def _kept(target: Path) -> Iterator[None]:
    """Turn what a disk refuses into one error."""
    try:
        yield
    except (OSError, RuntimeError) as err:  # torch.save says of a full disk that a position is not what it expected
        raise DataError(f"{target} cannot be written ({err}). Is the disk full? What was there before is kept") from err
