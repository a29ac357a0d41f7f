"""What may end a run early: a request to stop (SIGTERM, SIGINT), and a loss that is not finite.

All processes must end at the same step, so each step's flags are summed over them. The sum is read one step later,
when it is there without waiting.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from sarhub_models.errors import SarHubError

from .batches import Batch


class DivergedError(SarHubError, ArithmeticError):
    """The loss is not finite."""


class StopRequest:
    """Remembers that the process was asked to end; a second request ends it at once.

    A context manager: inside it SIGTERM and SIGINT only set :attr:`requested`.
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
        signal.signal(number, self._before[number])


class Seen(NamedTuple):
    """What all processes saw in one step: a loss that is not finite, a request to stop, and the mean loss."""

    diverged: bool
    requested: bool
    loss: float


class Watch:
    """Collects the flags of each step.

    Attributes:
        batch: of the step noted last, on this process.
    """

    def __init__(self, accelerator: Accelerator, stop: StopRequest) -> None:
        self.accelerator, self.stop = accelerator, stop
        self.batch: Batch | None = None
        self._flags: Tensor | None = None

    def note(self, batch: Batch, loss: Tensor) -> None:
        """Note a step; nothing waits for it."""
        loss = loss.detach().float()
        requested = torch.tensor(float(self.stop.requested)).to(loss.device, non_blocking=True)
        flags = torch.stack([(~loss.isfinite()).float(), requested, loss.nan_to_num()])
        self._flags = self.accelerator.reduce(flags, "sum") if self.accelerator.num_processes > 1 else flags
        self.batch = batch

    def seen(self) -> Seen:
        """Return what was seen in the step noted last, waiting for it if need be."""
        if self._flags is None:
            return Seen(False, False, 0.0)
        diverged, requested, loss = self._flags.tolist()
        return Seen(diverged > 0, requested > 0, loss / self.accelerator.num_processes)
