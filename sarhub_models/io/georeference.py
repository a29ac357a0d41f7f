"""Places of pixels on the Earth: a transform, ground control points, or nothing but pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OptionError
from .geotiff import ENVI, of_gdal, tiff_place
from .images import open_tiff

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = [
    "Georeference",
    "common_system",
    "coordinates",
    "geometry",
    "parse_system",
    "read_georeference",
    "system_name",
]

_PLACED = (".tif", ".tiff", *ENVI)

_WGS84 = "EPSG:4326"
_TURN, _HALF = 360.0, 180.0
_EDGE = 1e-6  # pixels by which a point on the edge may be rounded out of the scene
_TRUE = 0.01  # share by which lengths of a map may differ from those on the ground


@dataclass(frozen=True)
class Georeference:
    """The way from pixels to coordinates, as a file says it; nothing is invented where it says nothing.

    Attributes:
        crs: coordinate reference system (:class:`rasterio.crs.CRS`), or ``None``.
        transform: affine, from (column, row) of a pixel's corner to coordinates, or ``None``.
        gcps: ground control points (:class:`rasterio.control.GroundControlPoint`), in place of a transform.
        file: which said so, for error messages.
    """

    crs: Any = None
    transform: Any = None
    gcps: tuple[Any, ...] = ()
    file: str = field(default="the scene", compare=False)

    @classmethod
    def of(cls, crs: Any, transform: Any, gcps: Sequence[Any]) -> Georeference:
        """Return what the three parts of a file say; the identity that stands for no transform is none."""
        if gcps:
            return cls(crs, None, tuple(gcps))
        known = transform is not None and not transform.is_identity
        return cls(crs, transform) if known else cls()

    @property
    def kind(self) -> str:
        """``"transform"``, ``"gcps"``, or ``"pixels"`` where coordinates are columns and rows."""
        return "gcps" if self.gcps else "pixels" if self.transform is None else "transform"

    @cached_property
    def _splines(self) -> Any:
        """Both directions through the ground control points, exact at each."""
        from rasterio.transform import GCPTransformer

        return GCPTransformer(self.unwrapped().gcps, tps=self.spline)

    @property
    def spline(self) -> bool:
        """The points determine thin-plate splines; four corners determine a polynomial."""
        return len(self.gcps) > 4

    def unwrapped(self) -> Georeference:
        """Return the same with longitudes of the points without a jump at the antimeridian."""
        from rasterio.control import GroundControlPoint

        jump = self._jump
        points = [
            GroundControlPoint(row=p.row, col=p.col, x=p.x + _TURN if jump and p.x < 0 else p.x, y=p.y, z=p.z or 0)
            for p in self.gcps
        ]
        return replace(self, gcps=tuple(points))

    def points_in(self, system: str) -> Georeference:
        """Return the same with ground control points in another coordinate reference system.

        Raises:
            OptionError: nothing leads there.
        """
        from rasterio.control import GroundControlPoint

        if not self.gcps:
            return self
        x, y = self._converted(self.crs, system, [p.x for p in self.gcps], [p.y for p in self.gcps])
        points = [
            GroundControlPoint(row=p.row, col=p.col, x=east, y=north, z=p.z or 0)
            for p, east, north in zip(self.gcps, x, y, strict=True)
        ]
        return replace(self, crs=parse_system(system), gcps=tuple(points)).unwrapped()

    def check_grid(self, system: str, height: int, width: int) -> None:
        """Refuse a grid that a map of so many rows and columns cannot be warped to.

        Raises:
            OptionError: nothing leads to its coordinates, or the map crosses the antimeridian, where they jump.
        """
        if self.gcps and parse_system(system).is_geographic:
            self.points_in(system)  # which go on beyond 180 degrees
            return
        along = np.linspace(0, 1, 21)
        start, end = np.zeros_like(along), np.ones_like(along)
        rows = np.concatenate([start, along, end, along[::-1]]) * height
        columns = np.concatenate([along, end, along[::-1], start]) * width
        around = np.stack(self._converted(self.crs, system, *self.coordinates(rows, columns)))
        if (np.abs(np.diff(around)).max(axis=1) > np.ptp(around, axis=1) / 2).any():
            raise OptionError(
                f"{self.file}: its map crosses the antimeridian, where coordinates of {system} jump; give a projected "
                "system whose grid holds the map in one piece, such as its zone of UTM"
            )

    @property
    def _jump(self) -> bool:
        """The points lie on both sides of the antimeridian."""
        x = [point.x for point in self.gcps]
        return bool(self.geographic and x and max(x) - min(x) > _HALF)

    @property
    def geographic(self) -> bool:
        """Coordinates are degrees."""
        return bool(self.crs is not None and self.crs.is_geographic)

    def coordinates(self, rows: Any, columns: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of points in the scene, float64.

        Beyond the antimeridian longitudes exceed 180, so that neighbors stay neighbors (:meth:`footprint` splits).

        Args:
            rows: of the points; a pixel reaches from its number to the next one, its middle is at half.
            columns: likewise.
        """
        rows, columns = np.atleast_1d(np.asarray(rows, float)), np.atleast_1d(np.asarray(columns, float))
        if self.kind == "pixels":
            return columns, rows
        if self.kind == "gcps":
            x, y = self._splines.xy(rows, columns, offset="ul")
            return np.asarray(x, float), np.asarray(y, float)
        t = self.transform
        return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f

    def pixels(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns, with fractions, of coordinates; the way back of :meth:`coordinates`.

        Degrees count whatever turn they are told in; those beside a scene may be beside it on the other side.
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        if self.kind == "pixels":
            return y, x
        if self.kind == "gcps":
            x = np.where((x < 0) & self._jump, x + _TURN, x)
            rows, columns = self._splines.rowcol(x, y, op=lambda value: value)
            return np.asarray(rows, float), np.asarray(columns, float)
        t = ~self.transform
        turns = np.array([[0.0], [_TURN], [-_TURN]] if self.geographic else [[0.0]])  # -175° is 185°, where a scene is
        rows, columns = (a * (x + turns) + b * y + c for a, b, c in ((t.d, t.e, t.f), (t.a, t.b, t.c)))
        beside = np.where((rows < -_EDGE) | (columns < -_EDGE), np.inf, 0)  # the scene begins at 0
        best = np.argmin(np.abs(rows) + np.abs(columns) + np.where(np.isinf(beside).all(axis=0), 0, beside), axis=0)
        return tuple(np.take_along_axis(each, best[None], axis=0)[0] for each in (rows, columns))

    def locate(self, longitude: Any, latitude: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of places in degrees (WGS 84); without a georeference of (column, row) themselves.

        Raises:
            OptionError: there is a transform, but no coordinate reference system, or nothing leads to it.
        """
        if self.kind == "pixels":
            return self.pixels(longitude, latitude)
        if self.crs is None:
            raise OptionError(f"{self.file} has a transform, but does not say its coordinate reference system")
        return self.pixels(*self._converted(_WGS84, self.crs, longitude, latitude))

    def degrees(self, rows: Any, columns: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes and latitudes (WGS 84) of points in the scene, as :meth:`coordinates` does.

        Raises:
            OptionError: nothing leads there from the scene's own coordinates.
        """
        return self._degrees(*self.coordinates(rows, columns))

    def footprint(self, row: float, column: float, height: float, width: float, *, wgs84: bool = False) -> BaseGeometry:
        """Return the outline of a rectangle of pixels; in two parts where it crosses the antimeridian.

        Args:
            row: first row.
            column: first column.
            height: rows.
            width: columns.
            wgs84: in degrees, as GeoJSON wants it; otherwise in the scene's own coordinates.

        Raises:
            OptionError: nothing leads to degrees.
        """
        from shapely.geometry import Polygon

        rows = np.array([0, 0, 1, 1]) * height + row
        columns = np.array([0, 1, 1, 0]) * width + column
        x, y = self.coordinates(rows, columns)
        geographic = self.geographic
        if wgs84 and self.crs is not None:
            (x, y), geographic = self._degrees(x, y), True
        outline = Polygon(zip(x, y, strict=True))
        return _split(outline) if geographic else outline

    def scaled(self, step: float) -> Georeference:
        """Return the georeference of a grid whose cells cover ``step`` × ``step`` pixels, from the corner on."""
        from affine import Affine
        from rasterio.control import GroundControlPoint

        if self.kind == "gcps":
            points = [
                GroundControlPoint(row=p.row / step, col=p.col / step, x=p.x, y=p.y, z=p.z, id=p.id) for p in self.gcps
            ]
            return replace(self, gcps=tuple(points))
        if self.kind == "pixels":
            return self
        return replace(self, transform=self.transform * Affine.scale(step))

    def spacing(self, height: int, width: int) -> tuple[float, float] | None:
        """Return the distance in meters of rows and of columns in the middle of the scene, or ``None`` if unknown."""
        if self.kind == "pixels" or not _of_maps(self.crs):
            return None
        reach = np.array([height, width]) / 10  # over one pixel, degrees would be rounded
        rows = height / 2 + np.array([0, reach[0], 0])
        columns = width / 2 + np.array([0, 0, reach[1]])
        x, y = self.coordinates(rows, columns)
        try:
            down, across = (float(value) for value in self._ground(x, y) / reach)
        except OptionError:  # of another body, or beside its projection: pixels can do without meters
            return None
        if not np.isfinite([down, across]).all():
            return None
        if self.geographic:
            return down, across
        said = np.hypot(x[1:] - x[0], y[1:] - y[0]) / reach * self.crs.linear_units_factor[1]
        # Within a percent the map's own unit counts: 10 m of UTM are 10.004 m on the ground, and meant to be 10 m
        near = np.abs(said / (down, across) - 1) < _TRUE
        return (float(said[0]), float(said[1])) if near.all() else (down, across)

    def _ground(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distance in meters on the ellipsoid of the first point from each of the others."""
        from pyproj import Geod

        longitude, latitude = self._degrees(x, y)
        count = len(x) - 1
        first = np.full(count, longitude[0]), np.full(count, latitude[0])
        return np.asarray(Geod(ellps="WGS84").inv(*first, longitude[1:], latitude[1:])[2])

    def _degrees(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes and latitudes (WGS 84) of coordinates, likewise without a jump between neighbors."""
        from rasterio.crs import CRS

        if self.crs == CRS.from_string(_WGS84):
            return x, y
        longitude, latitude = self._converted(self.crs, _WGS84, x, y)
        return np.where((longitude < 0) & (np.ptp(longitude) > _HALF), longitude + _TURN, longitude), latitude

    def _converted(self, source: Any, target: Any, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return coordinates in another system, or raise an error that names the file."""
        from rasterio.warp import transform

        try:
            found = np.array(transform(source, target, np.atleast_1d(x).tolist(), np.atleast_1d(y).tolist()))
            if not np.isfinite(found).all():  # GDAL says so 20 times in a process, then nothing
                raise ValueError("points outside of the projection's domain")
        except Exception as err:
            if not (of_gdal(err) or isinstance(err, ValueError)):
                raise
            raise OptionError(
                f"{self.file}: nothing leads from coordinates of {_short(source)} to {_short(target)} there; correct "
                "the system that the file says (gdal_edit.py -a_srs EPSG:CODE) or points that were given, or keep the "
                "scene's own coordinates: .parquet of scenes or .json of images for outlines, "
                "no to_grid for maps"
            ) from err
        return found[0], found[1]

    def profile(self) -> dict[str, Any]:
        """Return the keywords for :func:`rasterio.open` in writing."""
        if self.kind == "gcps":
            return {"gcps": list(self.gcps), "crs": self.crs}
        return {} if self.kind == "pixels" else {"crs": self.crs, "transform": self.transform}


def read_georeference(file: Path) -> Georeference:
    """Return what a file says of its place; only its header is read.

    Raises:
        ImageError: the file is missing or damaged.
    """
    if file.suffix.lower() not in _PLACED:
        return Georeference(file=str(file))
    with open_tiff(file) as dataset:
        return replace(Georeference.of(*tiff_place(dataset)), file=str(file))


def geometry(outline: BaseGeometry) -> dict[str, Any]:
    """Return an outline as a geometry of GeoJSON, drawn counterclockwise, as RFC 7946 wants it."""
    from shapely.geometry import MultiPolygon, mapping
    from shapely.geometry.polygon import orient

    if isinstance(outline, MultiPolygon):
        outline = MultiPolygon([orient(part) for part in outline.geoms])
    else:
        outline = orient(outline)
    return dict(mapping(outline))


def parse_system(text: str) -> Any:
    """Return the coordinate reference system (:class:`rasterio.crs.CRS`) of a text such as ``"EPSG:32633"``.

    Raises:
        OptionError: there is none, or it is not one of maps but of heights, of space, or of an instrument.
    """
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        system = CRS.from_user_input(text)
    except CRSError as err:
        raise OptionError(f"expected a coordinate reference system such as EPSG:32633, got {text!r}") from err
    if not _of_maps(system):
        raise OptionError(f"expected a system of maps, projected or in degrees, such as EPSG:32633, got {text!r}")
    return system


def _of_maps(system: Any) -> bool:
    return system is not None and bool(system.is_geographic or system.is_projected)


def _short(system: Any) -> str:
    """Return the code of a system, or else its name, where the whole text would fill the screen."""
    return str(system).partition('"')[2].partition('"')[0] or str(system)


def coordinates(place: Georeference, system: Any) -> str:
    """Return what coordinates in a system are, for people."""
    if place.kind == "pixels":
        return "pixels (column, row): the scene has no georeference"
    said = "no coordinate reference system is said" if system is None else system_name(system)
    return f"{said}, by {'ground control points' if place.kind == 'gcps' else 'the transform'} of the scene"


def system_name(system: Any) -> str:
    """Return the EPSG code of a coordinate reference system, also of one told in other words; else its WKT."""
    from rasterio.crs import CRS

    code = system.to_epsg()  # a guess: it may be of another datum, a hundred meters beside
    return f"EPSG:{code}" if code is not None and CRS.from_epsg(code) == system else str(system.to_wkt())


def common_system(places: Sequence[Georeference]) -> Any:
    """Return the system that outlines are written in: that of all scenes, or degrees where they differ.

    Raises:
        OptionError: some scenes have a georeference and others have none, or nothing leads to degrees.
    """
    if len({place.kind == "pixels" for place in places}) > 1 or len({place.crs is None for place in places}) > 1:
        raise OptionError("some scenes have a georeference and others have none: give each a file of its own")
    first = places[0].crs
    if all(place.crs == first for place in places):
        return first
    from rasterio.crs import CRS

    for place in places:
        place.degrees(0, 0)
    return CRS.from_string(_WGS84)


def _split(outline: Any) -> BaseGeometry:
    """Return an outline in degrees whose parts beyond ±180° are on the other side, as RFC 7946 wants it."""
    from shapely.affinity import translate
    from shapely.geometry import MultiPolygon, box

    if outline.bounds[0] < -_HALF:
        outline = translate(outline, _TURN)
    west, _, east, _ = outline.bounds
    if west >= _HALF:
        return translate(outline, -_TURN)
    if east <= _HALF:
        return outline
    near = outline.intersection(box(-_TURN, -90, _HALF, 90))
    far = translate(outline.intersection(box(_HALF, -90, 2 * _TURN, 90)), -_TURN)
    return MultiPolygon([near, far])
