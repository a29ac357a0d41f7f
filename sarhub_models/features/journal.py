"""Keep the features of an unfinished run, so that a later run resumes there."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

__all__ = ["Journal", "journal_path"]


def journal_path(out: str | os.PathLike[str]) -> Path:
    """Return the journal of an unfinished ``out``: lines of JSON, one for each image that is done."""
    return Path(f"{os.fspath(out)}.partial.jsonl")


class Journal:
    """The rows of an unfinished file of features.

    Args:
        out: the file of features.
        images: files of the images.
        names: one for each image, all different.
    """

    def __init__(self, out: Path, images: Sequence[Path], names: Sequence[str]) -> None:
        self.file = journal_path(out)
        self._images, self._names = images, names

    def append(self, indices: Sequence[int], rows: np.ndarray) -> None:
        """Add the rows (B, D) of the images with these indices."""
        lines = [
            json.dumps(
                {
                    "name": self._names[index],
                    "stamp": _stamp(self._images[index]),
                    "features": base64.b64encode(row.astype("<f4").tobytes()).decode(),
                }
            )
            for index, row in zip(indices, rows, strict=True)
        ]
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))

    def read(self) -> dict[int, np.ndarray]:
        """Return the rows, float32 (D,), of images that did not change since, by index."""
        if not self.file.exists():
            return {}
        index_of = {name: index for index, name in enumerate(self._names)}
        rows: dict[int, np.ndarray] = {}
        for name, stamp, row in self._records():
            index = index_of.get(name)
            if index is not None and self._images[index].exists() and stamp == _stamp(self._images[index]):
                rows[index] = row
        return rows

    def _records(self) -> Iterator[tuple[str, list[int], np.ndarray]]:
        """Yield all whole lines, then cut off a last one that a kill left unfinished, so that lines can be appended."""
        whole = 0
        with self.file.open("rb") as stream:
            for line in stream:
                try:
                    record = json.loads(line) if line.endswith(b"\n") else None
                    if record is None:
                        break
                    row = np.frombuffer(base64.b64decode(record["features"]), dtype="<f4").astype(np.float32)
                    yield record["name"], record["stamp"], row
                except (ValueError, KeyError, TypeError):  # a power cut can leave other bytes behind
                    break
                whole += len(line)
        os.truncate(self.file, whole)


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
