"""Zip files that hold tensors: torch's checkpoints and NumPy's ``.npz``, checked before anything is allocated."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError
from ..io.limits import read_array_header

__all__ = ["opened_zip", "read_npz", "record_named", "whole_records"]

_GROWTH = 10  # float32 numbers hardly shrink: a file that grows more when it is unpacked is no file of weights


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile | None]:
    """Yield a file as a zip archive, or ``None`` if it is none; damage met in the block is a :class:`CheckpointError`.

    Raises:
        CheckpointError: the archive is damaged.
        OSError: the disk refuses.
    """
    try:
        if not zipfile.is_zipfile(path):
            yield None
            return
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as err:
        if isinstance(err, CheckpointError) or (isinstance(err, OSError) and err.errno not in (None, errno.EINVAL)):
            raise
        raise CheckpointError(f"{path.name} is damaged ({str(err) or type(err).__name__}); download it again") from err


def record_named(archive: zipfile.ZipFile, name: str) -> str | None:
    """Return the full name of a record of torch's archives, which all lie in one folder, or ``None``."""
    return next((known for known in archive.namelist() if known.partition("/")[2] == name), None)


def whole_records(path: Path, archive: zipfile.ZipFile) -> None:
    """Compare every record of a checkpoint with its size and CRC-32; torch itself never does.

    Raises:
        CheckpointError: a record is compressed (torch never does, and few bytes might become many), or they claim more
            bytes than the file has.
    """
    # The program of a TorchScript archive, which torch compresses, is never read.
    records = [info for info in archive.infolist() if not info.filename.partition("/")[2].startswith("code/")]
    if any(info.compress_type != zipfile.ZIP_STORED for info in records):
        raise CheckpointError(f"{path.name} is refused: it is compressed, which no checkpoint of torch is")
    if sum(max(info.file_size, info.compress_size) for info in records) > path.stat().st_size:
        raise CheckpointError(f"{path.name} is refused: its records claim more bytes than the file has")
    for info in records:
        if info.CRC == 0:  # saved with torch.serialization.set_crc32_options(False)
            del info.CRC  # or later reads would compare with it
            continue
        with archive.open(info) as record:
            while record.read(1 << 20):
                pass


def read_npz(path: Path, archive: zipfile.ZipFile) -> dict[str, torch.Tensor]:
    """Read the arrays of an ``.npz`` as tensors; none is of objects, and none is larger than its record.

    Raises:
        CheckpointError: an array is damaged or of a kind that is no tensor, or the file grows too much.
    """
    limit = _GROWTH * path.stat().st_size
    if sum(info.file_size for info in archive.infolist()) > limit:
        raise CheckpointError(f"{path.name} is refused: it claims to hold more than {limit} bytes")
    tensors = {}
    for info in archive.infolist():
        with archive.open(info) as record:
            shape, fortran, dtype = read_array_header(record)
            if dtype.kind not in "fiub" or min(shape, default=0) < 0:
                raise CheckpointError(f"{path.name}: {info.filename} holds {dtype}, expected numbers")
            data = record.read()
        count = 1
        for side in shape:
            count *= side
        if count * dtype.itemsize != len(data):
            raise CheckpointError(f"{path.name}: {info.filename} claims {shape} but has {len(data)} bytes")
        array = np.frombuffer(bytearray(data), dtype=dtype).reshape(shape, order="F" if fortran else "C")
        tensors[info.filename.removesuffix(".npy")] = torch.from_numpy(np.ascontiguousarray(array)).reshape(shape)
    return tensors
