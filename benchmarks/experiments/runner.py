"""The runner of trials: what is finished is not run again, and a trial that fails takes no other along.

The folder of a trial holds ``provenance.json``, what it was computed from, before anything is computed; ``log.txt``;
and, last of all, ``scores.json``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from sarhub_models.engine.processes import sigterm_interrupts
from sarhub_models.errors import DataError, MissingDependencyError, SarHubError
from sarhub_models.io.files import clear_abandoned, write_text
from sarhub_models.io.json_files import read_object

from .provenance import Provenance
from .trial import Trial, check_folders

__all__ = ["INTERRUPTED", "LOG", "SCORES", "Experiment", "alone", "finished", "run_trials"]

SCORES, LOG = "scores.json", "log.txt"
INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again
# Processes begin with the training imported, else each would take seconds to start.
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@dataclass(frozen=True)
class Experiment:
    """Base of an experiment, which holds what its trials share; it must be picklable.

    Attributes:
        out: folder of the trials and the report.
    """

    out: Path

    def execute(self, trial: Trial, folder: Path) -> Mapping[str, float]:
        """Compute a trial, or go on with it, in its folder, and return its scores."""
        raise NotImplementedError

    def provenance(self, trial: Trial) -> Provenance:
        """Return what a trial is computed from."""
        raise NotImplementedError

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Check what trials need that are run now: what is wrong is better known before the first hour."""

    def process(self, trial: Trial) -> Hashable:
        """Return what trials share that run in one process, one after the other."""
        return trial

    def work(self, trial: Trial) -> float:
        """Return the expected time of a trial, in any unit."""
        return 1.0

    def leaves(self, trial: Trial) -> tuple[str, ...]:
        """Return the files beside the scores without which a trial is not finished."""
        return ()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder.

    Raises:
        DataError: another one works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise DataError(f"another command works in {folder}: wait for it, or give another --out") from None
    with lock:
        clear_abandoned(folder)
        yield


