"""Arguments that several commands share, and their completion in a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..transforms.radiometry import RADIOMETRIES
from ..zoo.manifest import list_models

__all__ = [
    "Bands",
    "BatchSize",
    "Checkpoint",
    "Device",
    "FullScale",
    "Json",
    "Model",
    "Name",
    "Names",
    "Nodata",
    "Preprocessing",
    "Radiometry",
    "Seed",
    "SomeWeights",
    "Weights",
    "Workers",
    "complete_name",
    "split_bands",
]


def complete_name(incomplete: str) -> list[str]:
    """Return the models that a shell may complete ``incomplete`` to."""
    return [name for name in list_models() if name.startswith(incomplete)]


def split_bands(bands: str | None) -> list[str] | None:
    """Return the names in ``"VV,VH"``."""
    return None if bands is None else bands.split(",")


if TYPE_CHECKING:
    _Radiometry = str
else:
    _Radiometry = Literal[tuple(RADIOMETRIES)]  # typer's choices are the rows of the table

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of 'sarhub list'.", autocompletion=complete_name)]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Names of 'sarhub list'.", autocompletion=complete_name),
]
_WEIGHTS = "A name of 'sarhub list', a file of weights, or the folder of a run."
Weights = Annotated[str, typer.Argument(metavar="NAME|FILE|RUN", help=_WEIGHTS, autocompletion=complete_name)]
SomeWeights = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME|FILE|RUN",
        help="Names of 'sarhub list', files of weights, folders of runs.",
        autocompletion=complete_name,
    ),
]
Model = Annotated[str, typer.Option(metavar="NAME|FILE|RUN", help=_WEIGHTS, autocompletion=complete_name)]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|RUN", help="Use this file of weights, or those of this run, instead of the registered ones."
    ),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="For a file that does not describe itself: the weights with the preprocessing that it was trained with.",
        autocompletion=complete_name,
    ),
]
Bands = Annotated[str | None, typer.Option(help="Polarizations of the images, in their order: VV,VH.")]
Nodata = Annotated[
    Literal["refuse", "fill", "skip"] | None,
    typer.Option(
        help="Pixels without data: refuse the image; fill them with the median of the others; skip images with more "
        "than 10 % of them, fill the rest. Default: as in the fine-tuning of the weights, if any, or refuse."
    ),
]
Radiometry = Annotated[
    _Radiometry | None,
    typer.Option(
        help="What the pixels hold; it is converted. Default: as in the fine-tuning, or what the weights expect."
    ),
]
FullScale = Annotated[
    float | None,
    typer.Option(help="Value of amplitude 1. Default: the maximum of integer types; floats are in [0, 1]."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in one batch.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read images; 0: read in this one.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps …; auto: a GPU if there is one.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
