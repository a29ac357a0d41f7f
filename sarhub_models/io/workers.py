"""Processes that read and prepare images beside the one that uses them: they end with it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

__all__ = ["end_with_parent"]

_SECONDS_BETWEEN_LOOKS = 1.0


def end_with_parent(worker: int = 0) -> None:
    """Let this process end soon after the one that started it; a ``worker_init_fn`` of a DataLoader.

    PyTorch's own watch notes the parent when a worker is up, and so never sees the end of one that was killed before:
    such a worker would wait for work for ever, and keep its memory.

    Args:
        worker: number of the worker, which makes no difference.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_watch, args=(parent.pid,), name="end-with-parent", daemon=True).start()


def _watch(parent: int) -> None:
    """End the process once another one has adopted it, also where its main thread is stuck."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
