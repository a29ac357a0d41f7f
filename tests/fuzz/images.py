"""Images: GeoTIFF, pictures, arrays, chips of MSTAR and their archives, shards."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image

from sarhub_models.datasets.archives import list_members
from sarhub_models.datasets.recognition.mstar.phoenix import parse_phoenix, read_header, read_phoenix
from sarhub_models.datasets.recognition.mstar.reader import CHIP
from sarhub_models.engine.sections import Data
from sarhub_models.engine.shards import Shards
from sarhub_models.errors import SarHubError
from sarhub_models.io.images import image_size, read_bands, read_image, read_raster
from tests.datasets.chips import phoenix

from .mutation import Sample
from .running import Target
from .weights import zipped

_RAMP = np.arange(20 * 24).reshape(20, 24)


def _tiff(*bands: np.ndarray, names: Sequence[str] = (), mask: bool = False, **profile: Any) -> bytes:
    height, width = bands[0].shape
    profile = {"dtype": bands[0].dtype.name, "height": height, "width": width, "count": len(bands), **profile}
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), **profile
        ) as f:
            f.write(np.stack(bands))
            if names:
                f.descriptions = tuple(names)
            if mask:
                f.write_mask(bands[0] > 5)
        return memory.read()


@functools.cache
def _tiffs() -> tuple[Sample, ...]:
    db = (-_RAMP / 20).astype(np.float32)
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        files = (
            _tiff(_RAMP.astype(np.uint16)),
            _tiff(db, db - 7, names=("VV", "VH"), compress="deflate", nodata=-9999, predictor=3),
            _tiff(_RAMP.astype(np.uint8), compress="lzw", mask=True, **tiled),
            _tiff(_RAMP.astype(np.complex64)),
            _tiff(_RAMP.astype(np.int16), interleave="pixel", BIGTIFF="YES", ENDIANNESS="BIG"),
        )
    return tuple(Sample((content,)) for content in files)


def _read_any(file: Path) -> None:
    image_size(file)
    raster = read_raster(file)
    assert raster.array.ndim == 3 and raster.array.size and raster.array.dtype.kind in "iufc"
    assert raster.valid is None or raster.valid.shape == raster.array.shape
    for read in (lambda: read_image(file, nodata="fill"), lambda: read_bands(file, ("VV", "VH"), nodata="fill")):
        with contextlib.suppress(SarHubError):
            assert np.isfinite(read()).all()


def _chunked(content: bytes) -> Sample:
    """A PNG, put together again with the lengths and checksums of its chunks."""
    parts, place = [content[:8]], 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        parts.append(content[place + 4 : place + 8 + length])
        place += 12 + length

    def join(parts: Sequence[bytes]) -> bytes:
        chunks = (struct.pack(">I", max(len(p) - 4, 0)) + p + struct.pack(">I", zlib.crc32(p)) for p in parts[1:])
        return (parts[0] if parts else b"") + b"".join(chunks)

    return Sample(tuple(parts), join)


@functools.cache
def _pictures() -> tuple[Sample, ...]:
    gray = Image.fromarray(_RAMP.astype(np.uint8))
    pictures = [
        gray,
        Image.fromarray(_RAMP.astype(np.uint16)),
        gray.convert("1"),
        gray.convert("P"),
        gray.convert("LA"),
    ]
    contents = []
    for picture in pictures:
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        contents.append(stream.getvalue())
    return tuple(map(_chunked, contents))


@functools.cache
def _jpegs() -> tuple[Sample, ...]:
    stream = io.BytesIO()
    Image.fromarray(_RAMP.astype(np.uint8)).save(stream, "JPEG")
    return (Sample((stream.getvalue(),)),)


def _npy(array: np.ndarray) -> Sample:
    stream = io.BytesIO()
    np.save(stream, array)
    content = stream.getvalue()
    return Sample((content[:10], content[10:128], content[128:]))


@functools.cache
def _arrays() -> tuple[Sample, ...]:
    complex_numbers = (_RAMP + 1j).astype(np.complex64)
    return tuple(map(_npy, (_RAMP.astype(np.uint16), np.stack([_RAMP, _RAMP]).astype(np.float32), complex_numbers)))


@functools.cache
def _archives_of_arrays() -> tuple[Sample, ...]:
    stream = io.BytesIO()
    np.savez_compressed(stream, image=_RAMP.astype(np.float32), other=np.zeros(3))
    return (zipped(stream.getvalue(), zipfile.ZIP_DEFLATED),)


@functools.cache
def _chips() -> tuple[Sample, ...]:
    content = phoenix(np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32))
    end = content.index(b"[EndofPhoenixHeader]") + 20
    return (Sample((content[:end], content[end:])),)


def _read_chip(file: Path) -> None:
    for read in (lambda: parse_phoenix(file.read_bytes()), lambda: read_phoenix(file)):
        chip = read()
        assert np.isfinite(chip.magnitude).all() and chip.magnitude.min() >= 0
        assert chip.magnitude.shape == chip.phase.shape == (chip.header.rows, chip.header.columns)
    read_header(file, chip=False)


@functools.cache
def _archives_of_chips() -> tuple[Sample, ...]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            archive.writestr(f"a/HB0000{number}.017", _chips()[0].content)
    return (zipped(stream.getvalue(), zipfile.ZIP_DEFLATED),)


def _read_archive(file: Path) -> None:
    for member in list_members(file, CHIP)[0]:
        read_phoenix(member)


def _tar(parts: Sequence[bytes]) -> bytes:
    """A shard of samples of three parts each: array, label, note."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for number, part in enumerate(parts):
            member = tarfile.TarInfo(f"{number // 3:08d}.{('npy', 'cls', 'json')[number % 3]}")
            member.size = len(part)
            tar.addfile(member, io.BytesIO(part))
    return stream.getvalue()


