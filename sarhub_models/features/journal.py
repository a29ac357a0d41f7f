"""Keep the features of an unfinished run, so that a later run resumes there.

Every line is a row with two digests: of what made it (weights, preprocessing, policy for pixels without data, bands),
and of the line itself. A row that was changed is computed again; rows that something else made are refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import OptionError
from ..io.images import files_of

__all__ = ["Journal", "journal_path", "maker_digest"]


def journal_path(out: str | os.PathLike[str]) -> Path:
    """Return the journal of an unfinished ``out``: lines of JSON, one for each image that is done."""
    return Path(f"{os.fspath(out)}.partial.jsonl")


def maker_digest(*parts: Any) -> str:
    """Return the SHA-256 of what makes features.

    Args:
        parts: modules, of which structure, settings and tensors count; tensors; other things count as they print.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"\0{part!r}".encode() if not isinstance(part, torch.Tensor) else b"\0")
        tensors = {"": part} if isinstance(part, torch.Tensor) else {}
        for name, tensor in (part.state_dict() if isinstance(part, nn.Module) else tensors).items():
            values = tensor.detach().cpu().contiguous()
            digest.update(f"\0{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Journal:
    """The rows of an unfinished file of features.

    Args:
        out: the file of features.
        images: files of the images.
        names: one for each image, all different.
        maker: digest of what makes the rows (:func:`maker_digest`).
        bands: names of the bands that are read; a file that holds one of them is read with those of the others.
    """

    def __init__(
        self, out: Path, images: Sequence[Path], names: Sequence[str], *, maker: str, bands: Sequence[str] = ()
    ) -> None:
        self.file = journal_path(out)
        self._images, self._names, self._maker, self._bands = images, names, maker, bands

    def append(self, indices: Sequence[int], rows: np.ndarray) -> None:
        """Add the rows (B, D) of the images with these indices."""
        lines = []
        for index, row in zip(indices, rows, strict=True):
            record = {
                "maker": self._maker,
                "name": self._names[index],
                "stamp": self._stamp(index),
                "features": base64.b64encode(row.astype("<f4").tobytes()).decode(),
            }
            lines.append(json.dumps({**record, "digest": _digest(record)}))
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))

    def read(self) -> dict[int, np.ndarray]:
        """Return the rows, float32 (D,), of images that did not change since, by index.

        Raises:
            OptionError: rows are of other weights, another preprocessing, policy for pixels without data, or bands.
        """
        if not self.file.exists():
            return {}
        index_of = {name: index for index, name in enumerate(self._names)}
        rows: dict[int, np.ndarray] = {}
        for record in self._records():
            if record["maker"] != self._maker:
                raise OptionError(
                    f"{self.file} comes from another network or preprocessing, other bands, or another policy for "
                    "pixels without data. Use the same arguments to resume, or delete it to start again"
                )
            index = index_of.get(record["name"])
            if index is not None and self._images[index].exists() and record["stamp"] == self._stamp(index):
                rows[index] = np.frombuffer(base64.b64decode(record["features"]), dtype="<f4").astype(np.float32)
        return rows

    def _stamp(self, index: int) -> list[int]:
        """Return sizes and times of the files of an image."""
        statuses = [one.stat() for one in files_of(self._images[index], self._bands)]
        return [number for status in statuses for number in (status.st_size, status.st_mtime_ns)]

    def _records(self) -> Iterator[dict[str, Any]]:
        """Yield all lines that are as they were written, then cut off a last one that a kill left unfinished."""
        whole = 0
        with self.file.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                if (record := _intact(line)) is not None:
                    yield record
        os.truncate(self.file, whole)


def _intact(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or ``None`` where a power cut, or anybody, has changed it."""
    try:
        record: dict[str, Any] = json.loads(line)
        digest = record.pop("digest")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    whole = record.keys() == {"maker", "name", "stamp", "features"} and isinstance(record["name"], str)
    return record if whole and digest == _digest(record) else None


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
