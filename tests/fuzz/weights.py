"""Files of weights: archives, safetensors, old pickles, checkpoints of a run, and the notes beside them."""

from __future__ import annotations

import argparse
import functools
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from sarhub_models.engine.checkpoint import FORMAT, load_last
from sarhub_models.errors import SarHubError
from sarhub_models.io.files import content_digest, metadata
from sarhub_models.io.npz import read_arrays
from sarhub_models.weights import read_tensors
from sarhub_models.weights.inventory import record
from sarhub_models.weights.trust import check_digests, damage
from tests.weights.tiny import info

from .mutation import Sample
from .running import Target

_TENSORS = {
    "stem.weight": torch.arange(12.0).reshape(3, 4),
    "stem.bias": torch.zeros(3, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 2),
}


def zipped(content: bytes, method: int = zipfile.ZIP_STORED) -> Sample:
    """An archive, put together again of the content of its members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names, parts = archive.namelist(), tuple(archive.read(name) for name in archive.namelist())

    def join(parts: Sequence[bytes]) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for number, part in enumerate(parts):
                archive.writestr(
                    zipfile.ZipInfo(names[min(number, len(names) - 1)] + "'" * (number >= len(names))), part
                )
        return stream.getvalue()

    return Sample(parts, join)


def _saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


@functools.cache
def _checkpoints() -> tuple[Sample, ...]:
    nested = {"state_dict": {f"module.{name}": tensor for name, tensor in _TENSORS.items()}, "epoch": 3}
    foreign = {"model": _TENSORS, "args": argparse.Namespace(lr=0.1), "names": ["a", Path("b")]}
    return (
        zipped(_saved(_TENSORS)),
        zipped(_saved(nested)),
        zipped(_saved(_TENSORS, pickle_protocol=4)),
        zipped(_saved(foreign)),
        Sample((_saved(_TENSORS, _use_new_zipfile_serialization=False),)),
    )


def _read_checkpoint(file: Path) -> None:
    for tensors_only in (False, True):
        try:
            found = read_tensors(file, tensors_only=tensors_only)
        except SarHubError:
            if tensors_only:
                raise
            continue
        assert found and all(type(tensor) is torch.Tensor for tensor in found.values())
        for tensor in found.values():
            tensor.sum()  # within its storage


def _framed(parts: Sequence[bytes]) -> bytes:
    header = parts[0] if parts else b""
    return len(header).to_bytes(8, "little") + header + b"".join(parts[1:])


@functools.cache
def _safetensors() -> tuple[Sample, ...]:
    known = {"content_sha256": "0" * 64, "model": "tiny_toy", "format": "pt", "source": "here"}
    content = save(_TENSORS, known)
    length = int.from_bytes(content[:8], "little")
    return (Sample((content[8 : 8 + length], content[8 + length :]), _framed),)


def _read_safetensors(file: Path) -> None:
    record(file)
    damage(file)
    assert all(isinstance(value, str) for value in metadata(file).values())
    content_digest(file)
    assert all(type(tensor) is torch.Tensor for tensor in read_tensors(file).values())


@functools.cache
def _npz() -> tuple[Sample, ...]:
    streams = []
    for write in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        write(
            stream, weight=np.arange(12, dtype=np.float32).reshape(3, 4), bias=np.zeros(3), names=np.array(["a", "b"])
        )
        streams.append(stream.getvalue())
    return zipped(streams[0]), zipped(streams[1], zipfile.ZIP_DEFLATED)


def _read_npz(file: Path) -> None:
    try:
        read_tensors(file)
    except SarHubError:
        assert all(array.dtype.kind != "O" for array in read_arrays(file).values())


@functools.cache
def _last() -> tuple[Sample, ...]:
    values = {
        "format": FORMAT,
        "step": 3,
        "recipe": {"optim": {"lr": 0.1}},
        "model": _TENSORS,
        "history": [{"loss": 1.0}],
    }
    return (zipped(_saved(values)),)


def _read_last(file: Path) -> None:
    folder = file.parent / file.stem
    folder.mkdir()
    try:
        file.rename(folder / "last.pt")
        found = load_last(folder)
        assert found is not None and found["format"] == FORMAT
    finally:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()


def _read_pin(file: Path) -> None:
    from sarhub_models.io.files import Digests

    check_digests(info(), Digests("0" * 64, "0" * 40), file)


def _pins() -> tuple[Sample, ...]:
    return (Sample((json.dumps({"sha256": "0" * 64, "source": "here", "date": "2026"}).encode(),)),)


TARGETS = (
    Target("checkpoint", ".pth", _checkpoints, _read_checkpoint),
    Target("safetensors", ".safetensors", _safetensors, _read_safetensors),
    Target("npz", ".npz", _npz, _read_npz),
    Target("last.pt", ".pt", _last, _read_last),
    Target("pin", ".json", _pins, _read_pin),
)
