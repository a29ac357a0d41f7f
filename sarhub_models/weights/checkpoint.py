"""A released checkpoint becomes checked tensors with this package's names, and those become safetensors.

Pickle is opened here and nowhere else, once for each file, and never allowed to run code.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import CheckpointError, SarHubError
from ..io.files import CONTENT, content_digest, metadata, read_header, replace_atomically

__all__ = ["CheckpointSpec", "Tensors", "load_checkpoint", "read_tensors", "write_weights"]

Tensors = dict[str, torch.Tensor]

_SHOWN = 5  # keys listed in a message
_PREFIXES = ("module.", "model.")  # of wrappers: torch's data parallelism; Lightning and other training frameworks
_SHORT = (torch.float16, torch.bfloat16)  # in which weights trained in float32 are often released
_UNKNOWN = "0" * 64  # stands for the digest until the bytes that it covers are written


@dataclass(frozen=True)
class CheckpointSpec:
    """The checkpoints that a network takes.

    Attributes:
        rename: takes the tensors under their released names, returns those to keep under the network's own names.
        expected: takes the renamed tensors (from which it may read the number of classes), returns the shape and
            dtype of every tensor that the network needs, by name.
    """

    rename: Callable[[Tensors], Tensors]
    expected: Callable[[Tensors], Mapping[str, tuple[tuple[int, ...], torch.dtype]]]


def load_checkpoint(path: Path, spec: CheckpointSpec) -> Tensors:
    """Read a file of weights and check it against its network in every way.

    Args:
        path: a checkpoint of :func:`read_tensors`, released or already converted.
        spec: what the network expects.

    Returns:
        The network's tensors by the network's names: on the CPU, of the expected shapes and dtypes (float16 or
        bfloat16 may stand for float32), all finite. They may be memory-mapped from ``path``.

    Raises:
        CheckpointError: the file cannot be read safely, or does not fit; the message names the first failed check.
        OSError: the disk refuses.
    """
    tensors = read_tensors(path)
    try:
        if not _is_converted(path):
            tensors = spec.rename(tensors)
        expected = spec.expected(tensors)
    except SarHubError:
        raise
    except (KeyError, ValueError, IndexError, TypeError, RuntimeError) as err:
        raise CheckpointError(
            f"{path.name} is a checkpoint of another network: {type(err).__name__}: {err}; its first tensors are "
            f"{_some(tensors)}"
        ) from err
    _check(path.name, tensors, expected)
    for key, tensor in tensors.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path.name}: {key} holds values that are not finite; the file is damaged")
    return tensors


def _is_converted(path: Path) -> bool:
    return _is_safetensors(path) and CONTENT in metadata(path)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # eight bytes of length, then JSON


def _some(names: Mapping[str, Any] | set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "none"


def read_tensors(path: Path) -> Tensors:
    """Read the tensors of a ``.safetensors`` file, or of a ``.pth`` without running any code in it.

    A ``.pth`` may hold a state dict, ``{"model": state dict}`` or ``{"state_dict": state dict}``; a ``module.`` or
    ``model.`` that starts every name is dropped. The kind of file is told by its bytes, not by its name.

    Raises:
        CheckpointError: the file is cut off, damaged, no checkpoint, or a pickle with code in it.
        OSError: the disk refuses.
    """
    if _is_safetensors(path):
        read_header(path)  # says what is wrong more plainly than the library
        try:
            tensors = load_file(path)
        except SafetensorError as err:
            raise CheckpointError(f"{path.name} is not an intact safetensors file: {err}") from err
    else:
        tensors = _state_dict(path.name, _unpickle(path))
    while prefix := _common_prefix(tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _common_prefix(tensors: Tensors) -> str | None:
    """Return the wrapper's prefix that starts every name, or ``None``."""
    prefixes = (prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in tensors))
    return next(prefixes, None) if tensors else None


