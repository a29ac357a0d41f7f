"""Options that the commands on scenes share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from . import console
from .arguments import split_bands

if TYPE_CHECKING:
    from ..scenes.classify import Mapped
    from ..scenes.session import Reading, Windows

__all__ = [
    "Address",
    "Band",
    "Denoise",
    "Engine",
    "MaxNodata",
    "Overlap",
    "Quicklook",
    "Resolution",
    "SceneArgument",
    "Size",
    "Stride",
    "Swath",
    "print_map",
    "reading",
    "windows",
]

SceneArgument = Annotated[
    Path,
    typer.Argument(metavar="SCENE", help="GeoTIFF, COG, ENVI, SICD, or a Sentinel-1 product (SAFE folder or .zip)."),
]
Size = Annotated[int | None, typer.Option(min=1, help="Side of a window in pixels. Default: what the network wants.")]
Stride = Annotated[int | None, typer.Option(min=1, help="Pixels from one window to the next.")]
Overlap = Annotated[float | None, typer.Option(help="In place of --stride: share of a window that the next shares.")]
Resolution = Annotated[
    float | None, typer.Option(help="Meters a pixel that the network is given. Default: the scene's own.")
]
MaxNodata = Annotated[
    float, typer.Option(min=0, max=1, help="Leave windows out of whose cell a larger share has no data.")
]
Band = Annotated[
    str | None,
    typer.Option(metavar="N|NAME", help="The only band to read, counted from 1 or by its name: VH."),
]
Swath = Annotated[str | None, typer.Option(help="Swath of Sentinel-1 SLC, such as IW1.")]
Denoise = Annotated[bool, typer.Option("--denoise", help="Subtract the thermal noise of Sentinel-1.")]
Engine = Annotated[Literal["local", "ray"], typer.Option(help="Run in this process, or on a Ray cluster.")]
Address = Annotated[str | None, typer.Option(help="Of the Ray cluster. Default: one on this machine.")]
Quicklook = Annotated[bool, typer.Option("--quicklook/--no-quicklook", help="Also draw a picture beside the output.")]


def windows(
    size: int | None,
    stride: int | None,
    overlap: float | None,
    resolution: float | None,
    max_nodata: float,
    batch_size: int,
) -> Windows:
    """Return how scenes are cut."""
    from ..scenes.session import Windows

    return Windows(size, stride, overlap, resolution, max_nodata, batch_size)


def reading(
    bands: str | None,
    band: str | None,
    radiometry: str | None,
    full_scale: float | None,
    swath: str | None,
    denoise: bool,
) -> Reading:
    """Return how scenes are read."""
    from ..scenes.session import Reading

    chosen = int(band) if band is not None and band.isdecimal() else band
    return Reading(split_bands(bands), chosen, radiometry, full_scale, swath, denoise)


def print_map(found: Mapped, as_json: bool) -> None:
    """Print what a map holds and where it is."""
    if as_json:
        console.print_json(asdict(found))
        return
    console.print_table(
        ("class", "share"),
        [(name, f"{share:.1%}") for name, share in sorted(found.shares.items(), key=lambda pair: -pair[1]) if share],
    )
    print(f"\n{found.file}: {found.windows} windows, {found.skipped} left out for want of data")
    print(f"coordinates: {found.coordinates}")
    if found.probabilities is not None:
        print(f"probabilities: {found.probabilities}")
    if found.quicklook is not None:
        print(f"picture: {found.quicklook}")
