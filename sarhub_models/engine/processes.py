"""Programs that a command starts, and that must not outlive it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["Programs", "sigterm_interrupts"]


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, by a ``KeyboardInterrupt``; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Programs:
    """Runs programs, also from several threads, and asks those that run to end when it is told to."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None) -> int:
        """Run a program and return its exit status.

        Args:
            command: program and arguments.
            log: its output is appended to this file.
            environment: ``None`` for this process's.

        Raises:
            KeyboardInterrupt: this process was asked to end; the program was, too, and has ended.
        """
        with log.open("a", encoding="utf-8") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
            self._running.add(process)
            try:
                return process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
            finally:
                self._running.discard(process)

    def end(self) -> None:
        """Send SIGTERM to all programs that run; :meth:`run` returns when they have ended."""
        for process in list(self._running):
            process.terminate()
