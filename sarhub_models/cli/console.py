"""Output of the command line: tables, JSON, and every error as one line with an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, SarHubError, UnknownNameError
from .plain import PlainText, inert

if TYPE_CHECKING:
    import typer
    from rich.table import Table

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "note", "print_facts", "print_json", "print_table", "run"]

FAILED = 1
MISUSED = 2
_GAP = 2  # columns between those of a table
INTERRUPTED = 130  # what shells report for a process that SIGINT ended


def run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit code.

    Args:
        app: the commands.
        arguments: what follows the program's name; ``None`` takes them from the process.

    Returns:
        0, or 1 where an operation failed, 2 where it was called wrongly (an unknown name, a bad option), 130 where the
        user interrupted it. Each of these prints one line on stderr. With ``SARHUB_DEBUG=1`` errors are not caught.
    """
    plain: Any = PlainText(sys.stdout)
    with warnings.catch_warnings(), contextlib.redirect_stdout(plain):
        warnings.showwarning = lambda message, *_: note(f"warning: {message}")
        try:
            # Not standalone: typer would draw boxes around its errors and print tracebacks of ours.
            code = app(arguments, prog_name="sarhub", standalone_mode=False) or 0
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader (head, less) has what it wanted. Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except (KeyboardInterrupt, Exception) as err:
            code, message = _explain(err)
            if os.environ.get("SARHUB_DEBUG", "0") not in ("", "0") and code != INTERRUPTED:
                raise
            note(message)
            return code
    if code == INTERRUPTED:  # newer releases of typer end with this code themselves
        note("interrupted")
    return code


def _explain(err: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error."""
    import typer

    if isinstance(err, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED, "interrupted"
    if hasattr(err, "format_message"):  # typer's own errors, under whatever module its release defines them in
        context = getattr(err, "ctx", None)
        hint = f" (see '{context.command_path} --help')" if context is not None else ""
        return err.exit_code, f"{err.format_message()}{hint}"  # type: ignore[attr-defined]
    if isinstance(err, (UnknownNameError, OptionError)):
        return MISUSED, str(err)
    if isinstance(err, SarHubError):
        return FAILED, str(err)
    if isinstance(err, OSError):
        return FAILED, f"{err.filename}: {err.strerror}" if err.filename and err.strerror else str(err)
    return FAILED, f"unexpected {type(err).__name__}: {err} (SARHUB_DEBUG=1 shows the traceback)"


def note(message: str) -> None:
    """Print a message as one line on stderr."""
    print(f"sarhub: {inert(' '.join(message.split()))}", file=sys.stderr)


def print_json(data: Any) -> None:
    """Print data for a program to read."""
    print(json.dumps(data, indent=2, default=str))


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Collection[str] = (), spare: Sequence[str] = ()
) -> None:
    """Print aligned columns; where a program reads them, no line is cut or wrapped.

    Args:
        header: names of the columns.
        rows: their cells.
        whole: columns whose cells are never broken.
        spare: columns that are left out, the first one first, as long as the terminal is too narrow for a row.
    """
    from rich.cells import cell_len
    from rich.table import Table

    lines = [list(map(inert, row)) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *lines, strict=True)]
    kept = list(range(len(header)))
    room = _terminal_width()
    for label in spare:
        if sum(widths[index] + _GAP for index in kept) - _GAP > room:
            kept.remove(header.index(label))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP // 2), header_style="bold")
    for index in kept:
        broken = header[index] not in whole
        table.add_column(
            header[index], overflow="fold", no_wrap=not broken, min_width=None if broken else widths[index]
        )
    for row in lines:
        table.add_row(*(row[index] for index in kept))
    # A terminal narrower than a cell that must not be broken wraps it itself.
    _print(table, least=max((widths[index] + _GAP for index in kept if header[index] in whole), default=0))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print labels and what they stand for, wrapped to the terminal."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in facts:
        table.add_row(inert(label), inert(text))
    _print(table)


def _terminal_width() -> int:
    """Return the columns of the terminal; more than enough where there is none."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else 10_000


def _print(table: Table, least: int = 0) -> None:
    from rich.console import Console

    options: dict[str, Any] = {"highlight": False, "markup": False}
    console = Console(**options)
    if not console.is_terminal or console.width < least:
        console = Console(width=max(least, _terminal_width()), **options)
    with console.capture() as capture:
        console.print(table)
    write = getattr(sys.stdout, "write_styled", sys.stdout.write)
    for line in capture.get().splitlines():
        write(f"{line.rstrip()}\n")  # rich fills every line up to the width of the table
