"""Processes that read and prepare images beside the one that uses them: they end with it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing.process import BaseProcess

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
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="end-with-parent", daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    """End the process once its parent is gone, also where its main thread is stuck."""
    # Of another parent is also what a fork server made; and siblings can hold the pipe that `is_alive` looks at open.
    while os.getppid() == parent.pid or (parent.is_alive() and _exists(parent.pid)):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def _exists(process: int | None) -> bool:
    try:
        os.kill(process or 0, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
