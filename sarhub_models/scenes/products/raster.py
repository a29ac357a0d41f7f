"""Scenes in GeoTIFF (also BigTIFF and Cloud-Optimized) and ENVI files: one for all bands, or one a polarization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImageError, SarHubError
from ...io.georeference import Georeference
from ...io.geotiff import TiffBands, connect, connect_remote, offline, read_part, tiff_bands, tiff_place
from ...io.images import companions
from ...io.limits import check_regular
from ...io.raster import Raster, polarization
from ...weights.http import without_credentials
from .scene import Rows, Scene, choose_bands
from .sources import Place, Source, is_remote, virtual_path

__all__ = ["CACHE", "RasterScene"]

CACHE = 256 << 20
"""Bytes of decoded blocks that GDAL keeps for all open files; it would take a twentieth of the memory."""

_APART = 0.5  # pixels by which the points of two polarizations may differ


class RasterScene(Scene):
    """A scene in files that GDAL opens as GeoTIFF or ENVI.

    Args:
        path: the file; of one whose name says its polarization the others lie beside it, see
            :func:`~sarhub_models.io.images.read_bands`. Or the places of all.
        wanted: names of the bands that the network takes; none for all of the file.
        given: names of the bands of the file, where it does not say them.
        band: the only band to take.
        radiometry: what the pixels hold, which such files do not say.
        trained: as of :func:`~sarhub_models.scenes.products.open_scene`.

    Raises:
        ImageError: a file is missing, damaged or of another kind, has not these bands, or those of two polarizations
            differ in size or place.
    """

    def __init__(
        self,
        path: Place,
        *,
        wanted: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: int | str | None = None,
        radiometry: str | None = None,
        trained: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        with ExitStack() as opened:
            if isinstance(path, Source) and len(path.files) > 1:
                parts = {name: file for name, file in path.files}
                with _naming(str(path)):
                    chosen = choose_bands(list(parts), wanted, given=given, band=band)
                names = [list(parts)[index] for index in chosen]
                self._parts = [_connect(parts[name], opened) for name in names]
                self._check_same()
                if wide := [part for part in self._parts if len(part.bands.names) > 1]:
                    raise ImageError(f"{wide[0]}: expected one band, {names[0]}, found {len(wide[0].bands.names)}")
                self._indices = list(range(len(names)))
            else:
                names = self._open(path, wanted, given, band, trained or {}, opened)
            first = self._parts[0].dataset
            super().__init__(
                path,
                first.shape,
                names,
                Georeference.of(*tiff_place(first)),
                radiometry=radiometry,
                product=f"{first.driver} raster",
            )
            self._opened = opened.pop_all()

    def _open(
        self,
        path: Place,
        wanted: Sequence[str],
        given: Sequence[str] | None,
        band: int | str | None,
        trained: Mapping[str, Sequence[Any]],
        opened: ExitStack,
    ) -> list[str]:
        """Open a file, and those of other polarizations beside it; return the names of the bands to read."""
        said, file = path.files[0] if isinstance(path, Source) else ("", str(path))
        self._parts = [_connect(file, opened)]
        names = self._parts[0].bands.names
        if said and len(names) == 1:
            names = (said,)
            # One band for one that is wanted needs no name, but here an item says that it is another one
            if given is None and band is None and len(wanted) == 1 and wanted[0].upper() != said:
                raise ImageError(
                    f"{path}: expected the band {wanted[0]}, it holds {said} alone; band=1 takes it as it is"
                )
        alone = isinstance(path, Source) or given is not None or band is not None
        if not alone and len(wanted) > 1 and len(names) == 1 and polarization(Path(file).stem):
            self._parts += [_connect(str(other), opened) for other in companions(Path(file), wanted)]
            self._check_same()
            names = tuple(polarization(Path(part.place).stem) for part in self._parts)
        chosen: int | str | Sequence[int] | None = band
        if given is None and band is None and len(self._parts) == 1 < len(names) and not (wanted and all(names)):
            # Neither the caller nor names settle which of several are meant: those of the fine-tuning are
            chosen, given = trained.get("band"), trained.get("bands") if wanted else None
        with _naming(file):
            self._indices = choose_bands(names, wanted, given=given, band=chosen)
        named = given or names
        return [named[index] for index in self._indices]

    @property
    def files(self) -> list[Path]:
        """Its files here, and what GDAL reads beside them: headers, masks, metadata."""
        local = [part for part in self._parts if not is_remote(part.place)]
        return sorted({Path(file) for part in local for file in (part.place, *part.dataset.files)})

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Return what a change is seen by; of a file in an object store where its last block begins, and its bytes."""
        return super().stamp() + tuple(
            (without_credentials(part.place), *_last_block(part.dataset))
            for part in self._parts
            if is_remote(part.place)
        )

    def _check_same(self) -> None:
        first = self._parts[0].dataset
        for part in self._parts[1:]:
            dataset = part.dataset
            for what, here, there in (
                ("size", first.shape, dataset.shape),
                ("coordinate reference system", first.crs, dataset.crs),
                ("transform", first.transform, dataset.transform),
            ):
                if here != there:
                    raise ImageError(
                        f"{self._parts[0]} and {Path(part.place).name} beside it differ in their {what}: "
                        f"{_line(here)} and {_line(there)}; bring both to one grid"
                    )
            if (apart := _apart(first, dataset)) > _APART:
                raise ImageError(
                    f"{self._parts[0]} and {Path(part.place).name} beside it have ground control points that put the "
                    f"same pixel {apart:.3g} pixels apart; bring both to one grid"
                )

    def _pixels(self, rows: Rows, columns: Rows) -> tuple[np.ndarray, np.ndarray]:
        with offline(GDAL_CACHEMAX=CACHE):
            if len(self._parts) == 1:
                raster = self._parts[0].read(self._indices, (rows, columns))
                return raster.array, raster.mask
            rasters = [self._parts[index].read([0], (rows, columns)) for index in self._indices]
        return np.concatenate([one.array for one in rasters]), np.logical_and.reduce([one.mask for one in rasters])

    def close(self) -> None:
        """Close its files."""
        self._opened.close()


