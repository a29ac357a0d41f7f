"""Find places that look alike: ``sarhub scene similar``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ....errors import OptionError
from ... import console
from ...arguments import Model
from ...scenes import SceneArgument, SceneOptions, print_picture, with_scene_options


@with_scene_options
def command(
    scene: SceneArgument,
    model: Model,
    like: Annotated[
        list[str],
        typer.Option(
            metavar="LON,LAT",
            help="A place to look for the like of, in degrees; COLUMN,ROW where the scene has no georeference. May be "
            "repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Best windows to write, .geojson.")],
    top: Annotated[int, typer.Option(min=1, help="Number of windows to write.")] = 20,
    options: SceneOptions = SceneOptions(),
) -> None:
    """Find the places of a scene that look like given ones.

    Writes the best windows as GeoJSON and, beside it, a Cloud-Optimized GeoTIFF of the cosine similarity.

    \b
    Example:
      sarhub scene similar scene.tif --like 12.41,55.68 --model resnet50_ssl4eo.moco --out places.geojson
    """
    from ....scenes.similar import find_similar

    points = [_point(text) for text in like]
    found = find_similar(scene, like=points, weights=model, out=out, top=top, **options.settings())
    if options.as_json:
        console.print_json(asdict(found))
        return
    degrees = bool(found.places and "longitude" in found.places[0])
    names = ("longitude", "latitude") if degrees else ("column", "row")
    console.print_table(
        ("rank", "similarity", *names),
        [(str(row["rank"]), f"{row['similarity']:.3f}", *(f"{row[name]:g}" for name in names)) for row in found.places],
    )
    print(f"\n{out}: {len(found.places)} places; map: {found.map}")
    print(f"coordinates: {found.coordinates}")
    print_picture(found.quicklook)


def _point(text: str) -> tuple[float, float]:
    """Return the two numbers of ``"12.41,55.68"``."""
    parts = text.split(",")
    try:
        first, second = map(float, parts)
    except ValueError:
        raise OptionError(f"expected --like as two numbers, LON,LAT, such as 12.41,55.68, got {text!r}") from None
    return first, second
