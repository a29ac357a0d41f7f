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
from safetensors.torch import save_file
from torch import Tensor

from sarhub_models.errors import CheckpointError
from sarhub_models.weights.files import publish

LAST, BEST = "last.pt", "best.safetensors"


def save_last(folder: Path, values: dict[str, Any]) -> None:
    """Replace the checkpoint to go on from."""
    _write(folder / LAST, lambda file: torch.save(values, file))


def load_last(folder: Path) -> dict[str, Any] | None:
    """Return the checkpoint to go on from, on the CPU, or ``None`` where there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = folder / LAST
    if not file.is_file():
        return None
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as err:
        raise CheckpointError(
            f"{file} cannot be read ({err}); start again in another folder, or delete this one"
        ) from err


def save_best(folder: Path, state: dict[str, Tensor]) -> None:
    """Replace the weights to use: float32 under the network's own keys, as the package reads them."""
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    _write(folder / BEST, lambda file: save_file(tensors, file, metadata={"format": "pt"}))


def _write(target: Path, write: Callable[[Path], None]) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        write(temporary)
        publish(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
