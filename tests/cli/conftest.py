"""What the tests of the command line share: a checkpoint, a server that has it, a folder of chips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models.zoo.manifest import manifest_path
from tests.networks import released
from tests.weights.loopback import FileServer

MODEL = "mobilenetv3_osu"


def child(code: str, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, **(environ or {})})


def only_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.strip()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    file = tmp_path_factory.mktemp("released") / "MobileNetV3_OSU.pth"
    torch.save(released.checkpoint("mobilenetv3", num_classes=10), file)
    return file


@pytest.fixture
def served(server: FileServer, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A list of weights whose model is on the loopback server."""
    manifest = json.loads(manifest_path().read_text())
    manifest["models"] = {MODEL: {**manifest["models"][MODEL], "sources": [{"type": "http", "url": f"{server.url}/w"}]}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
    server.files["/w"] = checkpoint.read_bytes()
    return server


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of three chips in [0, 1], one of them in a subfolder."""
    rng = np.random.default_rng(0)
    for name in ("a.npy", "b.npy", "sub/c.npy"):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, rng.random((32, 32), dtype=np.float32))
    return tmp_path / "images"
