"""Run a job on a Ray cluster: actors hold the network, and write each group where the driver finds it.

The folder of the groups, the scenes and the weights must be at the same paths on all machines.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from .. import errors
from ..errors import MissingDependencyError, SarHubError, StoppedError
from ..io.progress import progress_bar
from .models import WindowModel
from .products import Scene
from .runner import Job, Unit, compute_unit

__all__ = ["run_ray"]

_TRIES = 3  # passes in which nothing gets done, before it is given up


class _Worker:
    """An actor: the network is loaded once, and a scene stays open while its groups come."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)  # as in one process: rounding can depend on it
        self.job, self.units, self.model = job, job.units(), WindowModel(job.model)
        self.open: tuple[int, Scene] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute a group; a refusal is a result, which no retry would change."""
        unit = self.units[int(batch["unit"][0])]
        kind = reason = ""
        try:
            self._compute(unit)
        except (SarHubError, OSError) as err:
            kind, reason = type(err).__name__, str(err)
        return {"unit": batch["unit"], "kind": [kind], "reason": [reason]}

    def _compute(self, unit: Unit) -> None:
        if self.open is None or self.open[0] != unit.scene:
            if self.open is not None:
                self.open[1].close()
            self.open = unit.scene, self.job.scenes[unit.scene].open()
        compute_unit(self.job, unit, self.open[1], self.model)


def run_ray(job: Job, *, progress: bool = True, address: str | None = None) -> None:
    """Compute all groups that are not done, on a Ray cluster.

    Groups are small and written as a whole: an actor or a node that dies costs only the ones it was at, which Ray gives
    to others.

    Args:
        job: what to run.
        progress: draw a bar on stderr where that is a terminal.
        address: of the cluster; by default the one that this process is connected to, else one on this machine.

    Raises:
        SarHubError: as :func:`~sarhub_models.scenes.runner.compute_unit` says; what was done is kept.
        OSError: the disk refuses; what was done is kept.
        StoppedError: no worker could finish anything.
        MissingDependencyError: Ray is missing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray tells its makers of its use
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise MissingDependencyError("the engine ray needs Ray: pip install 'sarhub-models[scenes,ray]'") from err
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what a dead actor was at is not done, and the next pass takes it
    units = job.units()
    total, todo = sum(map(len, job.plans)), job.todo()
    left = sum(unit.stop - unit.start for unit in todo)
    with progress_bar("windows", total, done=total - left, show=progress) as advance:
        tries, failure = _TRIES, "its workers ended"
        while todo and tries:
            try:
                for row in _pass(job, todo):
                    _check(row)
                    unit = units[int(row["unit"])]
                    advance(unit.stop - unit.start)
            except (SarHubError, OSError):
                raise
            except Exception as err:  # of Ray: a node died while an actor started there, and the others go on
                failure = (str(err).strip() or type(err).__name__).splitlines()[-1]
                _let_go(err)
            gc.collect()
            before, todo = len(todo), job.todo()
            tries = _TRIES if len(todo) < before else tries - 1
    if todo:
        raise StoppedError(
            f"{len(todo)} groups could not be computed on the Ray cluster ({failure}); start the same command again to "
            "resume"
        )


def _let_go(err: BaseException | None) -> None:
    """Drop what the frames of an error hold, the actors of its pass: while a log keeps it, the next pass gets none."""
    while err is not None:
        traceback.clear_frames(err.__traceback__)
        err = err.__cause__ or err.__context__


def _pass(job: Job, todo: Sequence[Unit]) -> Iterator[dict[str, Any]]:
    """Give each group to an actor once, and yield what came of it."""
    import ray
    import ray.data

    gpu = job.model.device.startswith("cuda")
    there = ray.cluster_resources().get("GPU" if gpu else "CPU", 1)
    most = max(min(int(there if gpu else there // job.threads), len(todo)), 1)
    rows = ray.data.from_items([{"unit": unit.number} for unit in todo], override_num_blocks=len(todo))
    yield from rows.map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=None if gpu else job.threads,
        num_gpus=1 if gpu else None,
        max_restarts=0,
        max_task_retries=0,
    ).iter_rows()


def _check(row: dict[str, Any]) -> None:
    """Raise the error that a group ended with, if it did."""
    if not row["kind"]:
        return
    known = getattr(errors, row["kind"], OSError)
    raise known(row["reason"])
