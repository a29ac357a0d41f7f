"""The lock of a model, and the rights of a cached file."""

from __future__ import annotations

import logging
import stat
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from sarhub_models.weights import locks


@pytest.mark.parametrize(("mode", "left"), [(0o777, 0o555), (0o640, 0o440)])
def test_a_protected_file_loses_the_rights_to_write_and_no_others(tmp_path: Path, mode: int, left: int) -> None:
    file = tmp_path / "w"
    file.touch()
    file.chmod(mode)
    locks.protect(file)
    assert stat.S_IMODE(file.stat().st_mode) == left


def test_who_waits_for_another_says_so_and_then_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.01)
    file, taken, told = tmp_path / "locks" / "toy.lock", threading.Event(), threading.Event()
    file.parent.mkdir()

    def other() -> None:
        with FileLock(file):
            taken.set()
            told.wait(60)

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    thread, listener = threading.Thread(target=other, daemon=True), Listener()
    thread.start()
    assert taken.wait(60)
    logging.getLogger(locks.__name__).addHandler(listener)
    try:
        with locks.held(file, "toy"):
            assert [record.getMessage() for record in caplog.records] == [
                "waiting for another process that fetches or imports the weights of 'toy'"
            ]
    finally:
        logging.getLogger(locks.__name__).removeHandler(listener)
    thread.join(60)
    caplog.clear()
    with locks.held(file, "toy"):
        assert not caplog.records
