"""The damaged samples that a run leaves out, with ``data.on_error=skip``."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import gather_object

from .batches import Batch


class Skipped:
    """Names of the damaged samples that were left out, each once.

    Args:
        accelerator: whose processes tell each other; ``None`` for this one alone.

    Attributes:
        names: those that all processes know of.
    """

    def __init__(self, accelerator: Accelerator | None = None) -> None:
        self.accelerator = accelerator
        self.names: list[str] = []
        self._new: list[str] = []

    def note(self, batch: Batch) -> Batch:
        """Note what was left out for a batch, and return the batch."""
        self._new += batch.skipped
        return batch

    def share(self) -> list[str]:
        """Tell all processes what each of them has noted, and return all names; all processes must take part."""
        new, self._new = self._new, []
        if self.accelerator is not None and self.accelerator.num_processes > 1:
            new = gather_object(new)
        self.names = list(dict.fromkeys([*self.names, *new]))
        return self.names
