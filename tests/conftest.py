"""Fixtures for the whole suite: an isolated cache, and the optional folder of reference data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One profile for all property tests: none depends on the machine's speed, and CI tries the same examples every time.
settings.register_profile(
    "sarhub",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("sarhub")

# torchgeo, whose loaders tests/peers compares with, has no release with these weights for older Pythons.
collect_ignore = ["peers"] if sys.version_info < (3, 11) else []
# A shell makes what it runs in the background deaf to Ctrl-C, and the processes that tests start would be so, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test its own cache, and none of the caller's settings."""
    for name in ("SARHUB_OFFLINE", "HF_HUB_OFFLINE", "SARHUB_MIRROR", "SARHUB_MANIFEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with reference vectors and real patches; tests that need it are skipped without it."""
    folder = os.environ.get("SARHUB_TEST_DATA")
    if not folder:
        pytest.skip("set SARHUB_TEST_DATA to the folder with the reference data to run this test")
    return Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB, which a test may grow."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a disk needs rights that this user has not")
    # Lazily, so that nothing stays mounted even if the test left a file open.
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
