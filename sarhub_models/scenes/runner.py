"""A job walks a model over the windows of scenes: its parts, and the runner of one process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ImageError, RadiometryWarning
from ..io.progress import progress_bar
from ..io.windows import KNOWN, shares
from .groups import Group, Groups
from .models import BOX, ModelSpec, WindowModel
from .plan import Plan
from .products import Place, Scene, open_scene
from .reading import Batch, ahead, batches

__all__ = ["Job", "SceneSpec", "Unit", "compute_unit", "run_local"]

BATCHES = 4  # of a group


@dataclass(frozen=True)
class SceneSpec:
    """All that it takes to open a scene in another process.

    Attributes:
        path: of the scene, or its places elsewhere.
        options: of :func:`~sarhub_models.scenes.products.open_scene`.
        stamp: of :meth:`Scene.stamp <sarhub_models.scenes.products.Scene.stamp>`, by which a change is seen.
    """

    path: Place
    options: dict[str, Any] = field(default_factory=dict)
    stamp: tuple[tuple[str, int, int], ...] = ()

    def open(self) -> Scene:
        """Open it."""
        return open_scene(self.path, **self.options)


@dataclass(frozen=True)
class Unit:
    """A group of a job: so many windows of one scene.

    Attributes:
        number: in the job.
        scene: index of the scene.
        start: first window.
        stop: the one behind the last.
    """

    number: int
    scene: int
    start: int
    stop: int


@dataclass(frozen=True)
class Job:
    """Scenes, their plans, and the model that walks over them; small, so that it is sent to other machines.

    Attributes:
        scenes: what to open.
        plans: of each.
        model: what to load.
        folder: of the groups.
        batch_size: windows that go through the network at once; the same windows in every runner, so that results are
            equal to the bit.
        max_nodata: share of a cell without data above which its window is left out.
        half: keep results in float16.
        threads: of torch, which some kernels' rounding depends on.
    """

    scenes: tuple[SceneSpec, ...]
    plans: tuple[Plan, ...]
    model: ModelSpec
    folder: Path
    batch_size: int = 32
    max_nodata: float = 0.5
    half: bool = False
    threads: int = field(default_factory=torch.get_num_threads)

    def units(self) -> list[Unit]:
        """Return all groups."""
        step = self.batch_size * BATCHES
        found: list[Unit] = []
        for scene, plan in enumerate(self.plans):
            for start in range(0, len(plan), step):
                found.append(Unit(len(found), scene, start, min(start + step, len(plan))))
        return found

    def todo(self) -> list[Unit]:
        """Return the groups that are not done."""
        groups = Groups(self.folder)
        return [unit for unit in self.units() if not groups.done(unit.number)]

    def maker(self, model: WindowModel) -> dict[str, Any]:
        """Return all that decides what its groups hold, JSON-ready."""
        return {
            "weights": model.digest(),
            "scenes": [[scene.stamp, _plain(scene.options)] for scene in self.scenes],
            "plans": [asdict(plan) for plan in self.plans],
            "batch_size": self.batch_size,
            "max_nodata": self.max_nodata,
            "kind": self.model.kind,
        }


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def compute_unit(job: Job, unit: Unit, scene: Scene, model: WindowModel) -> None:
    """Compute one group and write it.

    Raises:
        ImageError: a window cannot be read, contradicts the radiometry, or gives NaN; the message names it.
        OSError: the disk refuses.
    """
    _write(job, unit, scene, model, ahead(lambda: _batches(job, unit, scene, model)))


def run_local(job: Job, model: WindowModel, *, progress: bool = True) -> None:
    """Compute all groups that are not done, in this process; a thread reads ahead.

    Raises:
        ImageError: as :func:`compute_unit` says.
        OSError: the disk refuses.
    """
    todo, total = job.todo(), sum(map(len, job.plans))
    left = sum(unit.stop - unit.start for unit in todo)
    with progress_bar("windows", total, done=total - left, show=progress) as advance:
        for index, spec in enumerate(job.scenes):
            units = [unit for unit in todo if unit.scene == index]
            if units:
                with spec.open() as scene:
                    _run_scene(job, units, scene, model, advance)


def _run_scene(
    job: Job, units: Sequence[Unit], scene: Scene, model: WindowModel, advance: Callable[[int], None]
) -> None:
    def read() -> Iterator[tuple[Unit, Batch | None]]:
        for unit in units:
            for batch in _batches(job, unit, scene, model):
                yield unit, batch
            yield unit, None

    def of_one() -> Iterator[Batch]:
        for _, batch in pairs:
            if batch is None:
                return
            yield batch

    pairs = ahead(read)
    try:
        for unit in units:
            _write(job, unit, scene, model, of_one())
            advance(unit.stop - unit.start)
    finally:
        pairs.close()  # type: ignore[attr-defined]


def _batches(job: Job, unit: Unit, scene: Scene, model: WindowModel) -> Iterator[Batch]:
    return batches(
        scene,
        job.plans[unit.scene],
        range(unit.start, unit.stop),
        size=job.batch_size,
        max_nodata=job.max_nodata,
        radiometry=model.transform.steps["radiometry"].given,
    )


def _write(job: Job, unit: Unit, scene: Scene, model: WindowModel, ready: Iterator[Batch]) -> None:
    indices: list[int] = []
    values: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    kind = np.float16 if job.half else np.float32
    for batch in ready:
        found = _computed(job, unit, scene, model, batch)
        indices += batch.indices
        values.append(found)
        insides = [job.plans[unit.scene].inside(index) for index in batch.indices]
        if job.model.kind == "boxes":
            _leave_out(found, batch.masks, insides)
        masks += [
            _shrunk(mask, inside, found.shape[2:], 1 - job.max_nodata)
            for mask, inside in zip(batch.masks, insides, strict=True)
        ]
    group = Group(
        np.asarray(indices, np.int64),
        np.concatenate(values) if values else np.zeros((0, 0, 0, 0), kind),
        np.stack(masks) if masks else np.zeros((0, 0, 0), bool),
    )
    Groups(job.folder).save(unit.number, group)


def _computed(job: Job, unit: Unit, scene: Scene, model: WindowModel, batch: Batch) -> np.ndarray:
    """Return the model's output for a batch, or name the window that is to blame."""
    try:
        with _quiet():
            found = model(batch.pixels).astype(np.float16 if job.half else np.float32)
    except ImageError as err:
        for index, pixels in zip(batch.indices, batch.pixels, strict=True):
            if (reason := _refusal(model, pixels)) is not None:
                raise ImageError(f"{_place(job, unit, scene, index)}: {reason}") from err
        raise ImageError(f"{scene.path}: {err}") from err
    bad = np.flatnonzero(~np.isfinite(found).reshape(len(found), -1).all(axis=1))
    if len(bad):
        raise ImageError(
            f"{_place(job, unit, scene, batch.indices[bad[0]])}: the network gives NaN or infinity there; check the "
            "radiometry and the weights"
        )
    return found


