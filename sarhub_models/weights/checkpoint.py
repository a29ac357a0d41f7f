"""A released checkpoint becomes checked tensors with this package's names, and those become safetensors.

Pickle is opened here and nowhere else, once for each file, and never allowed to run code.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..errors import CheckpointError, SarHubError
from ..io.files import CONTENT, content_digest, metadata, open_file, read_header, replacing
from .archives import opened_zip, read_npz, record_named, whole_records
from .tensors_only import read_inert

__all__ = ["EXPORTED", "CheckpointSpec", "Tensors", "load_checkpoint", "read_tensors", "write_weights"]

Tensors = dict[str, torch.Tensor]

EXPORTED = (".onnx", ".pt2")
"""Suffixes of exported networks, which hold no weights that can be read."""
_SHOWN = 5  # keys listed in a message
_AVERAGES = ("state_dict_ema", "model_ema")  # which timm takes before the weights themselves
_STATE_DICTS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
# Of wrappers: torch's data parallelism and compiler; Lightning, MMEngine and other training frameworks.
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "encoder.", "vision_encoder.")
_FOR_FLOAT32 = (torch.float16, torch.bfloat16, torch.float64)  # in which weights of float32 are also saved
_NEWEST_PROTOCOL = 3  # of pickle, that torch reads with weights_only
_UNKNOWN = "0" * 64  # stands for the digest until the bytes that it covers are written
_LENGTH = 8  # bytes before the header of safetensors: its length


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


def load_checkpoint(path: Path, spec: CheckpointSpec, *, tensors_only: bool = False) -> Tensors:
    """Read a file of weights and check it against its network in every way.

    Args:
        path: a checkpoint of :func:`read_tensors`, released or already converted.
        spec: what the network expects.
        tensors_only: as for :func:`read_tensors`.

    Returns:
        The network's tensors by the network's names: on the CPU, of the expected shapes and dtypes (float16 or
        bfloat16 may stand for float32; float64 is converted), all finite. They are copies: what becomes of the file
        later does not matter.

    Raises:
        CheckpointError: the file cannot be read safely, or does not fit; the message names the first failed check.
        OSError: the disk refuses.
    """
    tensors = read_tensors(path, tensors_only=tensors_only)
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
    copies = {}
    for key, tensor in tensors.items():
        copies[key] = tensor.float() if tensor.dtype == torch.float64 else tensor.clone()
        if copies[key].is_floating_point() and not bool(torch.isfinite(copies[key]).all()):
            raise CheckpointError(f"{path.name}: {key} holds values that are not finite; the file is damaged")
    return copies


def read_tensors(path: Path, *, tensors_only: bool = False) -> Tensors:
    """Read the tensors of a ``.safetensors``, of an ``.npz``, or of a ``.pth`` without running any code in it.

    A ``.pth`` may hold a state dict, one under the name that a training program gave it (``"state_dict"``,
    ``"model"``, …; a moving average of the weights comes first, as in timm, and a warning says so), or nothing but
    one for each part of a network, whose names then begin with that of the part. The prefix of a wrapper that starts
    every name (``module.``, ``model.``, …) is dropped. The kind of file is told by its bytes, not
    by its name. Tensors of a ``.safetensors`` are mapped from the file.

    Args:
        path: the file.
        tensors_only: read a ``.pth`` that also holds objects of other programs, and leave those out. Nothing of them
            is imported or called.

    Raises:
        CheckpointError: the file is cut off, damaged, no checkpoint, or a pickle with code in it.
        OSError: the disk refuses.
    """
    if path.suffix in EXPORTED:
        raise CheckpointError(
            f"{path} is an exported network, which predict, info and create_transform take: here the weights that it "
            "was made from are needed"
        )
    if _is_safetensors(path):
        tensors = _read_safetensors(path)
    else:
        with opened_zip(path) as archive:
            if archive is None:
                protocol = _check_start(path)
            elif (members := archive.namelist()) and all(name.endswith(".npy") for name in members):
                return read_npz(path, archive)
            else:
                whole_records(path, archive)
                protocol = _protocol(path, archive, tensors_only)
        tensors = _unpickle(path, protocol, tensors_only)
    while prefix := _common_prefix(tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _is_converted(path: Path) -> bool:
    return _is_safetensors(path) and CONTENT in metadata(path)


def _is_safetensors(path: Path) -> bool:
    with open_file(path) as file:
        return file.read(9)[8:] == b"{"  # eight bytes of length, then JSON


def _read_safetensors(path: Path) -> Tensors:
    read_header(path)  # says what is wrong more plainly than the library
    try:
        return load_file(path)
    except (MemoryError, OSError):
        raise
    except Exception as err:  # its own error, and what torch makes of sizes that no integer holds
        raise CheckpointError(f"{path.name} is not an intact safetensors file: {err}") from err


def _some(names: Iterable[str]) -> str:
    known = sorted(names)
    more = len(known) - _SHOWN
    return ", ".join(known[:_SHOWN]) + (f" and {more} more" if more > 0 else "") if known else "none"


def _common_prefix(names: Iterable[str]) -> str | None:
    """Return the wrapper's prefix that starts every name, or ``None``."""
    names = list(names)
    prefixes = (prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in names))
    return next(prefixes, None) if names else None


