"""The end of a run whose loss or weights are not finite: it leaves the batch for a look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ..errors import DivergedError
from ..io.files import replacing
from .batches import Batch, Rank
from .checkpoint import LAST

BAD_BATCH = "diverged.npz"


def all_finite(tensors: Sequence[Tensor], accelerator: Accelerator) -> bool:
    """Return whether all values are finite, here and in all other processes."""
    finite = torch.stack([tensor.isfinite().all().to(accelerator.device) for tensor in tensors]).all()
    return bool(accelerator.reduce((~finite).float(), "sum") == 0)


def diverged(folder: Path, process: Rank, batch: Batch, step: int, reason: str) -> DivergedError:
    """Save a batch for inspection and return the error that names it."""
    file = folder / (BAD_BATCH if process.world == 1 else f"{process.rank}_{BAD_BATCH}")
    arrays = {f"image{index}": image[0].cpu().numpy() for index, image in enumerate(batch.images)}
    with replacing(file) as temporary:
        np.savez_compressed(temporary, labels=batch.labels.cpu().numpy(), names=np.array(batch.names), **arrays)
    last = folder / LAST
    state = f"the last good state is in {last}" if last.is_file() else "no state was saved before"
    return DivergedError(
        f"training diverged at step {step} ({reason}). The batch is in {file}; {state}. A lower optim.max_lr, or "
        "runtime.precision=fp32, may help; so may a look at the images"
    )
