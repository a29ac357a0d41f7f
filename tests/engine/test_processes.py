"""Programs end with the command that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sarhub_models.engine.processes import Programs, sigterm_interrupts

# A command whose program says its number, and that it was asked to end.
PROGRAM = """
import os, signal, sys, time
def ended(*_):
    print("ended", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, ended)
print(os.getpid(), flush=True)
time.sleep(600)
"""
COMMAND = """
import sys
from pathlib import Path
from sarhub_models.engine.processes import Programs, sigterm_interrupts
try:
    with sigterm_interrupts():
        Programs().run([sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]))
except KeyboardInterrupt:
    sys.exit(3)
"""


def test_sigterm_ends_the_program_before_the_command(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with subprocess.Popen([sys.executable, "-c", COMMAND, PROGRAM, str(log)]) as command:
        try:
            deadline = time.monotonic() + 600
            while not (log.is_file() and log.read_text().endswith("\n")) and time.monotonic() < deadline:
                time.sleep(0.05)
            command.terminate()
            assert command.wait(600) == 3
        finally:
            command.kill()
    number, said = log.read_text().split()
    assert said == "ended"
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_the_status_is_returned_and_the_output_appended(tmp_path: Path) -> None:
    for status in (0, 7):
        assert Programs().run([sys.executable, "-c", f"print('said'); exit({status})"], tmp_path / "log.txt") == status
    assert (tmp_path / "log.txt").read_text() == "said\nsaid\n"


def test_the_handler_of_before_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    assert signal.getsignal(signal.SIGTERM) is before
