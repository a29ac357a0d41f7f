"""Run a job on a Ray cluster: actors hold the network, and write each group where the driver finds it.

The folder of the groups, the scenes and the weights must be at the same paths on all machines.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import errors
from ..errors import ImageError, MissingDependencyError, SarHubError
from ..io.progress import progress_bar
from .models import WindowModel
from .products import Scene
from .runner import Job, Unit, compute_unit

__all__ = ["run_ray"]


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
        MissingDependencyError: Ray is missing.
    """
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise MissingDependencyError("the engine ray needs Ray: pip install 'sarhub-models[scenes,ray]'") from err
    todo, total = job.todo(), sum(map(len, job.plans))
    if not todo:
        return
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    left = sum(unit.stop - unit.start for unit in todo)
    sizes = {unit.number: unit.stop - unit.start for unit in todo}
    rows = ray.data.from_items([{"unit": unit.number} for unit in todo], override_num_blocks=len(todo))
    done = rows.map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        concurrency=(1, len(todo)),
        num_gpus=1 if job.model.device.startswith("cuda") else None,
        max_restarts=-1,
        max_task_retries=-1,
    )
    with progress_bar("windows", total, done=total - left, show=progress) as advance:
        for row in done.iter_rows():
            if row["kind"]:
                known = getattr(errors, row["kind"], None)
                kind = known if isinstance(known, type) and issubclass(known, SarHubError) else ImageError
                raise (OSError if row["kind"].endswith("OSError") else kind)(row["reason"])
            advance(sizes[int(row["unit"])])
