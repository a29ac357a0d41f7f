"""Places of pixels: distances on the ground, and outlines in degrees."""

from __future__ import annotations

import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform

from sarhub_models.errors import OptionError
from sarhub_models.scenes.georeference import Georeference, parse_system


def placed(system: str, longitude: float, latitude: float, step: float) -> Georeference:
    [x], [y] = transform("EPSG:4326", system, [longitude], [latitude])
    return Georeference(CRS.from_user_input(system), from_origin(x, y, step, step))


@pytest.mark.parametrize(
    ("system", "place", "step", "expected"),
    [
        ("EPSG:3857", (15, 60), 10, 5.01),  # meters of the map are twice those on the ground
        ("EPSG:3395", (15, 60), 10, 5.01),
        ("EPSG:3857", (15, 0), 10, 10),
        ("EPSG:32633", (15, 60), 10, 10),  # 10.004 m on the ground: what is said counts
        ("EPSG:2263", (-74, 40.7), 10, 3.048),  # feet
        ("EPSG:4326", (15, 0), 0.001, 111),
    ],
)
def test_the_size_of_pixels_is_that_on_the_ground(
    system: str, place: tuple[float, float], step: float, expected: float
) -> None:
    found = placed(system, *place, step).spacing(100, 100)
    assert found == pytest.approx((expected, expected), rel=0.01)
    if system == "EPSG:32633":
        assert found == pytest.approx((10, 10), rel=1e-9)


def test_outlines_in_degrees_are_wgs84_whatever_degrees_the_scene_has() -> None:
    """The old grid of North America lies some tens of meters beside."""
    place = placed("EPSG:4267", -100.0, 40.0, 0.01)
    west, _, _, north = place.footprint(0, 0, 5, 5, wgs84=True).bounds
    assert (west, north) == pytest.approx((-100.0, 40.0), abs=1e-6)
    own = place.footprint(0, 0, 5, 5).bounds
    assert 1e-4 < abs(own[0] + 100) < 1e-3


def test_an_outline_of_other_degrees_across_the_antimeridian_is_split() -> None:
    place = Georeference(CRS.from_epsg(4167), from_origin(179.9, -30, 0.01, 0.01))  # New Zealand
    outline = place.footprint(0, 0, 20, 20, wgs84=True)
    assert len(outline.geoms) == 2
    assert outline.bounds[0] == pytest.approx(-180)
    assert outline.area == pytest.approx(0.04, rel=1e-3)


def test_what_is_no_system_is_refused() -> None:
    with pytest.raises(OptionError, match=r"such as EPSG:32633, got 'EPSG:1'"):
        parse_system("EPSG:1")
