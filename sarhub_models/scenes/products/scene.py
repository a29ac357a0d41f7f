"""An open scene: its size, bands, radiometry and georeference, and its pixels window by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...errors import ImageError
from ...io.georeference import Georeference
from ...io.raster import Raster
from ..plan import Window
from .sources import Place

__all__ = ["Rows", "Scene", "choose_bands"]

Rows = tuple[int, int]
"""First row, or column, and the one behind the last."""


class Scene(ABC):
    """A large raster of which no more is in memory than the window that is read.

    Use it as a context manager, or :meth:`close` it. One thread at a time may read.

    Args:
        path: as it was given.
        shape: height and width in pixels.
        bands: names of the bands that :meth:`read` returns, ``""`` where nobody says them.
        georeference: places of its pixels.
        radiometry: what its pixels hold, a name of :data:`~sarhub_models.transforms.RADIOMETRIES`, where the product
            says it.
        spacing: meters of a row and of a column, where the product says them; otherwise as of its georeference.
        product: kind of product, for people.
    """

    def __init__(
        self,
        path: Place,
        shape: tuple[int, int],
        bands: Sequence[str],
        georeference: Georeference,
        *,
        radiometry: str | None = None,
        spacing: tuple[float, float] | None = None,
        product: str = "raster",
    ) -> None:
        self.path, self.bands = path, tuple(bands)
        self.georeference = replace(georeference, file=str(path))
        self.height, self.width = shape
        self.radiometry, self.product = radiometry, product
        self.spacing = spacing or georeference.spacing(*shape)

    @property
    def name(self) -> str:
        """Name of its file or folder."""
        return self.path.name

    @property
    def files(self) -> list[Path]:
        """All files here that it is read from."""
        if not isinstance(self.path, Path):
            return []
        return sorted(file for file in self.path.rglob("*") if file.is_file()) if self.path.is_dir() else [self.path]

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Return path, size in bytes and time of change in nanoseconds of each of its files."""
        known = [(file, file.stat()) for file in self.files]
        return tuple((str(file), status.st_size, status.st_mtime_ns) for file, status in known)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read the pixels of a window.

        Returns:
            The bands (C, height, width), real or complex, 0 beyond the scene; and bool (height, width), ``True`` where
            all of them have data.

        Raises:
            ImageError: they cannot be read, as where the file is truncated; the message names file and window.
        """
        top, left = max(window.row, 0), max(window.column, 0)
        bottom = min(window.row + window.height, self.height)
        right = min(window.column + window.width, self.width)
        if top >= bottom or left >= right:
            raise ImageError(f"{self.path}: the window at row {window.row}, column {window.column} lies outside")
        with self._naming(window):
            pixels, valid = self._pixels((top, bottom), (left, right))
        if pixels.dtype.kind in "fc":
            valid = valid & np.isfinite(pixels).all(axis=0)
        if pixels.shape[1:] == (window.height, window.width):
            return pixels, valid
        whole = np.zeros((len(pixels), window.height, window.width), pixels.dtype)
        known = np.zeros(whole.shape[1:], bool)
        place = (
            slice(top - window.row, bottom - window.row),
            slice(left - window.column, right - window.column),
        )
        whole[:, place[0], place[1]], known[place] = pixels, valid
        return whole, known

    def overview(self, side: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return every n-th pixel of every n-th row, their mask, and n, so that no side exceeds ``side``."""
        step = max(-(-max(self.shape) // side), 1)
        rows = range(step // 2, self.height, step)
        lines = [self._thinned(row, slice(step // 2, None, step)) for row in rows]
        pixels, masks = zip(*lines, strict=True)
        return np.concatenate(pixels, axis=1), np.concatenate(masks), step

    def _thinned(self, row: int, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return some pixels of a row and their mask; copies, for a view would keep the whole row in memory."""
        pixels, valid = self.read(Window(row, 0, 1, self.width))
        return pixels[:, :, columns].copy(), valid[:, columns].copy()

    @abstractmethod
    def _pixels(self, rows: Rows, columns: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Read the bands within the scene, (C, h, w), and where all of them have data, bool (h, w)."""

    @abstractmethod
    def close(self) -> None:
        """Close its files."""

    @contextmanager
    def _naming(self, window: Window) -> Iterator[None]:
        try:
            yield
        except ImageError as err:
            text = str(err)
            raise type(err)(text if text.startswith(str(self.path)) else f"{self.path}: {text}") from err.__cause__
        except Exception as err:  # whatever a decoder makes of damaged bytes
            raise ImageError(
                f"{self.path}: the window of {window.height} x {window.width} pixels at row {window.row}, column "
                f"{window.column} cannot be read; truncated or damaged? ({type(err).__name__}: {err})"
            ) from err

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def choose_bands(
    names: Sequence[str],
    wanted: Sequence[str],
    *,
    given: Sequence[str] | None = None,
    band: int | str | Sequence[int] | None = None,
) -> list[int]:
    """Return the indices of the bands that a network takes, in its order.

    Args:
        names: that the product gives its bands, ``""`` where it does not.
        wanted: names that the network gives them; none for all.
        given: names of the product's bands in their order, where it does not say them.
        band: the only band to take, counted from 1 or by its name; or the positions of several, in the order of the
            network.

    Raises:
        ImageError: as :meth:`Raster.match <sarhub_models.io.raster.Raster.match>` and ``named`` say.
    """
    # A raster whose only pixel is the number of its band picks bands, and words refusals, as those of chips are
    raster = Raster(np.arange(len(names)).reshape(-1, 1, 1), bands=tuple(names))
    if isinstance(band, str):
        raster = raster.named(band)
    elif band is not None:
        positions = [band] if isinstance(band, int) else band
        if beyond := [number for number in positions if not 1 <= number <= len(names)]:
            raise ImageError(f"has no band {beyond[0]}, only 1 to {len(names)}")
        raster = raster.select([number - 1 for number in positions])
    elif wanted or given:
        raster = raster.match(wanted or given or (), given=given)
    return [int(index) for index in raster.array.ravel()]
