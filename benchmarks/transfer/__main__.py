"""Transfer in one command: ``python -m benchmarks.transfer --weights mobilenetv3_dsn --data mstar=FOLDER``.

Rows that are there, of the same weights on the same samples, are not computed again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import print as show

from benchmarks.experiments.command import command, new_app
from sarhub_models.features.compare import weights_here

from .report import RESULTS, write_report
from .study import parse_task, run

app = new_app()


@command(app)
def main(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FOLDER[,LISTS]",
            help="A data set to recognize, with the folder of its split lists; may be repeated. Names as in 'sarhub "
            "index'; folder:LABEL=FOLDER,LISTS is one's own, a folder for each class.",
        ),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A name of 'sarhub list', a file or the folder of a run; may be repeated [those here]."),
    ] = None,
    splits: Annotated[str, typer.Option(help="Where to learn and where to test.")] = "train,test",
    shots: Annotated[int, typer.Option(min=1, help="Labels of each class that the third classifier learns from.")] = 5,
    draws: Annotated[int, typer.Option(min=1, help="Draws of these labels.")] = 10,
    twins: Annotated[bool, typer.Option(help="Also the same networks untrained and with ImageNet weights.")] = True,
    out: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("outputs/transfer"),
) -> None:
    """Measure what the features of weights are worth on tasks that they were not trained for."""
    tasks = [parse_task(text, splits) for text in data]
    rows = run(weights or weights_here(), tasks, out / RESULTS, shots=shots, draws=draws, twins=twins, say=show)
    print(write_report(rows, out))


if __name__ == "__main__":
    app()
