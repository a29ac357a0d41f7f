"""Servers and models for the tests of the weights."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sarhub_models.weights import Store, http
from tests.hub_server import HubServer, use_hub

from .loopback import FileServer


@pytest.fixture(autouse=True)
def quick_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(http, "RETRY_WAITS", (0.0, 0.0))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as running:
        use_hub(monkeypatch, running.url, tmp_path / "hf")
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def alarm() -> Iterator[None]:
    """Whatever waits without end fails."""
    signal.alarm(120)
    yield
    signal.alarm(0)