def _refusal(model: WindowModel, pixels: np.ndarray) -> str | None:
    """Return why a window is refused, if it is."""
    try:
        with _quiet():
            model([pixels])
    except ImageError as err:
        return str(err)
    return None


def _place(job: Job, unit: Unit, scene: Scene, index: int) -> str:
    window = job.plans[unit.scene][index]
    return f"{scene.path}, window at row {window.row}, column {window.column}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Do not tell doubts about single windows: a bright one is no other radiometry; the scene was checked before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RadiometryWarning)
        yield


def _leave_out(found: np.ndarray, masks: Sequence[np.ndarray], insides: Sequence[np.ndarray]) -> None:
    """Set the score of boxes to 0 where less than half of what lies in the scene has data."""
    for values, mask, inside in zip(found, masks, insides, strict=True):
        if mask.all():
            continue
        rows = values.reshape(-1, BOX)  # a view
        boxes = rows[:, :4] * len(mask)
        rows[shares(mask, boxes) < KNOWN * shares(inside, boxes), 4] = 0


def _shrunk(mask: np.ndarray, inside: np.ndarray, shape: tuple[int, ...], least: float) -> np.ndarray:
    """Return a mask at another size: valid where at least this share of the pixels that lie in the scene is."""
    if mask.shape == shape:
        return mask
    both = torch.from_numpy(np.stack([mask, inside]).astype(np.float32))
    have, can = torch.nn.functional.adaptive_avg_pool2d(both, tuple(shape)).numpy()  # type: ignore[arg-type]
    return np.asarray((have > 0) & (have >= least * can))