def finished(experiment: Experiment, trials: Sequence[Trial]) -> dict[Trial, dict[str, float]]:
    """Return the scores of those trials that are finished and not damaged."""
    found = {}
    for trial in trials:
        folder = experiment.out / trial.folder
        try:
            stored = read_object(folder / SCORES)
            scores = {str(name): float(value) for name, value in stored["scores"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if all((folder / name).is_file() for name in experiment.leaves(trial)):
            found[trial] = scores
    return found


@sigterm_interrupts()
def run_trials(
    experiment: Experiment,
    trials: Sequence[Trial],
    *,
    jobs: int = 0,
    threads: int = 1,
    done: Callable[[Trial], object] = lambda trial: None,
) -> None:
    """Run the trials that are not finished, under a progress bar.

    SIGINT and SIGTERM are passed on to those that run, and end the call when they have ended.

    Args:
        experiment: what is computed.
        trials: in the order in which they are run.
        jobs: so many run together, each in a process; 0 runs them in this process, one after the other.
        threads: CPU threads of each process.
        done: called with each trial that was finished.

    Raises:
        OptionError: two trials have one folder, or a folder holds results of other settings, data or weights; nothing
            was run then.
        DataError: some failed, which the message names; the others were run.
        MissingDependencyError: a package is missing, without which no other trial could be run either.
        SarHubError: the only trial failed; or what trials are computed from cannot be read.
        KeyboardInterrupt: the process was asked to end.
    """
    check_folders(trials)
    provenance = {trial: experiment.provenance(trial) for trial in trials}
    for trial in trials:
        provenance[trial].check(experiment.out / trial.folder)
    known = finished(experiment, trials)
    groups: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        if trial not in known:
            groups.setdefault(experiment.process(trial), []).append(trial)
    experiment.prepare([trial for group in groups.values() for trial in group])
    failed: dict[Trial, SarHubError] = {}
    with _Runs(experiment, provenance, jobs, threads) as runs, _bar(len(trials) - len(known)) as bar:
        task = bar.add_task("", total=sum(experiment.work(trial) for trial in trials if trial not in known))
        for group, errors in runs.outcomes([*groups.values()]):
            failed |= errors
            for trial in group:
                bar.update(task, advance=experiment.work(trial), description=f"{len(failed)} failed" if failed else "")
                if trial not in failed:
                    done(trial)
    if failed and len(trials) == 1:
        raise next(iter(failed.values()))
    if failed:
        lines = [f"{trial.folder}: {error}" for trial, error in failed.items()]
        raise DataError("\n".join([f"{len(failed)} of {len(trials)} trials failed; the report has the others", *lines]))


class _Runs:
    """Groups of trials that are computed, in this process or in others; these end when it is left early."""

    def __init__(self, experiment: Experiment, provenance: Mapping[Trial, Provenance], jobs: int, threads: int) -> None:
        self.experiment, self.provenance, self.threads = experiment, provenance, threads
        self.pool = ThreadPoolExecutor(jobs) if jobs else None
        self.running: set[BaseProcess] = set()
        self.stopped = False

    def __enter__(self) -> _Runs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stopped = kind is not None
        if self.pool is None:
            return
        self.pool.shutdown(wait=False, cancel_futures=self.stopped)
        if self.stopped:
            for process in list(self.running):
                process.terminate()  # a training saves and ends
        self.pool.shutdown()

    def outcomes(self, groups: Sequence[Sequence[Trial]]) -> Iterator[tuple[Sequence[Trial], dict[Trial, SarHubError]]]:
        """Give each group when it is done, with the errors of the trials that failed."""
        if self.pool is None:
            yield from ((group, self.run(group)) for group in groups)
            return
        waiting = {self.pool.submit(self.run, group): group for group in groups}
        yield from ((waiting[future], future.result()) for future in as_completed(waiting))

    def run(self, group: Sequence[Trial]) -> dict[Trial, SarHubError]:
        """Compute a group and return the errors of the trials that failed."""
        try:
            with ExitStack() as locks:
                for trial in group:
                    folder = self.experiment.out / trial.folder
                    locks.enter_context(alone(folder))
                    self.provenance[trial].keep(folder)
                if self.pool is not None:
                    return self.run_process(group)
                for trial in group:
                    _compute(self.experiment, trial)
        except MissingDependencyError:
            raise
        except SarHubError as err:
            return dict.fromkeys(group, err)
        return {}

    def run_process(self, group: Sequence[Trial]) -> dict[Trial, SarHubError]:
        """Compute a group in a process of its own."""
        context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            context.set_forkserver_preload(["sarhub_models.engine.run", "timm"])
        process = context.Process(target=_child, args=(self.experiment, group, self.threads))
        process.start()
        self.running.add(process)
        if self.stopped:
            process.terminate()
        process.join()
        self.running.discard(process)
        missing = [trial for trial in group if trial not in finished(self.experiment, group)]
        return {
            trial: DataError(f"status {process.exitcode}, see {self.experiment.out / trial.folder / LOG}")
            for trial in missing
        }


def _compute(experiment: Experiment, trial: Trial) -> None:
    folder = experiment.out / trial.folder
    scores = dict(experiment.execute(trial, folder))
    write_text(folder / SCORES, json.dumps({"scores": scores}, indent=2) + "\n")


def _child(experiment: Experiment, group: Sequence[Trial], threads: int) -> None:
    """Compute trials, each with its output in its log; end with the parent, however that ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    failed = False
    for trial in group:
        with (experiment.out / trial.folder / LOG).open("a", encoding="utf-8") as stream:
            sys.stdout.flush()
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        try:
            with threadpool_limits(threads):
                _compute(experiment, trial)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except SarHubError as err:
            print(f"error: {err}", file=sys.stderr, flush=True)
            failed = True
    sys.exit(failed)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _bar(trials: int) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    # the time left follows from all trials so far: single ones differ too much
    return Progress(
        *(*columns, TimeElapsedColumn(), TimeRemainingColumn()), speed_estimate_period=1e9, disable=trials < 2
    )
