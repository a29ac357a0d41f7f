"""Show and measure which parts of an image a network uses: ``sarhub explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ... import console
from ...arguments import split_bands

if TYPE_CHECKING:
    from torch import nn

    from ....explain import ChipBatch, Regions
    from ....models.choice import Reading
    from ....transforms import Pipeline

group = typer.Typer(rich_markup_mode=None)

Images = Annotated[
    Path, typer.Option(metavar="DIR|FILE", help="Folder of chips, read with its subfolders, or one chip.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables, maps and pictures.")]
Label = Annotated[str | None, typer.Option(help="Name of the network in them. Default: --model.")]
Layer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Layer to explain. Default: the last stage of the network."),
]
Patch = Annotated[int, typer.Option(min=1, help="Side of a patch in pixels of the network's input.")]
Masks = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Masks of your own, an image of 0 (background), 1 (target), 2 (shadow) for each chip, named like it. "
        "Default: SAR-HUB's rules.",
    ),
]
Band = Annotated[
    str | None, typer.Option(metavar="N|NAME", help="Band to read, counted from 1 or by its name in the files: VH.")
]
OfBand = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of a network of several bands: noise disturbs this one alone, and it is shown. Default: all.",
    ),
]
Shown = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of a network of several bands: the one to show. Default: the first.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only the first so many chips.")]
Table = Annotated[Literal["csv", "parquet"], typer.Option(help="Format of the tables.")]
Figures = Annotated[Literal["png", "pdf"], typer.Option("--pictures", help="Format of the figures.")]
Palette = Annotated[Literal["default", "colorblind"], typer.Option(help="Colors of the figures.")]


@group.callback(invoke_without_command=True)
def explain(context: typer.Context) -> None:
    """Show and measure which parts of an image a network uses.

    \b
    Examples:
      sarhub explain kp --model mobilenetv3_dsn --images chips/ --out kp/ --full-scale 65535
      sarhub explain cam --model mobilenetv3_dsn --images chips/ --out cam/ --full-scale 65535
      sarhub explain compare kp_none/ kp_sar/ --out compared/
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def open_network(
    model: str,
    preprocessing: str | None,
    *,
    radiometry: str | None = None,
    full_scale: float | None = None,
    bands: str | None = None,
    nodata: str | None = None,
) -> tuple[nn.Module, Pipeline, Reading]:
    """Return the network of a name, a file or a run, its preprocessing, and how images are read for it."""
    from ....models.choice import image_reading
    from ....models.create import open_model

    network, transform, info = open_model(
        model, preprocessing=preprocessing, radiometry=radiometry, full_scale=full_scale
    )
    reading = image_reading(info, radiometry=radiometry, full_scale=full_scale, bands=split_bands(bands), nodata=nodata)
    return network, transform, reading


def open_chips(
    images: Path,
    transform: Pipeline,
    reading: Reading,
    *,
    band: str | None,
    bands: str | None,
    limit: int | None,
    shown: str | None,
) -> ChipBatch:
    """Read the first ``limit`` chips of a folder, named by their paths in it; ``band`` comes before ``reading``."""
    from ....explain import read_chips
    from ....io.images import named_images, one_per_image

    found = {file: name for name, file in named_images(images).items()}
    files = (one_per_image(list(found), transform.bands) if bands is None and band is None else list(found))[:limit]
    return read_chips(
        files,
        transform,
        names=[found[file] for file in files],
        full_scale=reading.full_scale if transform.takes_amplitude else None,
        band=reading.position if band is None else int(band) if band.isdecimal() else band,
        bands=reading.bands if band is None else None,
        nodata=reading.nodata,
        shown=shown,
    )


def chip_regions(chips: ChipBatch, masks: Path | None, patch: int) -> Regions:
    """Return the regions that masks say, or else SAR-HUB's rules."""
    from ....explain import find_regions, read_regions

    if masks is None:
        return find_regions(chips.values[:, chips.channel].numpy(), patch=patch)
    return read_regions(masks, chips.names, (chips.values.shape[-2], chips.values.shape[-1]), patch=patch)


def print_summary(out: Path, chips: int, summary: list[dict[str, Any]], as_json: bool) -> None:
    """Print the means of all measures with their intervals."""
    if as_json:
        console.print_json({"folder": out, "chips": chips, "summary": summary})
        return
    console.print_table(
        ("map", "measure", "mean", "95 % interval", "chips"),
        [(map_name(row), row["measure"], *interval(row), str(row["chips"])) for row in summary],
    )
    print(f"\n{out}: {chips} chips")


def map_name(row: dict[str, Any]) -> str:
    """Return the name of a row's map, with the threshold of knowledge points."""
    return row["map"] if row["map"] != "kp" else f"kp, b = {row['b']:g}"


def interval(row: dict[str, Any]) -> tuple[str, str]:
    """Return mean and interval of a row as text."""
    return f"{row['mean']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"
