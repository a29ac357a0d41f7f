"""Options that the commands on composed scenes and mosaics share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="Folder with the packed files of DSN-SLC.")]
Simulated = Annotated[bool, typer.Option("--simulated", help="Simulated chips in place of --data.")]
Train = Annotated[int, typer.Option(help="Images to train on.")]
Val = Annotated[int, typer.Option(help="Images to choose the epoch on.")]
Test = Annotated[int, typer.Option(help="Images to report on.")]
Out = Annotated[Path, typer.Option(help="Folder of all output.")]
Pretrained = Annotated[
    list[str] | None,
    typer.Option(metavar="NETWORK=RUN_DIR|NAME|FILE", help="SAR pre-trained weights; may be repeated."),
]
Networks = Annotated[list[str] | None, typer.Option(help="May be repeated. Default: mobilenetv3.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")]
Epochs = Annotated[int | None, typer.Option(min=1, help="At most; default: the configuration's.")]
Threads = Annotated[int, typer.Option(min=1, help="Of PyTorch.")]