@functools.cache
def _shards() -> tuple[Sample, ...]:
    parts = []
    for number in range(3):
        stream = io.BytesIO()
        np.save(stream, _RAMP.astype(np.uint8))
        parts += [stream.getvalue(), str(number % 2).encode(), json.dumps({"name": f"a/{number}"}).encode()]
    return (Sample(tuple(parts), _tar),)


def _index(shard: bytes, samples: int = 3) -> dict[str, Any]:
    return {
        "format": 1,
        "split": "train",
        "settings": {
            **{"reader": "folder", "options": {}, "full_scale": None, "samples": samples},
            **{"names_and_labels": "0" * 64, "shards": 1},
        },
        "class_names": ["a", "b"],
        "multilabel": False,
        "shards": [
            {
                "name": "train-000000.tar",
                "samples": samples,
                "counts": [2, 1],
                "skipped": [],
                "bytes": len(shard),
                "sha256": hashlib.sha256(shard).hexdigest(),
            }
        ],
    }


def _read_split(index: bytes, shard: bytes, folder: Path) -> None:
    folder.mkdir()
    try:
        (folder / "train.json").write_bytes(index)
        (folder / "train-000000.tar").write_bytes(shard)
        shards = Shards(Data(name="folder", shards=str(folder), workers=0), "train")
        for batch in shards.evaluation(2):
            assert all(np.isfinite(image.numpy()).all() for image in batch.images)
            assert all(0 <= label < 2 for label in batch.labels.tolist())
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _read_shard(file: Path) -> None:
    content = file.read_bytes()
    _read_split(json.dumps(_index(content)).encode(), content, file.with_suffix(""))


def _indices() -> tuple[Sample, ...]:
    return (Sample((json.dumps(_index(_shards()[0].content)).encode(),)),)


def _read_index(file: Path) -> None:
    _read_split(file.read_bytes(), _shards()[0].content, file.with_suffix(""))


TARGETS = (
    Target("tiff", ".tif", _tiffs, _read_any),
    Target("png", ".png", _pictures, _read_any),
    Target("jpeg", ".jpg", _jpegs, _read_any),
    Target("npy", ".npy", _arrays, _read_any),
    Target("npz image", ".npz", _archives_of_arrays, _read_any),
    Target("phoenix", ".017", _chips, _read_chip),
    Target("phoenix zip", ".zip", _archives_of_chips, _read_archive),
    Target("shard", ".tar", _shards, _read_shard),
    Target("shard index", ".json", _indices, _read_index),
)
