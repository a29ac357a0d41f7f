"""What shards look like: an index ``<split>.json`` beside ``<split>-000000.tar`` …, and the samples in a tar.

A sample is these files, as WebDataset has them::

    00000012.npy         the image, in the values and the dtype of the reader
    00000012.cls         the class index, or
    00000012.labels.npy  uint8 (C,) of zeros and ones, where the data set is multi-label
    00000012.json        the name of the image, and the CRC-32 of its label's and its own bytes
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import Field, ValidationError
from webdataset.tariterators import group_by_keys

from ..datasets import Sample
from ..errors import DataError, NotFoundError
from .recipe import Count, Section
from .stream import MEND, address, is_web, open_bytes

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")]
Whole = Annotated[int, Field(ge=0)]
Raw = dict[str, Any]
"""A sample of a tar, undecoded: ``__key__``, ``__url__``, and bytes by suffix."""


class Shard(Section):
    """One tar."""

    name: FileName
    samples: Whole
    bytes: Count
    sha256: str


class Pixels(Section):
    """Statistics of the packed values; of complex ones, of their magnitude."""

    dtypes: list[str]
    shapes: list[tuple[int, int]]
    min: float
    max: float
    mean: float
    std: float


class Settings(Section):
    """What decides the bytes of the shards.

    Attributes:
        reader: name of the data set.
        options: of its reader.
        full_scale: with which every image was checked; the images themselves are not scaled.
        samples: of the split, damaged ones included.
        names_and_labels: SHA-256 over class names, image names and labels.
        shards: into how many they are packed.
    """

    reader: str
    options: dict[str, Any]
    full_scale: float | None
    samples: Count
    names_and_labels: str
    shards: Count


class Index(Section):
    """All that is known of a packed split.

    Attributes:
        format: version of this layout.
        split: its name.
        settings: what it was packed from.
        class_names: name of each class.
        multilabel: whether a sample carries several labels.
        counts: samples of each class.
        samples: in all shards together.
        skipped: names of damaged images that were left out.
        pixels: statistics of the values.
        shards: in order.
    """

    format: Literal[1]
    split: str
    settings: Settings
    class_names: list[str]
    multilabel: bool
    counts: list[int]
    samples: Count
    skipped: list[str]
    pixels: Pixels
    shards: list[Shard]


def read_index(location: str, split: str) -> Index:
    """Read the index of a split.

    Args:
        location: folder or URL of the shards.
        split: name of the split.

    Raises:
        DataError: there is none, or it is damaged.
        DownloadError: it cannot be fetched.
    """
    where = address(location, f"{split}.json")
    command = (
        f"python -m training.pack RECIPE data.root=DIR --split {split} --out {'DIR' if is_web(location) else location}"
    )
    try:
        with open_bytes(location, f"{split}.json") as file:
            text = file.read()
        return Index.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError, NotFoundError) as err:
        started = not is_web(location) and partial(Path(location).expanduser(), split).is_file()
        reason = "the packing was not finished, and the same command goes on" if started else "pack the split first"
        raise DataError(f"expected the index of the shards in {where}, found none; {reason}: {command}") from err
    except ValidationError as err:
        first = err.errors()[0]
        raise DataError(
            f"{where} is no index of this version ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
            f"pack again into another folder: {command}"
        ) from err


def partial(folder: Path, split: str) -> Path:
    """Return the file that holds the settings until the index is there."""
    return folder / f"{split}.partial.json"


def encode(key: str, sample: Sample) -> Raw:
    """Return the files of a sample, as :class:`webdataset.TarWriter` takes them."""
    several = isinstance(sample.label, np.ndarray)
    label = _npy(sample.label) if several else str(sample.label).encode()
    image = _npy(sample.image)
    note = {"name": sample.name, "crc32": zlib.crc32(image, zlib.crc32(label))}
    return {"__key__": key, "npy": image, "labels.npy" if several else "cls": label, "json": json.dumps(note).encode()}


def decode(raw: Raw, multilabel: bool) -> Sample:
    """Return the sample of some files.

    Raises:
        DataError: a file is missing, damaged, or not the one that was packed.
    """
    try:
        note, image, label = json.loads(raw["json"]), raw["npy"], raw["labels.npy" if multilabel else "cls"]
        if zlib.crc32(image, zlib.crc32(label)) != note["crc32"]:
            raise DataError("it has changed since it was packed")
        return Sample(_array(image), _array(label) if multilabel else int(label), str(note["name"]))
    except (KeyError, ValueError, TypeError, EOFError) as err:
        raise DataError(f"it is damaged ({err!r})") from err


def name_of(raw: Raw) -> str:
    """Return the name of a sample that may be damaged, else its key in the tar."""
    try:
        return str(json.loads(raw["json"])["name"])
    except (KeyError, ValueError, TypeError):
        return str(raw["__key__"])


def read_shard(location: str, shard: Shard) -> Iterator[Raw]:
    """Yield the samples of a shard in their order, undecoded.

    Raises:
        DataError: the shard is missing, truncated, or no longer what the index says.
        DownloadError: it cannot be fetched.
    """
    where, count = address(location, shard.name), 0
    with open_bytes(location, shard.name, shard.bytes) as stream:
        for raw in tar_samples(stream, where):
            count += 1
            yield raw
    if count != shard.samples:  # where a header of a tar is damaged, the tar seems to end
        raise DataError(f"{where} is damaged: expected {shard.samples} samples, found {count}; {MEND}")


def tar_samples(stream: BinaryIO, where: str) -> Iterator[Raw]:
    """Yield the samples of a tar, undecoded; ``where`` is its path or URL.

    Raises:
        DataError: the tar is damaged.
    """
    files = ({"fname": name, "data": data, "__url__": where} for name, data in _tar_files(stream))
    try:
        yield from group_by_keys(files)
    except (tarfile.TarError, ValueError) as err:
        raise DataError(f"{where} is damaged ({err.args[0]}); {MEND}") from err


def _tar_files(stream: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of a tar, read from a stream."""
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 16) as tar:
        for member in tar:
            if (file := tar.extractfile(member)) is not None:
                yield member.name, file.read()
            tar.members = []  # else all headers are kept


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)
