"""A model of a few tensors, and what child processes do with it (module level, so that they can be started)."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from sarhub_models.io import files
from sarhub_models.weights import CheckpointSpec, Store, checkpoint
from sarhub_models.weights.checkpoint import Tensors
from sarhub_models.zoo.manifest import Checksum, DatasetInfo, ModelInfo, Preprocessing

NAME = "tiny_toy"
INFO = ModelInfo(
    name=NAME,
    network="tiny",
    dataset=DatasetInfo("toy", "Toy", "none", 3, None, False),
    num_classes=3,
    class_names=None,
    params=None,
    preprocessing=Preprocessing((0.5,), (0.5,), operator="ptls", low=0.0, high=2.0, eval_value=1.0),
    sources=(),
    checksum=None,
    citation="none",
    license_text="none",
)


def info(*sources: Mapping[str, Any], checksum: Checksum | None = None) -> ModelInfo:
    return dataclasses.replace(INFO, sources=sources, checksum=checksum)


def tensors(classes: int = 3, seed: int = 0) -> Tensors:
    """The tensors under the network's names; about 260 kB."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "stem.weight": torch.randn(256, 256, generator=generator),
        "stem.count": torch.tensor(7),
        "head.weight": torch.randn(classes, 256, generator=generator),
    }


def released(classes: int = 3, seed: int = 0) -> Tensors:
    """The same under the released names."""
    return {f"net.{name}": tensor for name, tensor in tensors(classes, seed).items()}


def pth(content: Any = None) -> bytes:
    """The bytes of a released file."""
    buffer = io.BytesIO()
    torch.save(released() if content is None else content, buffer)
    return buffer.getvalue()


def rename(found: Tensors) -> Tensors:
    return {name.removeprefix("net."): tensor for name, tensor in found.items()}


def expected(found: Tensors) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    classes = found["head.weight"].shape[0]
    return {
        "stem.weight": ((256, 256), torch.float32),
        "stem.count": ((), torch.int64),
        "head.weight": ((classes, 256), torch.float32),
    }


SPEC = CheckpointSpec(rename, expected)

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["torch", "tests.weights.tiny"])


class Child:
    """A process of its own that runs one function of this module."""

    def __init__(
        self, outcome: Path, function: Callable[..., Any], *arguments: Any, environ: Mapping[str, str] | None = None
    ) -> None:
        self._outcome = outcome
        self.process = _processes.Process(
            target=_run, args=(outcome, dict(environ or {}), function, arguments), daemon=True
        )
        self.process.start()

    def outcome(self) -> tuple[str, str]:
        """Wait, and return ``("ok", result)`` or the name of the exception and its message."""
        self.process.join(600)
        assert self.process.exitcode == 0, f"the child ended with {self.process.exitcode}"
        kind, text = json.loads(self._outcome.read_text())
        return kind, text

    def kill(self) -> None:
        self.process.kill()
        self.process.join(600)
        assert self.process.exitcode == -9


def _run(outcome: Path, environ: Mapping[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(environ)
    report = os.open(outcome, os.O_WRONLY | os.O_CREAT)  # before the child gives up its rights
    try:
        result = ("ok", str(function(*arguments)))
    except Exception as err:
        result = (type(err).__name__, str(err))
    os.write(report, json.dumps(result).encode())


def fetch(root: Path, model: ModelInfo) -> Path:
    return Store(root).path(model, SPEC)


def fetch_as_nobody(root: Path, model: ModelInfo) -> Path:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    return fetch(root, model)


def fetch_with_file_limit(root: Path, model: ModelInfo, limit: int) -> Path:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return fetch(root, model)


def import_with_file_limit(root: Path, file: Path, limit: int) -> Path:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return Store(root).import_file(file, INFO, SPEC)


def fetch_and_hang(root: Path, model: ModelInfo, stage: str, reached: Path) -> Path:
    """Stop for ever at one stage of the conversion, after saying so with the file ``reached``."""

    def hang(*_: Any, **__: Any) -> Any:
        reached.touch()
        time.sleep(600)

    def half_a_file(content: Tensors, path: Path, **_: Any) -> None:
        path.write_bytes(b"\x00" * 1000)
        hang()

    if stage == "reading":
        return Store(root).path(model, CheckpointSpec(hang, expected))
    if stage == "writing":
        checkpoint.save_file = half_a_file  # type: ignore[assignment]
    elif stage == "renaming":
        files.replace_atomically = hang
    return fetch(root, model)
