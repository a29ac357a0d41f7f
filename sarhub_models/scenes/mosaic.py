"""Windows become one grid again: a value a cell, or overlapping maps that are blended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, OptionError
from ..io.georeference import Georeference
from .groups import Group, Groups
from .plan import Plan
from .runner import Unit

__all__ = ["Grid", "cells", "done_groups", "strips"]


@dataclass(frozen=True)
class Grid:
    """The grid that the maps of windows are put together on.

    Attributes:
        height: cells from top to bottom.
        width: cells from left to right.
        step: pixels of the scene in a cell, along a side.
        side: cells of a window's map.
    """

    height: int
    width: int
    step: int
    side: int

    @classmethod
    def of(cls, plan: Plan, side: int) -> Grid:
        """Return the grid of maps of ``side`` × ``side`` values a window; of one value, the plan's own cells.

        Raises:
            OptionError: neighboring windows would not meet on one grid.
        """
        if side == 1:
            return cls(plan.rows, plan.columns, plan.stride, 1)
        step = plan.size // side
        if plan.size % side or plan.stride % step or (plan.size - plan.stride) % (2 * step):
            raise OptionError(
                f"windows of {plan.size} pixels become maps of {side} values, {plan.size / side:g} pixels each: the "
                f"stride must be a multiple of that which leaves as much on both sides, not {plan.stride}"
            )
        return cls(-(-plan.height // step), -(-plan.width // step), step, side)

    def georeference(self, scene: Georeference) -> Georeference:
        """Return the places of its cells."""
        return scene.scaled(self.step)


def done_groups(groups: Groups, units: Sequence[Unit]) -> Iterator[Group]:
    """Yield the groups of a scene in their order.

    Raises:
        DataError: one is missing or damaged.
    """
    for unit in units:
        group = groups.load(unit.number)
        if group is None:
            raise DataError(f"{groups.folder}: group {unit.number} is missing or damaged; start the same command again")
        yield group


def cells(plan: Plan, found: Iterator[Group], channels: int) -> Iterator[np.ndarray]:
    """Yield rows of the plan's cells, (channels, 1, columns) each; NaN where a window was left out."""
    row, values = 0, np.full((channels, 1, plan.columns), np.nan, np.float32)
    for group in found:
        for index, value in zip(group.indices.tolist(), group.values, strict=True):
            place = divmod(index, plan.columns)
            while row < place[0]:
                yield values
                row, values = row + 1, np.full_like(values, np.nan)
            values[:, 0, place[1]] = value[:, 0, 0]
    while row < plan.rows:
        yield values
        row, values = row + 1, np.full_like(values, np.nan)


def strips(plan: Plan, grid: Grid, found: Iterator[Group], channels: int) -> Iterator[np.ndarray]:
    """Yield blended maps, (channels, rows, width) each; NaN where the scene has no data or no window saw it.

    Where windows overlap, values are averaged with weights that fall to nearly 0 at their margins, so that no seam
    shows. Memory holds the rows of one line of windows.
    """
    blender = _Blender(plan, grid, channels)
    row = 0
    for group in found:
        for index, value, valid in zip(group.indices.tolist(), group.values, group.valid, strict=True):
            place = divmod(index, plan.columns)
            while row < place[0]:
                row += 1
                yield from blender.finished(row)
            blender.add(place[1], value, valid)
    for line in range(row + 1, plan.rows):
        yield from blender.finished(line)
    yield from blender.finished(None)


class _Blender:
    """Sums of weighted maps in the rows that windows still to come can touch."""

    def __init__(self, plan: Plan, grid: Grid, channels: int) -> None:
        self.grid, self.stride, self.halo = grid, plan.stride // grid.step, plan.halo // grid.step
        width = plan.columns * self.stride + 2 * self.halo
        self.top = -self.halo  # of the sums, in the grid
        self.sums = np.zeros((channels, grid.side, width), np.float32)
        self.weights = np.zeros((grid.side, width), np.float32)
        self.seen = np.zeros((grid.side, width), bool)
        edge = np.sin(np.pi * (np.arange(grid.side) + 0.5) / grid.side) ** 2
        self.window = np.outer(edge, edge).astype(np.float32)

    def add(self, column: int, value: np.ndarray, valid: np.ndarray) -> None:
        """Add the map of the window of a column in the current line of windows."""
        place = slice(column * self.stride, column * self.stride + self.grid.side)
        self.sums[:, :, place] += value.astype(np.float32) * self.window
        self.weights[:, place] += self.window
        self.seen[:, place] |= valid

    def finished(self, line: int | None) -> Iterator[np.ndarray]:
        """Yield the rows that no window of this line of windows or a later one touches; ``None`` for all."""
        count = self.stride if line is not None else self.grid.height - self.top
        begin, end = max(-self.top, 0), min(count, self.grid.height - self.top)
        if begin < end:
            yield self._rows(begin, end)
        if line is not None:
            for array in (self.sums, self.weights, self.seen):
                array[..., : -count or None, :] = array[..., count:, :]
                array[..., self.grid.side - count :, :] = 0
            self.top += count

    def _rows(self, begin: int, end: int) -> np.ndarray:
        end_here = min(end, self.grid.side)
        columns = slice(self.halo, self.halo + self.grid.width)
        known = self.seen[begin:end_here, columns]
        weights = np.where(known, self.weights[begin:end_here, columns], 1)
        found = np.where(known, self.sums[:, begin:end_here, columns] / weights, np.nan)
        rest = np.full((len(found), end - end_here, found.shape[2]), np.nan, found.dtype)
        return np.concatenate([found, rest], axis=1).astype(np.float32)
