"""Progress bars on stderr, where that is a terminal: of steps and of downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "download_bar", "progress_bar"]

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes at hand and the total in bytes, or ``None`` while that is unknown."""


@contextmanager
def progress_bar(label: str, total: int, *, done: int = 0, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Draw a bar while the block runs; what it hands out is called with the number of steps that were done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


@contextmanager
def download_bar(label: str, show: bool) -> Iterator[Progress | None]:
    """Yield a callback that draws a bar while the block runs.

    Args:
        label: text before the bar.
        show: ``False`` draws nothing. ``True`` draws if stderr is a terminal, or if rich is told that it is one
            (``FORCE_COLOR``, ``TTY_COMPATIBLE``), so that logs stay free of control characters.

    Yields:
        The callback, or ``None`` where nothing is drawn.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # names may hold brackets
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task(label, total=None)

        def report(done: int, total: int | None) -> None:
            bars.update(task, completed=done, total=total)

        yield report
