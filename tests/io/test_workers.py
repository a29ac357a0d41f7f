"""Workers end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest

from sarhub_models.io.workers import end_with_parent

SPAWN = multiprocessing.get_context("spawn")


def worker(pipe: Connection, orphan: bool) -> None:
    """Begin to watch before or after the parent has ended, then be stuck."""
    parent = os.getppid()
    pipe.send(os.getpid())
    while orphan and os.getppid() == parent:
        time.sleep(0.01)
    end_with_parent()
    time.sleep(3)  # some looks at a parent that is well
    pipe.send("still there")
    time.sleep(3600)


def start_worker(pipe: Connection, orphan: bool, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=worker, args=(pipe, orphan))
    child.start()
    child.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "orphan"), [("fork", False), ("fork", True), ("spawn", False), ("forkserver", False)]
)
def test_a_worker_ends_after_its_parent_was_killed_and_no_sooner(method: str, orphan: bool) -> None:
    here, there = SPAWN.Pipe()
    parent = SPAWN.Process(target=start_worker, args=(there, orphan, method))
    parent.start()
    assert here.poll(300), "the worker did not start"
    process = psutil.Process(here.recv())
    if not orphan:
        assert here.poll(300) and here.recv() == "still there"
    parent.kill()
    parent.join()
    psutil.wait_procs([process], timeout=300)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_nobody_started_this_way_has_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    before = psutil.Process().num_threads()
    end_with_parent()
    assert psutil.Process().num_threads() == before
