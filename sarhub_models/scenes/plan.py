"""A plan of windows: square cells that tile a scene, each seen with its surroundings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError

__all__ = ["Plan", "Window", "make_plan"]

_SQUARE = 1.2  # one side of a pixel beside the other, at most
_NEAR = 0.02  # share by which the resolution of a map may differ from what was asked for


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, which may reach beyond its scene.

    Attributes:
        row: first row, negative above the scene.
        column: first column.
        height: rows.
        width: columns.
    """

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class Plan:
    """Windows on a regular grid, in rows from the top.

    The cells, ``stride`` pixels a side, tile the scene from its upper left corner on, so that a grid of one value a
    cell has the scene's own georeference with larger pixels. The window of a cell is ``size`` pixels a side, with the
    cell in its middle: the halo around it overlaps the neighbors', and at the margins reaches beyond the scene.

    Attributes:
        height: rows of the scene.
        width: columns of the scene.
        size: side of a window in pixels of the scene.
        stride: side of a cell.
        input_size: side of what the network is given: a window read at another resolution than the scene's is
            resampled to it.
    """

    height: int
    width: int
    size: int
    stride: int
    input_size: int

    @property
    def halo(self) -> int:
        """Pixels of a window on each side of its cell."""
        return (self.size - self.stride) // 2

    @property
    def rows(self) -> int:
        """Cells from top to bottom."""
        return -(-self.height // self.stride)

    @property
    def columns(self) -> int:
        """Cells from left to right."""
        return -(-self.width // self.stride)

    def __len__(self) -> int:
        return self.rows * self.columns

    def __iter__(self) -> Iterator[Window]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Window:
        cell = self.cell(index)
        return Window(cell.row - self.halo, cell.column - self.halo, self.size, self.size)

    def cell(self, index: int) -> Window:
        """Return the cell of a window, cut to the scene."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, column = (number * self.stride for number in divmod(index, self.columns))
        return Window(row, column, min(self.stride, self.height - row), min(self.stride, self.width - column))

    def clipped(self, index: int) -> tuple[int, int, int, int]:
        """Return row, column, height and width of a window, cut to the scene."""
        window = self[index]
        row, column = max(window.row, 0), max(window.column, 0)
        bottom, right = min(window.row + window.height, self.height), min(window.column + window.width, self.width)
        return row, column, bottom - row, right - column

    def inside(self, index: int) -> np.ndarray:
        """Return where a window lies in the scene, bool (``input_size``, ``input_size``)."""
        window = self[index]
        steps = (np.arange(self.input_size) + 0.5) * self.size / self.input_size
        rows, columns = window.row + steps, window.column + steps
        return np.outer((rows >= 0) & (rows < self.height), (columns >= 0) & (columns < self.width))

    def around(self, row: float, column: float) -> Window:
        """Return the window with a point in its middle."""
        return Window(round(row - self.size / 2), round(column - self.size / 2), self.size, self.size)


def make_plan(
    shape: tuple[int, int],
    *,
    size: int,
    stride: int | None = None,
    overlap: float | None = None,
    resolution: float | None = None,
    spacing: tuple[float, float] | None = None,
    side: int = 1,
) -> Plan:
    """Return the windows of a scene.

    Args:
        shape: height and width of the scene in pixels.
        size: side of what the network is given, in pixels at ``resolution``.
        stride: side of a cell, likewise; by default that of the window.
        overlap: share of a window that the next one shares, in place of ``stride``: 0 to below 1.
        resolution: meters a pixel that the network is given; by default the scene's own.
        spacing: meters of a row and of a column of the scene, where they are known.
        side: values on each side of the map that becomes of a window; with more than one the default is an overlap of
            half, an overlap becomes the nearest one with as many values on both sides of a cell, and each value stands
            for whole pixels, which a resolution must allow to within 2 %.

    Raises:
        OptionError: numbers are impossible, or a resolution is asked for and that of the scene is unknown or does not
            fit the map.

    >>> plan = make_plan((1000, 1500), size=256, overlap=0.5)
    >>> len(plan), plan[0]
    (96, Window(row=-64, column=-64, height=256, width=256))
    """
    if size < 1:
        raise OptionError(f"expected windows of at least 1 pixel, got size={size}")
    if stride is not None and overlap is not None:
        raise OptionError("stride and overlap both say where the next window begins: give one of them")
    if overlap is not None and not 0 <= overlap < 1:
        raise OptionError(f"expected overlap to be from 0 to below 1, got {overlap}")
    if stride is None and side > 1:
        margin = min(round((0.5 if overlap is None else overlap) * side / 2), (side - 1) // 2)
        stride = size - 2 * (size // side) * margin
    stride = max(round(size * (1 - (overlap or 0))), 1) if stride is None else stride
    if not 1 <= stride <= size:
        raise OptionError(f"expected a stride from 1 to the size of a window, {size}, got {stride}")
    scale = 1.0 if resolution is None else _scale(resolution, spacing)
    if scale == 1 and side > 1:
        return Plan(*shape, size, stride, size)  # what does not fit is refused, not changed
    unit = 1 if side == 1 else _unit(size * scale / side, resolution)
    whole = max(round(size * scale), 1) if side == 1 else unit * side
    cell = max(round(stride * scale / unit), 1) * unit
    if (whole - cell) // unit % 2:  # the same halo on both sides
        whole, cell = (whole + unit, cell) if side == 1 else (whole, max(cell - unit, unit))
    return Plan(*shape, whole, cell, size if scale != 1 else whole)


def _unit(wanted: float, resolution: float | None) -> int:
    """Return the whole pixels of the scene that a value of the map stands for."""
    unit = max(round(wanted), 1)
    if resolution is not None and abs(unit / wanted - 1) > _NEAR:
        near = " or ".join(f"{count * resolution / wanted:g} m" for count in (int(wanted), int(wanted) + 1) if count)
        raise OptionError(
            f"a resolution of {resolution:g} m makes a value of the map {wanted:g} pixels of the scene long, which "
            f"must be a whole number: give {near}"
        )
    return unit


def _scale(resolution: float, spacing: tuple[float, float] | None) -> float:
    """Return how many pixels of the scene one of the network's is long."""
    if not (math.isfinite(resolution) and resolution > 0):
        raise OptionError(f"expected a resolution above 0 m, got {resolution}")
    if spacing is None:
        raise OptionError("the scene does not say the size of its pixels: leave resolution out")
    if max(spacing) > _SQUARE * min(spacing):
        raise OptionError(
            f"the pixels of the scene, {spacing[0]:g} m x {spacing[1]:g} m, are not square: leave resolution out"
        )
    return resolution / math.sqrt(spacing[0] * spacing[1])
