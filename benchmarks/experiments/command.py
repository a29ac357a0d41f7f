"""The frame of all experiments' commands: one line for an error, exit codes, an orderly stop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec

import typer

from sarhub_models.errors import SarHubError, UnknownNameError, closest

from .runner import INTERRUPTED

__all__ = ["command", "known", "new_app"]

P = ParamSpec("P")


def new_app(**options: object) -> typer.Typer:
    """Return a command line; options are those of :class:`typer.Typer`."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, **options)  # type: ignore[arg-type]


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a function as a command: an error becomes one line and status 1, being stopped status 75."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except SarHubError as err:
                typer.echo(f"error: {err}", err=True)
                raise typer.Exit(1) from None
            except KeyboardInterrupt:
                typer.echo("stopped; the same command goes on", err=True)
                raise typer.Exit(INTERRUPTED) from None

        return app.command(name)(run)

    return register


def known(names: Iterable[str], given: Sequence[str], kind: str) -> list[str]:
    """Return the given names, each once.

    Raises:
        UnknownNameError: one is not among the names.
    """
    for name in given:
        if name not in names:
            raise UnknownNameError(f"no {kind} is called {name!r}{closest(name, names)}; known: {', '.join(names)}")
    return list(dict.fromkeys(given))
