"""Interruptions of a run: a request to stop (SIGTERM, SIGINT), a checkpoint that is due, a loss that is not finite.

All processes must act at the same step, so each step's flags are summed over them. The sum is read one step later,
when it is there without waiting.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from .batches import Batch


class StopRequest:
    """Remembers that the process was asked to end.

    A context manager: inside it SIGTERM and SIGINT only set :attr:`requested`. A second SIGINT ends the process at
    once. A second SIGTERM does not: a scheduler that signals all processes and torchrun, which passes on what it
    gets, send two at a time.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])


class Seen(NamedTuple):
    """One step of all processes: has any a loss that is not finite, was any asked to stop, is a checkpoint due.

    Attributes:
        loss: mean over the processes; not finite ones count as large or zero.
    """

    diverged: bool = False
    requested: bool = False
    due: bool = False
    loss: float = 0.0


class Watch:
    """Collects the flags of each step.

    Args:
        accelerator: this process's view of all.
        stop: this process's requests.
        minutes: between checkpoints.

    Attributes:
        batch: of the step noted last, on this process.
        total: sum of the mean losses of the steps seen; to be reset at will.
    """

    def __init__(self, accelerator: Accelerator, stop: StopRequest, minutes: float) -> None:
        self.accelerator, self.stop, self.minutes = accelerator, stop, minutes
        self.batch: Batch | None = None
        self.total = 0.0
        self._flags: Tensor | None = None
        self._seen = Seen()
        self._saved = time.monotonic()

    def note(self, batch: Batch, loss: Tensor) -> None:
        """Note a step; nothing waits for it."""
        loss = loss.detach().float()
        due = time.monotonic() - self._saved > 60 * self.minutes
        asked = torch.tensor([float(self.stop.requested), float(due)]).to(loss.device, non_blocking=True)
        flags = torch.stack([(~loss.isfinite()).float(), *asked, loss.nan_to_num()])
        self._flags = self.accelerator.reduce(flags, "sum") if self.accelerator.num_processes > 1 else flags
        self.batch = batch

    def seen(self) -> Seen:
        """Return what was seen in the step noted last, waiting for it if need be."""
        if self._flags is not None:
            *flags, loss = self._flags.tolist()
            diverged, requested, due = (flag > 0 for flag in flags)
            self._seen = Seen(diverged, requested, due, loss / self.accelerator.num_processes)
            self.total += self._seen.loss
            self._flags = None
        return self._seen

    def saved(self) -> None:
        """Note that a checkpoint was written."""
        self._seen, self._saved = self._seen._replace(due=False), time.monotonic()
