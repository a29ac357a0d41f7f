"""The training loop, on any number of processes through Accelerate.

Everything random in a step is keyed by the seed and the step (:mod:`.seeds`), so the state of a run is its
tensors and its step: nothing else has to be saved to go on exactly.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from ..errors import InputError, OptionError
from ..zoo.entries import ModelInfo
from .adapters import without_adapters
from .augment import INPUT, Numbers, make_transform
from .batches import Batch, Plan, Rank, steps_per_epoch
from .checkpoint import check_same, load_last, restore, save_best, save_last, state_of
from .description import run_info
from .divergence import all_finite, diverged
from .head import fit_head
from .interruption import Seen, StopRequest, Watch
from .metrics import check_monitor
from .optimizer import keep_norms, make_optimizer
from .provenance import comparable, split_digests
from .sections import Recipe, Runtime
from .seeds import key
from .skipped import Skipped
from .sources import Sources, Split
from .splits import mean_std
from .tasks import objective_of

Row = dict[str, float]
_PLAIN = ("step", "history", "best", "seconds", "waited", "mean", "std", "detail")


def make_accelerator(runtime: Runtime, accumulate: int) -> Accelerator:
    """Return this process's view of all processes: the GPUs that torchrun hands out, or CPUs over gloo.

    Raises:
        OptionError: the precision needs a GPU.
    """
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if cpu and (runtime.precision == "fp16" or runtime.sync_batchnorm):
        raise OptionError("runtime.precision=fp16 and runtime.sync_batchnorm need a GPU, and none is here")
    AcceleratorState._reset_state()  # a run before this one in the same process may have had another precision
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision={"fp32": "no"}.get(runtime.precision, runtime.precision),
        gradient_accumulation_steps=accumulate,
        dynamo_backend="inductor" if runtime.compile else None,
        step_scheduler_with_optimizer=False,
    )
    accelerator.wait_for_everyone()  # one that refuses its input and ends would break the others' start, not its own
    return accelerator


class Trainer:
    """One run.

    Args:
        recipe: what to compute.
        train: training split.
        val: validation split, scored after every epoch; ``None`` keeps the weights of the last.
        folder: where checkpoints are kept; one that is there is continued.
        accelerator: of :func:`make_accelerator`.

    Attributes:
        history: one row of numbers per finished epoch.
        best: the row of the epoch whose weights are kept.
        detail: its :func:`~sarhub_models.engine.metrics.make_detail`; empty without a validation split.
        data: digests of the splits, see :func:`~sarhub_models.engine.provenance.split_digests`.
        step: mini-batches done.
        steps: mini-batches per epoch.
        skipped: the damaged samples that were left out.
        mean: of the pixels after the operator, one number or one a band.
        std: of the pixels after the operator, likewise.

    Raises:
        InputError: the training split has fewer samples than one step takes, or the other one than there are processes.
        OptionError: the folder holds a run of another recipe, or on other data.
        CheckpointError: the checkpoint in the folder is damaged.
    """

    def __init__(self, recipe: Recipe, train: Split, val: Split | None, folder: Path, accelerator: Accelerator) -> None:
        self.recipe, self.train, self.val, self.folder, self.accelerator = recipe, train, val, folder, accelerator
        optim = recipe.optim
        self.process = Rank(accelerator.process_index, accelerator.num_processes)
        self.steps = steps_per_epoch(len(train), optim, self.process.world)
        if val is not None and len(val) < self.process.world:
            raise InputError(f"{len(val)} samples to validate on are too few for {self.process.world} processes")
        self.task = objective_of(recipe, train)
        self.monitor = check_monitor(recipe.evaluation.monitor, *self.task.score_names(train))
        saved = load_last(folder)
        self.data = split_digests(train, val)
        if saved is not None:
            check_same(folder, saved, recipe, self._identity())
        given = recipe.data.input
        measured = mean_std(train, recipe.preprocess, given=given) if saved is None else (saved["mean"], saved["std"])
        self.mean: Numbers = measured[0]
        self.std: Numbers = measured[1]
        self.transform = make_transform(recipe.preprocess, self.mean, self.std, given=given)
        self._prepare(fresh=saved is None)
        self.history: list[Row] = []
        self.best: Row = {}
        self.detail = torch.empty(0)
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.skipped = Skipped(accelerator)
        self.stop = StopRequest()
        self.watch = Watch(accelerator, self.stop, recipe.runtime.save_minutes)
        if saved is not None:
            for name in _PLAIN:
                setattr(self, name, saved[name])
            self.skipped.names, self.watch.total = saved["skipped"], saved["total"]
            restore(self._parts(), saved)

    def _prepare(self, fresh: bool) -> None:
        recipe, accelerator, optim = self.recipe, self.accelerator, self.recipe.optim
        self.objective = self.task(recipe, self.train, self.mean, self.std, self.process).to(accelerator.device)
        start = recipe.model if fresh else recipe.model.model_copy(update={"init": "none"})  # last.pt has the weights
        channels = (recipe.data.input or INPUT)["channels"]
        network = self.objective.build(start, channels)
        self.head_loss = float("nan")
        self._random_head: dict[str, Tensor] = {}
        if fresh and recipe.model.head != "random":
            network.to(accelerator.device)
            self._fit_head(network)
        if optim.backbone_factor == 0:
            self.objective.freeze(network)
        elif optim.keep_norms:
            keep_norms(network)
        self.network = self.objective.attach(network)
        if recipe.runtime.channels_last:
            self.network.to(memory_format=torch.channels_last)
        # Copied before Accelerate wraps the forward pass: scores are those of the plain network in float32.
        self.averaged = ModelEmaV3(self.network, optim.ema, use_warmup=True) if optim.ema is not None else None
        self.scored = self.averaged.module if self.averaged else copy.deepcopy(self.network)
        self.scored.to(accelerator.device)
        self.network.to(accelerator.device)
        model: nn.Module = self.network
        if recipe.runtime.sync_batchnorm and accelerator.num_processes > 1:
            model = self.network = convert_sync_batchnorm(self.network)  # torch's own would drop DenseNet's activations
        optimizer, self.schedule = make_optimizer(model, optim, self.steps, head=self.objective.head)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    def _fit_head(self, network: Any) -> None:
        """Fit the head to the features, the same in all processes, and keep the random one where that is trained."""
        head = network.get_classifier()
        if self.recipe.model.head == "anew":
            self._random_head = {name: broadcast(value.clone()) for name, value in head.state_dict().items()}
            if self.val is None:
                return
        self.head_loss = fit_head(network, self.train, self.val, self.transform, device=self.accelerator.device)
        for parameter in head.parameters():
            broadcast(parameter.data)

    def _score_start(self, on_epoch: Callable[[Row], None]) -> None:
        """Score the fitted head before any step, which may not make it better; then let go of it where asked to."""
        self._end_epoch(on_epoch)
        if self._random_head:
            for network in (self.network, self.scored):
                head: Any = self.objective.detach(network)
                head.get_classifier().load_state_dict(self._random_head)

    @property
    def finished(self) -> bool:
        """True when all epochs are done, or the scores have not become better for ``optim.patience`` of them.

        Epoch 0 does not count: a good start is left behind while the rate is high, and may be surpassed later.
        """
        optim = self.recipe.optim
        trained = [row for row in self.history if row["epoch"] > 0 and self.monitor in row]
        best = max(trained, key=lambda row: row[self.monitor])["epoch"] if trained else 0
        waited = trained[-1]["epoch"] - best if trained else 0
        return self.step == self.steps * optim.epochs or (optim.patience is not None and waited >= optim.patience)

    def run(self, on_step: Callable[[int, float], None], on_epoch: Callable[[Row], None]) -> bool:
        """Train to the end, or until the process is asked to stop.

        Args:
            on_step: called after every step with the steps done and the mean loss of the step before.
            on_epoch: called with the row of every epoch, and before its checkpoint is written.

        Returns:
            Whether the run is finished; if not, the folder holds the checkpoint to go on from.

        Raises:
            DivergedError: the loss or the weights are not finite; the batch is saved, and the last checkpoint is from
                before it.
            DataError: a damaged sample, with ``data.on_error=stop``.
        """
        with self.stop:
            if self.recipe.model.head != "random" and self.val is not None and not self.step:
                self._score_start(on_epoch)
            for batch in self.batches():
                before = self._passed()
                self.watch.note(batch, self._guarded_step(batch))
                on_step(self.step, before.loss)
                at_end = self.step % self.steps == 0
                requested = before.requested or (self.process.world == 1 and self.stop.requested)  # alone: at once
                if self.step % self.recipe.optim.accumulate or not (at_end or requested or before.due):
                    continue
                self._passed()  # what is saved must be good
                self._check_state()
                if at_end:
                    self._end_epoch(on_epoch)
                self.save()
                if requested or self.finished:
                    return self.finished
        return True

    def _identity(self) -> dict[str, Any]:
        """Return what a run and its continuation must agree in."""
        return {
            "recipe": comparable(self.recipe.model_dump(mode="json")),
            "global_batch": self.recipe.optim.batch_size * self.process.world,
            "quotas": self._quotas(),
            "counts": self.train.counts.tolist(),
            "data": self.data,
        }

    def _quotas(self) -> list[int]:
        """Return the samples of each source in a step of all processes, nothing of one data set."""
        return self.train.shared(self.recipe.optim, self.process) if isinstance(self.train, Sources) else []

    def _parts(self) -> dict[str, Any]:
        """Return what has a state of its own, by its name in a checkpoint; ``None`` for what this run does without."""
        averaged = None if self.averaged is None else self.averaged.module
        return {
            "model": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "averaged": averaged,
            "scaler": self.accelerator.scaler,
        }

    def save(self) -> None:
        """Write the checkpoint to resume from; all processes must take part."""
        self.skipped.share()
        self.watch.saved()
        if not self.accelerator.is_main_process:
            return
        self._count_seconds()
        plain = {name: getattr(self, name) for name in _PLAIN}
        noted = {"skipped": self.skipped.names, "total": self.watch.total}
        save_last(self.folder, {**self._identity(), **plain, **noted, **state_of(self._parts())})

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of all remaining steps on the device, and note how long each was waited for."""
        optim, device = self.recipe.optim, self.accelerator.device
        plan = Plan(self.steps, optim.epochs, optim.batch_size, self.recipe.runtime.seed, self.process, self.step)
        batches = iter(self.train.training(plan, pin=device.type == "cuda"))
        self._resumed = time.perf_counter()
        while True:
            begun = time.perf_counter()
            batch: Any = next(batches, None)
            self.waited += time.perf_counter() - begun
            if batch is None:
                return
            self.skipped.note(batch)
            yield batch.to(device)

    def _guarded_step(self, batch: Batch) -> Tensor:
        try:
            return self.train_step(batch)
        except InputError as err:  # the losses look at the logits where that costs nothing, on a CPU
            raise diverged(self.folder, self.process, batch, self.step + 1, str(err)) from err

    def train_step(self, batch: Batch) -> Tensor:
        """Compute gradients for one mini-batch, move the weights where it is time to, and return the loss."""
        torch.manual_seed(key(self.recipe.runtime.seed, "step", self.step, self.process.rank))  # dropout and drop path
        with self.accelerator.accumulate(self.model):
            value: Tensor = self.objective(self.model, batch, self.step)
            self.accelerator.backward(value)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.accelerator.sync_gradients and not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
            if self.averaged is not None:
                self.averaged.update(self.network, step=self.schedule.last_epoch)
        self.step += 1
        return value.detach()

    def _end_epoch(self, on_epoch: Callable[[Row], None]) -> None:
        if self.step:
            self._count_seconds()
        if self.averaged is None:
            self.scored.load_state_dict(self.network.state_dict())
        for buffer in self.scored.buffers():  # each process has averaged over its own samples: the first one's are kept
            broadcast(buffer)
        scores, detail = self._score()
        self.skipped.share()
        row: Row = {
            "epoch": self.step // self.steps,
            "loss": self.watch.total / self.steps if self.step else self.head_loss,
            **scores,
            "learning_rate": float(self.schedule.get_last_lr()[0]),
            **self._speed(),
            "skipped": len(self.skipped.names),
        }
        self.history.append(row)
        if not self.best or not scores or row[self.monitor] > self.best[self.monitor]:
            self.best, self.detail = row, detail
            if self.accelerator.is_main_process and (scores or self.finished):
                network = without_adapters(self.objective.detach(self.scored))
                save_best(self.folder, network.state_dict(), self._info(network, row, scores))
        self.watch.total = 0.0
        on_epoch(row)
        self.seconds, self.waited, self._resumed = 0.0, 0.0, time.perf_counter()

    def _speed(self) -> Row:
        """Return how fast the epoch was; zeros before the first step."""
        images = self.steps * self.recipe.optim.batch_size * self.process.world
        seconds = self.seconds if self.step else float("inf")
        return {"images_per_second": images / seconds, "waiting_for_data": self.waited / seconds}

    def _info(self, network: nn.Module, row: Row, scores: Row) -> ModelInfo:
        """Return the entry of the weights as they are now."""
        return run_info(
            self.recipe,
            mean=self.mean,
            std=self.std,
            class_names=self.train.class_names,
            multilabel=self.train.multilabel,
            params=sum(parameter.numel() for parameter in network.parameters()),
            training={
                "epoch": row["epoch"],
                "validation": scores,
                "samples": self.data,
                "global_batch": self.recipe.optim.batch_size * self.process.world,
            },
        )

    def _score(self) -> tuple[Row, Tensor]:
        """Return the scores of the validation split and their details, both empty where there is none."""
        if self.val is None:
            return {}, torch.empty(0)
        device = self.accelerator.device
        loader = self.val.evaluation(self.recipe.evaluation.batch_size, process=self.process, pin=device.type == "cuda")
        return self.objective.score(self.scored, map(self.skipped.note, loader), self.transform, device)

    def _count_seconds(self) -> None:
        now = time.perf_counter()
        self.seconds, self._resumed = self.seconds + now - self._resumed, now

    def _passed(self) -> Seen:
        """Return what was seen in the step before; raise if its loss was not finite."""
        seen = self.watch.seen()
        if seen.diverged:
            assert self.watch.batch is not None
            raise diverged(self.folder, self.process, self.watch.batch, self.step, "the loss is not finite")
        return seen

    def _check_state(self) -> None:
        """Raise if a tensor of the state is not finite: a finite loss can have gradients that are not."""
        values = [value for values in self.optimizer.state.values() for value in values.values()]
        tensors = [*self.network.state_dict().values(), *(value for value in values if isinstance(value, Tensor))]
        if not all_finite(tensors, self.accelerator):
            assert self.watch.batch is not None
            raise diverged(self.folder, self.process, self.watch.batch, self.step, "the weights are not finite")
