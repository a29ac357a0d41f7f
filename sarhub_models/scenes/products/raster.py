"""Scenes in GeoTIFF (also BigTIFF and Cloud-Optimized) and ENVI files: one for all bands, or one a polarization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImageError
from ...io.geotiff import connect, offline, read_part, tiff_bands, tiff_place
from ...io.images import companions
from ...io.limits import check_regular
from ...io.raster import polarization
from ..georeference import Georeference
from .scene import Rows, Scene, choose_bands

__all__ = ["CACHE", "RasterScene"]

CACHE = 256 << 20
"""Bytes of decoded blocks that GDAL keeps for all open files; it would take a twentieth of the memory."""


class RasterScene(Scene):
    """A scene in files that GDAL opens as GeoTIFF or ENVI.

    Args:
        path: the file; of one whose name says its polarization the others lie beside it, see
            :func:`~sarhub_models.io.images.read_bands`.
        wanted: names of the bands that the network takes; none for all of the file.
        given: names of the bands of the file, where it does not say them.
        band: the only band to take.
        radiometry: what the pixels hold, which such files do not say.

    Raises:
        ImageError: a file is missing, damaged or of another kind, has not these bands, or those of two polarizations
            differ in size or place.
    """

    def __init__(
        self,
        path: Path,
        *,
        wanted: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: int | str | None = None,
        radiometry: str | None = None,
    ) -> None:
        with ExitStack() as opened:
            self._parts = [(path, *_connect(path, opened))]
            names = self._parts[0][2].names
            if len(wanted) > 1 and len(names) == 1 and given is None and band is None and polarization(path.stem):
                self._parts += [(other, *_connect(other, opened)) for other in companions(path, wanted)]
                self._check_same()
                names = tuple(polarization(file.stem) for file, _, _ in self._parts)
            with _naming(path):
                self._indices = choose_bands(names, wanted, given=given, band=band)
            place = Georeference.of(*tiff_place(self._parts[0][1]))
            named = given or names
            super().__init__(
                path,
                self._parts[0][1].shape,
                [named[index] for index in self._indices],
                place,
                radiometry=radiometry,
                product=f"{self._parts[0][1].driver} raster",
            )
            self._opened = opened.pop_all()

    @property
    def files(self) -> list[Path]:
        """Its files, and what GDAL reads beside them: headers, masks, metadata."""
        return sorted({Path(file) for path, dataset, _ in self._parts for file in (path, *dataset.files)})

    def _check_same(self) -> None:
        first = self._parts[0][1]
        for file, dataset, _ in self._parts[1:]:
            for what, here, there in (
                ("size", first.shape, dataset.shape),
                ("coordinate reference system", first.crs, dataset.crs),
                ("transform", first.transform, dataset.transform),
            ):
                if here != there:
                    raise ImageError(
                        f"{self._parts[0][0]} and {file.name} beside it differ in their {what}: {_line(here)} and "
                        f"{_line(there)}; bring both to one grid"
                    )

    def _pixels(self, rows: Rows, columns: Rows) -> tuple[np.ndarray, np.ndarray]:
        with offline(GDAL_CACHEMAX=CACHE):
            if len(self._parts) == 1:
                raster = read_part(self._parts[0][1], self._parts[0][2], self._indices, window=(rows, columns))
                return raster.array, raster.mask
            parts = [self._parts[index][1:] for index in self._indices]
            rasters = [read_part(dataset, told, [0], window=(rows, columns)) for dataset, told in parts]
        return np.concatenate([one.array for one in rasters]), np.logical_and.reduce([one.mask for one in rasters])

    def close(self) -> None:
        """Close its files."""
        self._opened.close()


def _connect(file: Path, opened: ExitStack) -> tuple[Any, Any]:
    """Return an open dataset, which ``opened`` closes, and what its bands are."""
    check_regular(file)
    with _naming(file):
        dataset = opened.enter_context(connect(file))
        told = tiff_bands(file, dataset)
        if told.rgb:
            raise ImageError("a color picture, no scene of radar pixels; band=1 of a copy with one band")
        return dataset, told


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except ImageError as err:
        raise ImageError(f"{file}: {err}") from err.__cause__
    except Exception as err:  # whatever GDAL makes of damaged bytes
        raise ImageError(
            f"{file}: cannot be opened as a raster, truncated or damaged? ({type(err).__name__}: {err})"
        ) from err


def _line(value: Any) -> str:
    return " ".join(str(value).split())