@dataclass(frozen=True)
class _Part:
    """An open raster: its place, dataset, and what its bands are."""

    place: str
    dataset: Any
    bands: TiffBands

    def __str__(self) -> str:
        return _shown(self.place)

    def read(self, indices: Sequence[int], window: tuple[Rows, Rows]) -> Raster:
        return read_part(self.dataset, self.bands, indices, window=window)


def _connect(place: str, opened: ExitStack) -> _Part:
    """Return an open raster, which ``opened`` closes."""
    with _naming(place):
        if is_remote(place):
            dataset = opened.enter_context(connect_remote(virtual_path(place)))
        else:
            check_regular(Path(place))
            dataset = opened.enter_context(connect(Path(place)))
        told = tiff_bands(Path(_shown(place)), dataset)
        if told.rgb:
            raise ImageError("a color picture, no scene of radar pixels; band=1 of a copy with one band")
        return _Part(place, dataset, told)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    shown = _shown(place)
    try:
        yield
    except SarHubError as err:
        if not isinstance(err, ImageError):
            raise
        raise ImageError(f"{shown}: {err}") from err.__cause__
    except Exception as err:  # whatever GDAL makes of damaged bytes
        reason = str(err).replace(place, shown)
        why = "cannot be opened as a raster, truncated or damaged?"
        if is_remote(place):
            why = "cannot be reached, or is no GeoTIFF"
        raise ImageError(f"{shown}: {why} ({type(err).__name__}: {reason})") from err


def _shown(place: str) -> str:
    """Return a place for people: an address without its query, which may be a token."""
    return without_credentials(place).removesuffix("?…") if is_remote(place) else place


def _last_block(dataset: Any) -> tuple[int, int]:
    """Return where the last block of a GeoTIFF begins, and its bytes; 0 where it holds none."""
    rows, columns = (-(-size // block) - 1 for size, block in zip(dataset.shape, dataset.block_shapes[-1], strict=True))
    names = (f"BLOCK_{what}_{columns}_{rows}" for what in ("OFFSET", "SIZE"))
    start, size = (int(dataset.get_tag_item(name, "TIFF", bidx=dataset.count) or 0) for name in names)
    return start, size


def _apart(first: Any, second: Any) -> float:
    """Return how many pixels apart the ground control points of two rasters put the same pixel, at most."""
    (points, system), (others, other) = first.gcps, second.gcps
    if not points or not others:
        return np.inf if points or others else 0.0
    rows, columns = np.array([(point.row, point.col) for point in others]).T
    x, y = Georeference(other, None, tuple(others)).coordinates(rows, columns)
    found = Georeference(system, None, tuple(points)).pixels(x, y) if system == other else (np.inf, np.inf)
    return float(np.max(np.hypot(found[0] - rows, found[1] - columns)))


def _line(value: Any) -> str:
    return " ".join(str(value).split())
