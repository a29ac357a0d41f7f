"""Compare explanations of networks: ``sarhub explain compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ... import console
from ...arguments import Json, Seed
from .. import explain as group


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Two or more folders of 'kp' or of 'cam'.")],
    out: group.Out,
    b: Annotated[float | None, typer.Option("--b", help="Threshold of the grid. Default: the first.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Chips in the grid.")] = 8,
    table: group.Table = "csv",
    pictures: group.Figures = "png",
    palette: group.Palette = "default",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare networks on the same chips.

    The difference of each network's shares from the first one's, with bootstrap intervals over chips, how far their
    maps agree, and chips side by side.

    \b
    Examples:
      sarhub explain compare kp_none/ kp_sar/ --out compared/
    """
    from ....explain.results import compare, read_folder

    rows = compare(
        [read_folder(folder) for folder in folders],
        out,
        table=table,
        pictures=pictures,
        palette=palette,
        threshold=b,
        most=most,
        seed=seed,
    )
    if as_json:
        console.print_json({"folder": out, "comparison": rows})
        return
    console.print_table(
        ("network", "against", "map", "measure", "mean", "95 % interval"),
        [(row["network"], row["against"], group.map_name(row), row["measure"], *group.interval(row)) for row in rows],
    )
    print(f"\n{out}")