def _unpickle(path: Path) -> Any:
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _check_records(path)
    else:
        _check_start(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on the age of the format, which the checks below settle
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    except Exception as err:  # damaged bytes make torch raise almost anything
        code = re.search(r"GLOBAL ([\w.]+)", str(err))
        if code:
            raise CheckpointError(
                f"{path.name} is refused: to open it, Python code that it names would have to be called ({code[1]}), "
                "which is never done. Weights do not need that; expected tensors by name and nothing else. Where the "
                "file was made, save them alone with torch.save(model.state_dict(), 'weights.pth')"
            ) from err
        detail = next((line for line in reversed(str(err).splitlines()) if "rror" in line), type(err).__name__)
        raise CheckpointError(
            f"{path.name} cannot be opened as a checkpoint of tensors ({detail.strip()}): it is damaged, cut off, or "
            "something else; download it again"
        ) from err


def _check_start(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    size = path.stat().st_size
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path.name} is a web page ({size} bytes), not weights: the link asked for a log-in")
    if start.startswith(b"PK") or not start:
        raise CheckpointError(f"{path.name} is cut off after {size} bytes; download it again")


def _check_records(path: Path) -> None:
    """Compare every record of a zip checkpoint with its CRC-32; torch itself never does."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.CRC == 0:  # saved with torch.serialization.set_crc32_options(False)
                    continue
                with archive.open(info) as record:
                    while record.read(1 << 20):
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as err:
        raise CheckpointError(f"{path.name} is damaged ({err}); download it again") from err


def _state_dict(name: str, loaded: Any) -> Tensors:
    for key in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{name} holds no state dict: expected tensors by name, found {type(loaded).__name__}")
    others = {str(key) for key, value in loaded.items() if not (isinstance(key, str) and _is_plain(value))}
    if others:
        raise CheckpointError(
            f"{name} holds no plain state dict: expected dense tensors by name, but not so are {_some(others)}"
        )
    return dict(loaded)


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _check(name: str, tensors: Tensors, expected: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> None:
    """Check every key, shape and dtype."""
    missing, unexpected = set(expected) - set(tensors), set(tensors) - set(expected)
    if missing or unexpected:
        raise CheckpointError(
            f"{name} is a checkpoint of another network: of {len(expected)} tensors {len(missing)} are missing "
            f"({_some(missing)}) and {len(unexpected)} are unexpected ({_some(unexpected)})"
        )
    for key, (shape, dtype) in expected.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != tuple(shape):
            raise CheckpointError(f"{name}: {key} must have the shape {tuple(shape)}, found {tuple(tensor.shape)}")
        if tensor.dtype != dtype and not (dtype == torch.float32 and tensor.dtype in _SHORT):
            raise CheckpointError(f"{name}: {key} must be {dtype}, found {tensor.dtype}")


def write_weights(tensors: Mapping[str, torch.Tensor], path: Path, *, info: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, with a digest of its own content in its metadata.

    Args:
        tensors: what to write, by name.
        path: the finished file; only a whole one ever has this name.
        info: further metadata; ``"format": "pt"`` and the digest are added.

    Raises:
        OSError: the disk refuses; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _save(tensors, temporary, {**info, "format": "pt", CONTENT: _UNKNOWN})
        _fill_digest(temporary)
        replace_atomically(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            temporary.unlink(missing_ok=True)
        raise


def _save(tensors: Mapping[str, torch.Tensor], path: Path, info: dict[str, str]) -> None:
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(_separate(tensors), path, metadata=info)
        path.chmod(mode)  # safetensors makes files that only their owner may read; a cache may be shared
        read_header(path)  # a short write that nobody reported ends here
    except SafetensorError as err:
        code = re.search(r"os error (\d+)", str(err))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from err


def _separate(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Give tensors that are views of larger or shared memory their own: safetensors refuses the others."""
    separate: Tensors = {}
    used: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        if not whole or tensor.data_ptr() in used:
            tensor = tensor.clone()
        used.add(tensor.data_ptr())
        separate[name] = tensor
    return separate


def _fill_digest(path: Path) -> None:
    digest = content_digest(path)
    start = read_header(path)[1]
    with path.open("rb+") as file:
        place = file.read(start).index(f'"{CONTENT}":"{_UNKNOWN}"'.encode())
        file.seek(place + len(f'"{CONTENT}":"'))
        file.write(digest.encode())
