"""What several commands have in common: arguments, shell completion, and names that are not on this disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import DownloadError, OptionError, UnknownNameError
from ..zoo.manifest import list_models, model_info

__all__ = ["Checkpoint", "Json", "Name", "Names", "complete_name", "on_disk", "usable_device"]


def complete_name(incomplete: str) -> list[str]:
    """Return the models that a shell may complete ``incomplete`` to."""
    return [name for name in list_models() if name.startswith(incomplete)]


@contextmanager
def on_disk(name: str | None) -> Iterator[None]:
    """Tell weights that are not on this disk (a failure) from names that nobody knows (a wrong call)."""
    try:
        yield
    except UnknownNameError as err:
        if name is not None:
            model_info(name)
        raise DownloadError(str(err)) from err


def usable_device(name: str) -> str:
    """Return the name of a device that can be used; ``"auto"`` is a GPU if there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as err:  # which of them depends on how torch was built
        raise OptionError(f"cannot use the device {name!r}: {str(err).splitlines()[0]}") from err
    return name


Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of 'sarhub list'.", autocompletion=complete_name)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Names = Annotated[
    Optional[list[str]],  # noqa: UP045 (typer evaluates it, also on Python 3.10)
    typer.Argument(metavar="NAME", help="Names of 'sarhub list'.", autocompletion=complete_name),
]
Checkpoint = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Use this file of weights (.pth or .safetensors) instead of the registered ones."),
]
