"""Output of the command line: tables, JSON, and every error as one line with an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, SarHubError, UnknownNameError
from .plain import PlainText, inert

if TYPE_CHECKING:
    import typer
    from rich.table import Table

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "note", "print_facts", "print_json", "print_table", "run"]

FAILED = 1
MISUSED = 2
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


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns; where a program reads them, no line is cut or wrapped."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for label in header:
        table.add_column(label, overflow="fold")
    for row in rows:
        table.add_row(*map(inert, row))
    _print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print labels and what they stand for, wrapped to the terminal."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in facts:
        table.add_row(inert(label), inert(text))
    _print(table)


def _print(table: Table) -> None:
    from rich.console import Console

    options: dict[str, Any] = {"highlight": False, "markup": False}
    console = Console(**options)
    if not console.is_terminal:
        console = Console(width=10_000, **options)
    with console.capture() as capture:
        console.print(table)
    write = getattr(sys.stdout, "write_styled", sys.stdout.write)
    for line in capture.get().splitlines():
        write(f"{line.rstrip()}\n")  # rich fills every line up to the width of the table
