"""Places of pixels: distances on the ground, and outlines in degrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform

from sarhub_models.errors import OptionError
from sarhub_models.io.georeference import Georeference, parse_system, system_name


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


@pytest.mark.parametrize("system", ["EPSG:5773", "EPSG:4978", 'LOCAL_CS["here",UNIT["metre",1]]'])
def test_systems_that_are_not_of_maps_are_refused(system: str) -> None:
    with pytest.raises(OptionError, match="expected a system of maps"):
        parse_system(system)


def test_a_code_is_said_only_where_the_system_is_the_same() -> None:
    """On the ellipsoid of EPSG:23033, but of another datum: that code lies 98 m beside."""
    other = CRS.from_user_input("+proj=utm +zone=33 +ellps=intl")
    assert other.to_epsg() == 23033
    assert CRS.from_wkt(system_name(other)) == other
    assert system_name(CRS.from_user_input("+proj=utm +zone=33 +datum=WGS84")) == "EPSG:32633"


MOON, LOCAL = "+proj=longlat +a=1737400 +b=1737400", 'LOCAL_CS["here",UNIT["metre",1]]'
LOST = [(MOON, (10, 50)), (LOCAL, (0, 0)), ("EPSG:32633", (1e9, 1e9))]


@pytest.mark.parametrize(("system", "corner"), LOST)
@pytest.mark.parametrize(
    "ask",
    [
        lambda place: place.degrees(0, 0),
        lambda place: place.footprint(0, 0, 5, 5, wgs84=True),
        lambda place: place.check_grid("EPSG:32633" if place.crs.is_geographic else "EPSG:4326", 100, 100),
    ],
)
def test_what_no_way_leads_to_degrees_from_is_said_of_the_file(
    system: str, corner: tuple[float, float], ask: Callable[[Georeference], Any]
) -> None:
    place = Georeference(CRS.from_user_input(system), from_origin(*corner, 0.01, 0.01), file="s.tif")
    assert place.spacing(100, 100) is None
    assert place.footprint(0, 0, 5, 5).area == pytest.approx(0.0025, rel=0.01)
    for _ in range(30):  # GDAL stops saying so
        with pytest.raises(OptionError, match=r"s\.tif: nothing leads from coordinates of .* no to_grid for maps"):
            ask(place)


def test_a_point_that_is_not_of_the_body_is_refused() -> None:
    place = Georeference(CRS.from_user_input(MOON), from_origin(10, 50, 0.01, 0.01), file="s.tif")
    with pytest.raises(OptionError, match=r"s\.tif: nothing leads from coordinates of EPSG:4326 to "):
        place.locate(10, 50)


@pytest.mark.parametrize(("system", "grid"), [("EPSG:32601", "EPSG:4326"), ("EPSG:32601", "EPSG:3857")])
def test_a_map_across_the_antimeridian_is_not_torn_apart(system: str, grid: str) -> None:
    place = Georeference(CRS.from_user_input(system), from_origin(200000, 6e6, 640, 640), file="s.tif")
    with pytest.raises(OptionError, match=r"s\.tif: its map crosses the antimeridian.*projected"):
        place.check_grid(grid, 400, 400)
    place.check_grid("EPSG:32660", 400, 400)
    Georeference(place.crs, from_origin(500000, 6e6, 640, 640)).check_grid(grid, 400, 400)
    Georeference(CRS.from_epsg(4326), from_origin(-180, 80, 1, 1)).check_grid("EPSG:3857", 160, 360)
