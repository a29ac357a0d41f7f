"""Windows of a scene become the pixels that a network is given: masked, filled, resampled; read ahead in a thread."""

from __future__ import annotations

import contextlib
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch

from ..errors import ImageError, RadiometryWarning
from ..io.raster import fill_nodata
from ..transforms.radiometry import RADIOMETRIES, check_values, convert_radiometry
from .models import WindowModel
from .plan import Plan, Window
from .products import Scene

__all__ = ["Batch", "ahead", "batches", "check_bands", "check_radiometry", "read_ready"]

Item = TypeVar("Item")
_LATTICE = 4  # windows down and across that are looked at before a run
_SAMPLED = _LATTICE**2  # with data, at most
_SPAN = 2048  # columns that are read at once
_AHEAD = 2  # batches that wait to be computed
_END = object()


@dataclass(frozen=True)
class Batch:
    """Windows that go through a network at once.

    Attributes:
        indices: in the plan.
        pixels: of each window, (C, side, side), all with a value.
        masks: of each, bool (side, side), where the scene has data.
    """

    indices: list[int]
    pixels: list[np.ndarray]
    masks: list[np.ndarray]


def read_ready(scene: Scene, window: Window, side: int, radiometry: str | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the pixels of a window with a value for each, and their mask; ``None`` where there is nothing to see.

    Pixels without data get the lower median of the others. At another resolution power is averaged, not decibels.

    Args:
        scene: where to read.
        window: what to read.
        side: pixels that it becomes on each side.
        radiometry: what the scene holds.
    """
    return _ready(*scene.read(window), side, radiometry)


def _ready(
    pixels: np.ndarray, valid: np.ndarray, side: int, radiometry: str | None
) -> tuple[np.ndarray, np.ndarray] | None:
    if not (pixels.any(axis=0) & valid).any():  # no radar measures 0 everywhere: such margins are often not said
        return None
    if not valid.all():
        pixels = fill_nodata(pixels, np.broadcast_to(valid, pixels.shape), nodata="fill")
    if valid.shape != (side, side):
        pixels, valid = _resampled(pixels, valid, side, radiometry)
    return pixels, valid


def batches(
    scene: Scene, plan: Plan, indices: Sequence[int], *, size: int, max_nodata: float, radiometry: str | None
) -> Iterator[Batch]:
    """Read windows and yield them in batches; those of which too much has no data are left out.

    Args:
        scene: where to read.
        plan: its windows.
        indices: of the windows to read.
        size: windows in a batch.
        max_nodata: share of a cell without data above which its window is left out.
        radiometry: what the scene holds.
    """
    batch = Batch([], [], [])
    for index, pixels, valid in _each(scene, plan, indices):
        ready = _ready(pixels, valid, plan.input_size, radiometry)
        if ready is None or _missing(plan, index, valid) > max_nodata:
            continue
        batch.indices.append(index)
        batch.pixels.append(ready[0])
        batch.masks.append(ready[1])
        if len(batch.indices) == size:
            yield batch
            batch = Batch([], [], [])
    if batch.indices:
        yield batch


def _each(scene: Scene, plan: Plan, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the pixels and masks of windows; neighbors are read at once, and what they share is read once."""
    for start, stop in _runs(plan, indices):
        first, last = plan[start], plan[stop - 1]
        span = Window(first.row, first.column, plan.size, last.column + plan.size - first.column)
        pixels, valid = scene.read(span)
        for index in range(start, stop):
            left = plan[index].column - first.column
            part = slice(left, left + plan.size)
            yield index, pixels[:, :, part], valid[:, part]


def _runs(plan: Plan, indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last + 1 of windows that lie side by side, of so many pixels at most."""
    most, start = max(_SPAN // plan.stride, 1), None
    for index in indices:
        if start is None:
            start, stop = index, index + 1
        elif index == stop and index % plan.columns and stop - start < most:
            stop += 1
        else:
            yield start, stop
            start, stop = index, index + 1
    if start is not None:
        yield start, stop


def _missing(plan: Plan, index: int, valid: np.ndarray) -> float:
    """Return the share of the cell of a window that has no data."""
    cell, halo = plan.cell(index), plan.halo
    own = valid[halo : halo + cell.height, halo : halo + cell.width]
    return 1 - float(own.mean())


def check_bands(scene: Scene, model: WindowModel) -> None:
    """Refuse a scene that is read with another number of bands than the network takes.

    Raises:
        ImageError: it is; the message says its bands, and how others are chosen.
    """
    taken, count = len(model.transform.bands), len(scene.bands)
    if count == taken:
        return
    names = f"{count} ({', '.join(name or '?' for name in scene.bands)})"
    if taken == 1:
        raise ImageError(
            f"{scene.path}: the weights take one band, the scene has {names}; say which one to read with band=1 to "
            f"{count} or its name (--band on the command line)"
        )
    raise ImageError(
        f"{scene.path}: the weights take {taken} bands ({', '.join(model.transform.bands)}), {names} would be "
        "read; leave band out, and name those of the file with bands (--bands on the command line)"
    )


def check_radiometry(scene: Scene, plan: Plan, model: WindowModel) -> None:
    """Refuse a scene whose values contradict the radiometry that it is said to have, by some windows all over it.

    Raises:
        ImageError: they do; it says what was seen.

    Warns:
        RadiometryWarning: integers are divided by more than in the training of the weights.
    """
    values = _sample(scene, plan)
    if not values.size:
        return
    try:
        if model.transform.takes_amplitude:
            model.amplitude(values)
            return
        given = model.transform.steps["radiometry"].given
        row = RADIOMETRIES.get(given or "")
        if values.dtype.kind == "c":
            if row is None or not row.scale.magnitude:
                raise ImageError(
                    f"holds complex pixels, which are no {row.title if row else 'known quantity'}; say "
                    "radiometry='dn' and full_scale"
                )
            values = np.abs(values)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RadiometryWarning)
            check_values(torch.from_numpy(values.astype(np.float32)), given)
    except (ImageError, RadiometryWarning) as err:
        raise ImageError(f"{scene.path}: {err}") from err


def _sample(scene: Scene, plan: Plan) -> np.ndarray:
    """Return the values of windows all over a scene; closer and closer ones until some have data."""
    count, seen = _LATTICE, set[int]()
    while True:
        rows, columns = (((np.arange(count) + 0.5) * size / count).astype(int) for size in (plan.rows, plan.columns))
        chosen = set(np.add.outer(rows * plan.columns, columns).ravel().tolist())
        windows = (scene.read(plan[index]) for index in sorted(chosen - seen))
        values = (pixels[:, valid].ravel() for pixels, valid in windows)
        found = list(islice((each for each in values if each.any()), _SAMPLED))
        if found or count >= max(plan.rows, plan.columns):
            return np.concatenate(found) if found else np.empty(0)
        seen |= chosen
        count *= 2


def ahead(make: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """Yield what an iterator yields, which runs in a thread and is a little ahead.

    An error of the thread is raised here, in its place. If the caller stops early, so does the thread.
    """
    waiting: queue.Queue[Any] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in make():
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as err:
            put((_END, err))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def _resampled(
    pixels: np.ndarray, valid: np.ndarray, side: int, radiometry: str | None
) -> tuple[np.ndarray, np.ndarray]:
    power = "intensity" if radiometry in RADIOMETRIES else None
    values = torch.from_numpy(np.abs(pixels) if pixels.dtype.kind == "c" else pixels.astype(np.float32))
    if radiometry is not None and power is not None:
        values = convert_radiometry(values, radiometry, power, full_scale=1)
    values = _interpolated(values, side)
    if radiometry is not None and power is not None:
        values = convert_radiometry(values, power, radiometry, full_scale=1)
    share = _interpolated(torch.from_numpy(valid.astype(np.float32))[None], side)[0]
    sized = values.numpy()
    if radiometry in (None, "amplitude") and pixels.dtype.kind in "iu":  # their dtype says the full scale
        sized = np.rint(sized).astype(pixels.dtype)
    return sized, share.numpy() >= 0.5


def _interpolated(values: torch.Tensor, side: int) -> torch.Tensor:
    sized: torch.Tensor = torch.nn.functional.interpolate(values[None], (side, side), mode="bilinear", antialias=True)
    return sized[0]
