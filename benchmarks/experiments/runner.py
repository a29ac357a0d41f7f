"""Jobs in processes of their own, several at a time: one that fails takes no other along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from sarhub_models.engine.processes import sigterm_interrupts
from sarhub_models.errors import SarHubError

__all__ = ["Job", "run_jobs"]

# Processes begin with the training imported, else each would take seconds to start.
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


class Job(Protocol):
    """What a process does; it must be picklable."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def work(self) -> float:
        """Expected time, in any unit that all jobs share."""

    def run(self) -> None:
        """Do it."""


@sigterm_interrupts()
def run_jobs(jobs: Sequence[tuple[Job, Path]], at_a_time: int, threads: int) -> list[str]:
    """Run jobs under a progress bar.

    SIGINT and SIGTERM are passed on to those that run, and end the call when they have ended.

    Args:
        jobs: each with the file to which its output is appended.
        at_a_time: so many run together.
        threads: CPU threads of each.

    Returns:
        A line for each that failed, with its log.

    Raises:
        KeyboardInterrupt: the process was asked to end.
    """
    context = multiprocessing.get_context(_METHOD)
    if _METHOD == "forkserver":
        context.set_forkserver_preload(["benchmarks.recognition.methods"])
    running: set[BaseProcess] = set()

    def one(job: Job, log: Path) -> int | None:
        log.parent.mkdir(parents=True, exist_ok=True)
        process = context.Process(target=_child, args=(job, log, threads))
        process.start()
        running.add(process)
        process.join()
        running.discard(process)
        return process.exitcode

    failed: list[str] = []
    pool = ThreadPoolExecutor(at_a_time)
    try:
        waiting = {pool.submit(one, job, log): (job, log) for job, log in jobs}
        with _bar() as bar:
            task = bar.add_task("", total=sum(job.work for job, _ in jobs))
            for number, future in enumerate(as_completed(waiting), start=1):
                job, log = waiting[future]
                if (code := future.result()) != 0:
                    failed.append(f"{job.name}: status {code}, see {log}")
                bar.update(task, advance=job.work, description=f"{number} of {len(jobs)} jobs, {len(failed)} failed")
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()  # a training saves and ends
        raise
    finally:
        pool.shutdown()
    return failed


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    # the time left follows from all jobs so far: single ones differ too much
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), speed_estimate_period=1e9)


def _child(job: Job, log: Path, threads: int) -> None:
    """Run a job with its output in a file; end with the parent, however that ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("a", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            job.run()
    except SarHubError as err:
        print(f"error: {err}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
