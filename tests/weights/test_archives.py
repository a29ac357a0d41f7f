"""Zip files of tensors, record by record: what is compared, what is passed over, and whose errors are whose."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.errors import CheckpointError
from sarhub_models.weights.archives import opened_zip, read_npz, whole_records


def zipped(file: Path, records: dict[str, bytes], *, deflated: tuple[str, ...] = (), flip: str = "") -> Path:
    """Write records, some compressed; the last byte of one is changed afterwards."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if name in deflated else zipfile.ZIP_STORED)
        ends = {
            info.filename: info.header_offset + 30 + len(info.filename) + info.file_size for info in archive.filelist
        }
    if flip:
        content = bytearray(file.read_bytes())
        content[ends[flip] - 1] ^= 1
        file.write_bytes(content)
    return file


def without_checksum(file: Path, name: str) -> Path:
    """Set the CRC-32 of a record to 0 wherever it stands."""
    with zipfile.ZipFile(file) as archive:
        crc = archive.getinfo(name).CRC.to_bytes(4, "little")
    file.write_bytes(file.read_bytes().replace(crc, bytes(4)))
    return file


def check(file: Path) -> None:
    with opened_zip(file) as archive:
        assert archive is not None
        whole_records(file, archive)


@pytest.mark.parametrize("name", ["w/small", "w/large"])
def test_every_record_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    records = {"w/small": b"some bytes", "w/large": bytes(3_000_000) + b"end"}
    check(zipped(tmp_path / "w.pth", records))
    with pytest.raises(CheckpointError, match=r"w\.pth is damaged \(Bad CRC-32 .*; download it again"):
        check(zipped(tmp_path / "w.pth", records, flip=name))


def test_records_without_a_checksum_are_passed_over_and_no_others(tmp_path: Path) -> None:
    records = {"w/first": b"first bytes", "w/second": b"second bytes"}
    check(without_checksum(zipped(tmp_path / "w.pth", records), "w/first"))
    with pytest.raises(CheckpointError, match="Bad CRC-32"):
        check(without_checksum(zipped(tmp_path / "w.pth", records, flip="w/second"), "w/first"))


def test_only_the_program_of_an_archive_may_be_compressed(tmp_path: Path) -> None:
    records = {"w/code/net.py": bytes(1000), "w/data.pkl": b"data"}
    check(zipped(tmp_path / "w.pth", records, deflated=("w/code/net.py",)))
    with pytest.raises(CheckpointError, match="is refused: it is compressed"):
        check(zipped(tmp_path / "w.pth", records, deflated=("w/data.pkl",)))


@pytest.mark.parametrize("err", [CheckpointError("mine"), OSError(28, "No space left on device")])
def test_errors_that_are_no_damage_pass_as_they_are(tmp_path: Path, err: Exception) -> None:
    file = zipped(tmp_path / "w.pth", {"w/a": b"a"})
    with pytest.raises(type(err)) as caught, opened_zip(file):
        raise err
    assert caught.value is err


@pytest.mark.parametrize("array", [np.array(["VV", "VH"]), np.array(["2024-01-01"], dtype="datetime64[D]")])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "w.npz", weight=np.ones(2, np.float32), other=array)
    with (
        pytest.raises(CheckpointError, match=r"other\.npy holds .*, expected numbers"),
        opened_zip(tmp_path / "w.npz") as archive,
    ):
        assert archive is not None
        read_npz(tmp_path / "w.npz", archive)