def _check_start(path: Path) -> int:
    """Return the protocol of the first pickle in a file that is no archive."""
    with open_file(path) as file:
        start = file.read(512)
    size = path.stat().st_size
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path.name} is a web page ({size} bytes), not weights: open the address in a browser to see what it says"
        )
    if start.startswith(b"PK") or not start:
        raise CheckpointError(f"{path.name} is cut off after {size} bytes; download it again")
    return _said_protocol(start)


def _said_protocol(start: bytes) -> int:
    """Return the protocol that the first bytes of a pickle say; those of the oldest, or of a cut one, say none."""
    return start[1] if start[:1] == b"\x80" and len(start) > 1 else 0


def _protocol(path: Path, archive: zipfile.ZipFile, tensors_only: bool) -> int:
    """Return the protocol of the pickle in a checkpoint of torch."""
    pickled = record_named(archive, "data.pkl")
    if pickled is None:
        raise CheckpointError(f"{path.name} cannot be opened as a checkpoint of tensors: it has no data.pkl")
    if record_named(archive, "constants.pkl") is not None and not tensors_only:
        raise CheckpointError(f"{path.name} is refused: it is a TorchScript program. {_TENSORS_ONLY}")
    with archive.open(pickled) as file:
        return _said_protocol(file.read(2))


_TENSORS_ONLY = (
    "'sarhub import FILE --tensors-only' takes the tensors out of such a file and executes nothing; or, where it was "
    "made, save them alone with torch.save(model.state_dict(), 'weights.pth')"
)


def _unpickle(path: Path, protocol: int, tensors_only: bool) -> Tensors:
    def choose(loaded: Any) -> Mapping[Any, Any]:
        return _state_dict(path.name, loaded)

    if not tensors_only and protocol <= _NEWEST_PROTOCOL:
        return _tensors(path.name, choose(_torch_load(path)))
    found, foreign = read_inert(path, choose)
    if foreign and not tensors_only:
        raise _refused(path, foreign[0])
    return _tensors(path.name, found, leave_others=tensors_only)


