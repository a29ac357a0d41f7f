"""Options that the commands on scenes share: :class:`SceneOptions`, and what all of them print."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from . import console
from .arguments import Bands, Device, FullScale, Json, Radiometry, split_bands
from .local import usable_device

if TYPE_CHECKING:
    from ..scenes.classify import Mapped
    from ..scenes.detect import Detected
    from ..scenes.session import Running

__all__ = ["SceneArgument", "SceneOptions", "print_boxes", "print_map", "print_picture", "with_scene_options"]

SceneArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENE",
        help="GeoTIFF, COG, ENVI, SICD, a Sentinel-1 product (SAFE folder or .zip), or the address of a GeoTIFF: "
        "https://…, s3://….",
    ),
]
_BATCH = 32  # windows that go through the network at once


@dataclass(frozen=True)
class SceneOptions:
    """The options of a command on scenes: its fields become options, see :func:`with_scene_options`."""

    size: Annotated[
        int | None, typer.Option(min=1, help="Side of a window in pixels. Default: what the network wants.")
    ] = None
    stride: Annotated[int | None, typer.Option(min=1, help="Pixels from one window to the next.")] = None
    overlap: Annotated[
        float | None, typer.Option(help="In place of --stride: share of a window that the next shares.")
    ] = None
    resolution: Annotated[
        float | None, typer.Option(help="Meters a pixel that the network is given. Default: the scene's own.")
    ] = None
    max_nodata: Annotated[
        float, typer.Option(min=0, max=1, help="Leave windows out of whose cell a larger share has no data.")
    ] = 0.5
    radiometry: Radiometry = None
    full_scale: FullScale = None
    bands: Bands = None
    band: Annotated[
        str | None,
        typer.Option(metavar="N|NAME", help="The only band to read, counted from 1 or by its name: VH."),
    ] = None
    swath: Annotated[str | None, typer.Option(help="Swath of Sentinel-1 SLC, such as IW1.")] = None
    denoise: Annotated[bool, typer.Option("--denoise", help="Subtract the thermal noise of Sentinel-1.")] = False
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Windows, or images, that go through the network at once.")
    ] = None
    device: Device = "auto"
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Run in this process, or on a Ray cluster.")] = "local"
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster. Default: one on this machine.")] = None
    quicklook: Annotated[
        bool, typer.Option("--quicklook/--no-quicklook", help="Also draw a picture beside the output.")
    ] = True
    to_grid: Annotated[
        str | None,
        typer.Option(metavar="CRS", help="Warp a map to a grid in these coordinates, such as EPSG:32633."),
    ] = None
    as_json: Json = False

    def settings(self) -> dict[str, Any]:
        """Return the arguments ``windows``, ``reading`` and ``running`` of the functions on scenes."""
        from ..scenes.session import Reading, Windows

        band = int(self.band) if self.band is not None and self.band.isdecimal() else self.band
        return {
            "windows": Windows(
                self.size, self.stride, self.overlap, self.resolution, self.max_nodata, self.batch_size or _BATCH
            ),
            "reading": Reading(
                split_bands(self.bands), band, self.radiometry, self.full_scale, self.swath, self.denoise
            ),
            "running": self._running(),
        }

    def _running(self) -> Running:
        from ..scenes.session import Running

        device = usable_device(self.device)
        return Running(device, self.engine, self.address, self.quicklook, not self.as_json, self.to_grid)


def with_scene_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the fields of :class:`SceneOptions` as options, in place of its last parameter ``options``."""
    names = [field.name for field in fields(SceneOptions)]
    hints = {**get_type_hints(command, include_extras=True), **get_type_hints(SceneOptions, include_extras=True)}
    own = list(inspect.signature(command).parameters.values())[:-1]
    shared = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in fields(SceneOptions)
    ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        options = SceneOptions(**{name: given.pop(name) for name in names})
        command(**given, options=options)

    of_keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    typed = [parameter.replace(annotation=hints[parameter.name]) for parameter in of_keywords]
    wrapped.__signature__ = inspect.Signature(typed)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in typed}
    return wrapped


def print_map(found: Mapped, *, as_json: bool) -> None:
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
    print_picture(found.quicklook)


def print_boxes(found: Detected, *, as_json: bool) -> None:
    """Print how many boxes there are and where they are."""
    if as_json:
        console.print_json(asdict(found))
        return
    console.print_table(("class", "boxes"), [(name, str(count)) for name, count in found.boxes.items()])
    print(f"\n{found.file}: {found.windows} windows of {found.scenes} scenes")
    print(f"left out for want of data: {found.skipped}; coordinates: {found.coordinates}")
    print_picture(found.quicklook)


def print_picture(file: Path | None) -> None:
    """Print where a picture is, if there is one."""
    if file is not None:
        print(f"picture: {file}")
