"""A reader of pickled checkpoints that executes nothing.

A pickle names functions and classes to call. Here the few that rebuild torch's tensors only note what the tensor is,
and every other becomes a placeholder: an empty object, made without importing what it is called after. So the tensors
of files that also hold a program's own objects can be read without that program, and without trust in them.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch

from ..errors import CheckpointError
from ..io.files import open_file
from .archives import opened_zip, record_named, whole_records

__all__ = ["read_inert"]

_LEGACY = 0x1950A86A20F9469CFC6C  # the number that files of torch before 1.6 begin with
_OF_MODULES = {"_parameters", "_buffers", "_modules"}  # where an nn.Module keeps what its names do not show
_MOST_OBJECTS = 1_000_000
_DEEPEST = 64
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}

# What a pickle gets to see are tuples and fresh classes: it can set attributes of what it holds, and tuples have none.


class _StorageClass(NamedTuple):
    dtype: torch.dtype


class _Storage(NamedTuple):
    key: str
    dtype: torch.dtype
    numel: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class _Dict(dict[Any, Any]):
    def __setstate__(self, state: Any) -> None:
        """Forget the attributes of an ordered dictionary, torch's ``_metadata``."""


class _Function(NamedTuple):
    """A stand-in for a function that checkpoints call."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "OrderedDict":
            return _Dict()
        if self.name == "Size":
            return tuple(arguments[0])
        if self.name in ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter"):
            return arguments[0]
        if self.name == "_rebuild_from_type_v2":
            return arguments[0](*arguments[2]) if isinstance(arguments[0], _Function) else None
        storage, offset, size, stride, *rest = arguments
        if not isinstance(storage, _Storage):
            raise CheckpointError("a tensor has no storage")
        dtype = next((value for value in rest if isinstance(value, torch.dtype)), storage.dtype)
        return _Tensor(storage, offset, tuple(size), tuple(stride), dtype)


_FUNCTIONS = {
    "collections": ("OrderedDict",),
    "torch": ("Size",),
    "torch._utils": (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    ),
    "torch._tensor": ("_rebuild_from_type_v2",),
    "torch.nn.parameter": ("Parameter",),
}


class _Placeholder:
    """An object of a class that was not imported; keeps the attributes that the pickle gives it, and does nothing."""

    state: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> _Placeholder:
        self = super().__new__(cls)
        self.state = {}
        return self

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update((key, value) for key, value in part.items() if isinstance(key, str))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):
            self.state[key] = value

    def __call__(self, *_: Any, **__: Any) -> _Placeholder:
        return self

    def append(self, *_: Any) -> None:
        """Forget an element of what was a list."""

    extend = add = append


class _Unpickler(pickle._Unpickler):  # in Python: the one in C lets a few bytes ask for any amount of memory
    """An unpickler that imports nothing; ``foreign`` collects what it would have imported."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, errors="replace")
        self.foreign: list[str] = []

    def load_bytearray8(self) -> None:
        """Push a bytearray of what is there: Python would make one as long as the pickle claims."""
        length = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        if length > sys.maxsize:
            raise pickle.UnpicklingError(f"a bytearray of {length} bytes")
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a function or storage of torch, or a class of placeholders."""
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageClass(_DTYPES[name])
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        if name in _FUNCTIONS.get(module, ()):
            return _Function(name)
        self.foreign.append(f"{module}.{name}")
        return type("Foreign", (_Placeholder,), {})

    def persistent_load(self, pid: Any) -> Any:
        """Return a storage."""
        kind, cls, key, _, count, *view = pid
        if kind != "storage" or not isinstance(cls, _StorageClass) or type(count) is not int or any(view):
            raise CheckpointError("an object outside the pickle is no storage of numbers")
        return _Storage(str(key), cls.dtype, count)


def read_inert(path: Path, choose: Callable[[Any], Mapping[Any, Any]]) -> tuple[dict[Any, Any], list[str]]:
    """Read a checkpoint of torch, of any pickle protocol, a TorchScript archive included, and execute nothing.

    Args:
        path: the file.
        choose: takes the object and returns the state dict in it; whole modules arrive as their state dict.

    Returns:
        What was chosen, with tensors of their own memory; and the names that would have been imported.

    Raises:
        CheckpointError: it is damaged, or no checkpoint of torch.
        OSError: the disk refuses.
    """
    try:
        with opened_zip(path) as archive:
            return _from_zip(path, archive, choose) if archive is not None else _from_legacy(path, choose)
    except (CheckpointError, MemoryError):
        raise
    except Exception as err:  # a damaged pickle makes the reader raise almost anything
        if isinstance(err, OSError) and err.errno is not None:
            raise
        raise CheckpointError(
            f"{path.name} cannot be opened as a checkpoint of tensors ({type(err).__name__}: {err})"
        ) from err


def _from_zip(
    path: Path, archive: zipfile.ZipFile, choose: Callable[[Any], Mapping[Any, Any]]
) -> tuple[dict[Any, Any], list[str]]:
    whole_records(path, archive)
    pickled = record_named(archive, "data.pkl")
    if pickled is None:
        raise CheckpointError(f"{path.name} cannot be opened as a checkpoint of tensors: it has no data.pkl")
    order = record_named(archive, "byteorder")
    if order is not None and archive.read(order) != b"little":
        raise CheckpointError(f"{path.name} was written on a big-endian machine, which is not supported")
    with archive.open(pickled) as file:
        reader = _Unpickler(file)  # type: ignore[arg-type]
        chosen = choose(_plain(reader.load()))
    folder = pickled.removesuffix("data.pkl")
    return _with_tensors(chosen, lambda storage: archive.read(f"{folder}data/{storage.key}")), reader.foreign


def _from_legacy(path: Path, choose: Callable[[Any], Mapping[Any, Any]]) -> tuple[dict[Any, Any], list[str]]:
    """Read the format before torch 1.6: five pickles, then the numbers of each storage in the order of its name."""
    with open_file(path) as file:
        readers = [_Unpickler(file) for _ in range(5)]
        if readers[0].load() != _LEGACY:
            raise CheckpointError(f"{path.name} cannot be opened as a checkpoint of tensors")
        _, _, loaded, keys = (reader.load() for reader in readers[1:])
        sizes = {storage.key: storage for storage in _storages(loaded)}
        places: dict[str, int] = {}
        for key in map(str, keys):
            (count,) = struct.unpack("<q", file.read(8))
            if key not in sizes or count != sizes[key].numel:
                raise CheckpointError("its storages are not those that its tensors name")
            places[key] = file.tell()
            file.seek(count * sizes[key].dtype.itemsize, 1)

        def data(storage: _Storage) -> bytes:
            file.seek(places[storage.key])
            return file.read(min(storage.numel * storage.dtype.itemsize, path.stat().st_size))

        chosen = _with_tensors(choose(_plain(loaded)), data)
    return chosen, [name for reader in readers for name in reader.foreign]


def _plain(loaded: Any) -> Any:
    """Return a module that was pickled whole as its state dict, and anything else as it is."""
    return dict(_walk(loaded)) if isinstance(loaded, _Placeholder) else loaded


def _walk(value: Any, prefix: str = "") -> Iterator[tuple[str, _Tensor]]:
    """Yield the tensors in an object by the names that ``state_dict`` would give them."""
    waiting, seen = [(value, prefix, 0)], 0
    while waiting:
        found, name, depth = waiting.pop()
        seen += 1
        if seen > _MOST_OBJECTS or depth > _DEEPEST:
            raise CheckpointError("its objects are too many, or one is in itself")
        if isinstance(found, _Tensor):
            yield name.removesuffix("."), found
        inner = found.state if isinstance(found, _Placeholder) else found
        if isinstance(inner, list | tuple) and not isinstance(inner, _Tensor):
            inner = dict(enumerate(inner))
        if isinstance(inner, dict):
            for key, child in reversed(inner.items()):
                waiting.append((child, name if key in _OF_MODULES else f"{name}{key}.", depth + 1))


def _storages(loaded: Any) -> Iterator[_Storage]:
    return (tensor.storage for _, tensor in _walk(loaded))


def _with_tensors(chosen: Mapping[Any, Any], data: Callable[[_Storage], bytes]) -> dict[Any, Any]:
    """Return a state dict with its tensors; what is none stays."""
    storages: dict[_Storage, torch.Tensor] = {}

    def tensor(found: _Tensor) -> torch.Tensor:
        kind = found.storage
        if kind not in storages:
            numbers = bytearray(data(kind))
            if not 0 <= kind.numel * kind.dtype.itemsize <= len(numbers):
                raise CheckpointError(f"a storage of {kind.numel} {kind.dtype} has {len(numbers)} bytes")
            empty = torch.empty(0, dtype=kind.dtype)
            storages[kind] = torch.frombuffer(numbers, dtype=kind.dtype) if numbers else empty
        flat = storages[kind] if kind.dtype == found.dtype else storages[kind].view(found.dtype)
        return torch.as_strided(flat, found.size, found.stride, found.offset)  # which checks that it lies within

    return {key: tensor(value) if isinstance(value, _Tensor) else value for key, value in chosen.items()}
