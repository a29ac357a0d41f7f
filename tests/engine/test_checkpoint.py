"""Checkpoints appear whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_told_and_leaves_nothing_half(tiny_dsn: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from training import pretrain; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)); pretrain.app(sys.argv[1:])"
    )
    values = [f"data.root={tiny_dsn}", "preprocess.size=32", "optim.batch_size=16", "optim.epochs=1"]
    command = [sys.executable, "-c", code, "mobilenetv3_dsn", *values, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "error: " in done.stderr and "Is the disk full?" in done.stderr and "Traceback" not in done.stderr
    assert not [file.name for file in (tmp_path / "run").iterdir() if file.suffix in (".pt", ".safetensors", ".tmp")]