def _torch_load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on the age of the format, which the checks below settle
            with open_file(path) as file:
                zipped = file.read(2) == b"PK"  # which torch reads by itself, and faster
                file.seek(0)
                return torch.load(path if zipped else file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as err:  # damaged bytes make torch raise almost anything
        if isinstance(err, OSError) and err.errno is not None:
            raise
        if code := re.search(r"GLOBAL ([\w.]+)", str(err)):
            raise _refused(path, code[1]) from err
        lines = [line for line in str(err).splitlines() if "rror" in line and "file an issue" not in line]
        detail = lines[-1] if lines else type(err).__name__
        raise CheckpointError(
            f"{path.name} cannot be opened as a checkpoint of tensors ({detail.strip()}): it is damaged, cut off, or "
            "something else; download it again"
        ) from err


def _refused(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is refused: to open it, Python code that it names would have to be called ({name}), which is "
        f"never done. Weights do not need that; expected tensors by name and nothing else. {_TENSORS_ONLY}"
    )


def _state_dict(name: str, loaded: Any) -> Mapping[Any, Any]:
    """Return the state dict in a checkpoint."""
    for key in (*_AVERAGES, *_STATE_DICTS):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            if key in _AVERAGES:
                warnings.warn(f"{name}: of its weights, the moving average {key!r} is used, as timm does", stacklevel=2)
            return _state_dict(name, loaded[key]) if key in _STATE_DICTS else loaded[key]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{name} holds no state dict: expected tensors by name, found {type(loaded).__name__}")
    if all(isinstance(part, Mapping) for part in loaded.values()):
        return {f"{part}.{key}": value for part, tensors in loaded.items() for key, value in tensors.items()}
    return loaded


def _tensors(name: str, found: Mapping[Any, Any], *, leave_others: bool = False) -> Tensors:
    """Return the tensors of a state dict as plain ones, without the attributes that a pickle may give them."""
    tensors, others = {}, set()
    for key, value in found.items():
        plain = torch.Tensor.detach(value) if isinstance(value, torch.Tensor) else None
        if isinstance(key, str) and plain is not None and _is_plain(plain):
            tensors[key] = plain
        else:
            others.add(str(key))
    if not tensors or (others and not leave_others):
        raise CheckpointError(
            f"{name} holds no plain state dict: expected dense tensors by name, but not so are {_some(others)}"
        )
    return tensors


def _is_plain(value: torch.Tensor) -> bool:
    return (
        value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        # Strides of 0 let a few bytes stand for any number of them.
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _check(name: str, tensors: Tensors, expected: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> None:
    """Check every key, shape and dtype."""
    missing, unexpected = set(expected) - set(tensors), set(tensors) - set(expected)
    if missing or unexpected:
        raise CheckpointError(
            f"{name} is a checkpoint of another network: of {len(expected)} tensors {len(missing)} are missing "
            f"({_some(missing)}) and {len(unexpected)} are unexpected ({_some(unexpected)}){_hint(tensors, expected)}"
        )
    for key, (shape, dtype) in expected.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != tuple(shape):
            raise CheckpointError(f"{name}: {key} must have the shape {tuple(shape)}, found {tuple(tensor.shape)}")
        if tensor.dtype != dtype and not (dtype == torch.float32 and tensor.dtype in _FOR_FLOAT32):
            raise CheckpointError(f"{name}: {key} must be {dtype}, found {tensor.dtype}")


def _hint(names: Iterable[str], expected: Iterable[str]) -> str:
    """Return what would make the names fit: a prefix that all of the network's have."""
    names, expected = set(names), list(expected)
    for name in sorted(names):
        prefix = name.removesuffix(expected[0])
        if prefix not in ("", name) and names >= {prefix + key for key in expected}:
            return f"; all would fit after removing the prefix {prefix} and {len(names) - len(expected)} others"
    return ""


def write_weights(tensors: Mapping[str, torch.Tensor], path: Path, *, info: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, with a digest of its own content in its metadata.

    The same tensors and metadata give the same bytes.

    Args:
        tensors: what to write, by name.
        path: the finished file; only a whole one ever has this name.
        info: further metadata, :func:`~sarhub_models.zoo.description.to_metadata` first of all; ``"format": "pt"`` and
            the digest are added.

    Raises:
        OSError: the disk refuses; nothing is left behind.
    """
    with replacing(path) as temporary:
        save_file(_separate(tensors), temporary, metadata={**info, "format": "pt", CONTENT: _UNKNOWN})
        read_header(temporary)  # a short write that nobody reported ends here
        _finish_header(temporary)


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


def _finish_header(path: Path) -> None:
    """Write the digest into the metadata, and its keys in their order: the library's differs from run to run."""
    digest = content_digest(path)
    header, start = read_header(path)
    header["__metadata__"] = dict(sorted({**header["__metadata__"], CONTENT: digest}.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    with path.open("rb+") as file:
        file.seek(_LENGTH)
        file.write(text.ljust(start - _LENGTH))
