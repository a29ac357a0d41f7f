"""What a run keeps on disk: ``last.pt``, all that is needed to go on, and ``best.safetensors``, the weights to use.

Both appear whole or not at all. ``last.pt`` holds tensors and plain values only and is read with
``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import CheckpointError, DataError
from ..io.files import replace_atomically

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
