"""Host memory of a training process."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt(3)


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next allocation instead of handing it back to the system.

    A step on a CPU frees and allocates the same large tensors as the one before. By default glibc unmaps them, and the
    system clears each page anew when it is touched: up to a third of the time of a step (docs/speed.md). The peak of
    memory is that of a step, as before, but it is held until the process ends.

    Returns:
        Whether it could be set: other C libraries, and other allocators that were loaded before, go their own way.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; Windows knows no library None
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
