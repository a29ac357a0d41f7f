"""Resuming a run, and its weights: ``last.pt`` holds all that is needed to go on, ``best.safetensors`` what to use.

Both appear whole or not at all. ``last.pt`` holds tensors and plain values only and is read with
``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import CheckpointError, DataError
from ..io.files import replace_atomically
from .provenance import check_same_run
from .recipe import Recipe

LAST, BEST = "last.pt", "best.safetensors"
FORMAT = 2  # of last.pt; another one is not read
_MEND = "start again in another folder, or delete this one"


def save_last(folder: Path, values: dict[str, Any]) -> None:
    """Replace the checkpoint to go on from.

    Raises:
        DataError: it cannot be written; the one before is kept.
    """
    _write(folder / LAST, lambda file: torch.save({"format": FORMAT, **values}, file))


def load_last(folder: Path) -> dict[str, Any] | None:
    """Return the checkpoint to go on from, on the CPU, or ``None`` where there is none.

    Raises:
        CheckpointError: the file is damaged, or not of this version.
    """
    file = folder / LAST
    if not file.is_file():
        return None
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as err:
        reason = str(err).strip().partition("\n")[0] or type(err).__name__
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
        now: ``global_batch``, ``counts`` and ``data`` (digests) of the run, as the checkpoint has them.

    Raises:
        OptionError: it is of another one.
    """
    found = []
    for name, text in (("global_batch", "samples per step of all processes"), ("counts", "samples of each class")):
        if saved[name] != now[name]:
            found.append(f"{text}: {saved[name]} there, {now[name]} now")
    if saved["counts"] == now["counts"] and saved["data"] != now["data"]:
        found.append("other samples, labels or pixels")
    check_same_run(folder, saved["recipe"], recipe, found)


def save_best(folder: Path, state: dict[str, Tensor]) -> None:
    """Replace the weights to use: float32 under the network's own keys, as the package reads them.

    Raises:
        DataError: they cannot be written; those before are kept.
    """
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    # save_file would leave a file that nobody but its owner may read
    _write(folder / BEST, lambda file: file.write_bytes(save(tensors, metadata={"format": "pt"})))


def _write(target: Path, write: Callable[[Path], Any]) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        write(temporary)
        replace_atomically(temporary, target)
    except (OSError, RuntimeError) as err:  # torch.save says of a full disk that a position is not what it expected
        raise DataError(f"{target} cannot be written ({err}). Is the disk full? What was there before is kept") from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
