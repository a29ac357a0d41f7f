"""MSTAR in its .zip archives: the same samples as unpacked, and what may be wrong with an archive."""

from __future__ import annotations

import gzip
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sarhub_models.datasets import MSTAR
from sarhub_models.datasets.recognition.mstar.phoenix import LARGEST, read_header
from sarhub_models.errors import DataError, ImageError, IncompleteError
from tests.datasets.chips import phoenix, write_chip

COMPRESSIONS = {"deflated": zipfile.ZIP_DEFLATED, "stored": zipfile.ZIP_STORED}
FIRST = "CD/17_DEG/S0/HB10000.000"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Chips of two vehicles at both angles, and what else an archive holds."""
    root = tmp_path / "unpacked"
    for depression in (17, 15):
        for number in range(6):
            file = root / f"CD/{depression}_DEG/S{number % 2}/HB{depression - 7}00{number}.000"
            target, serial = (("2s1_gun", "b01"), ("t72_tank", "132"))[number % 2]
            seed = depression * 10 + number
            write_chip(file, seed, (8 + number, 6), target=target, serial=serial, depression=depression)
    (root / "CD/README.TXT").write_text("about")
    (root / "CD/.hidden").mkdir()
    (root / "CD/.hidden/HB10000.000").write_bytes(b"not a chip")
    return root


def pack(folder: Path, archive: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", compression) as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(folder))
    return archive


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_the_same_samples_as_unpacked(compression: int, unpacked: Path, tmp_path: Path) -> None:
    pack(unpacked, tmp_path / "packed/deeper/chips.zip", compression)
    for split in ("train", "test"):
        expected, found = MSTAR(unpacked, split), MSTAR(tmp_path / "packed", split)
        assert len(found) == 6
        assert found.names == tuple(f"deeper/chips.zip/{path}" for path in expected.names)
        np.testing.assert_array_equal(found.labels, expected.labels)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_loader_read_archives(context: str, unpacked: Path, tmp_path: Path) -> None:
    data = MSTAR(pack(unpacked, tmp_path / "packed/chips.zip").parent, "train")
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=context)  # type: ignore[arg-type]
    for sample, expected in zip(loader, MSTAR(unpacked, "train"), strict=True):
        np.testing.assert_array_equal(np.asarray(sample.image), expected.image)


def test_lists_pick_chips_in_archives(unpacked: Path, tmp_path: Path) -> None:
    root = pack(unpacked, tmp_path / "packed/chips.zip").parent
    (root / "train_10.txt").write_text("/train/T-72/HB10001.000_Mag.npy 7\n")
    assert MSTAR(root, "train_10").names == ("chips.zip/CD/17_DEG/S1/HB10001.000",)


def test_an_archive_beside_what_was_unpacked_from_it(unpacked: Path) -> None:
    expected = MSTAR(unpacked, "train").names
    pack(unpacked / "CD", unpacked / "chips.zip")
    assert MSTAR(unpacked, "train").names == expected
    shutil.copy(unpacked / "chips.zip", unpacked / "again.zip")
    shutil.rmtree(unpacked / "CD")
    with pytest.raises(DataError, match=r"again\.zip/17_DEG.* and .*chips\.zip/17_DEG.* are the same chip"):
        MSTAR(unpacked, "train")


def test_an_archive_that_is_cut_off(unpacked: Path, tmp_path: Path) -> None:
    archive = pack(unpacked, tmp_path / "packed/chips.zip")
    whole = archive.read_bytes()
    for size in (len(whole) // 3, len(whole) // 2, 10):
        archive.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"chips\.zip: damaged or cut off"):
            MSTAR(archive.parent, "train")


@pytest.mark.parametrize("name", ["chips.tar", "chips.tar.gz", "chips.tgz"])
def test_other_archives_are_to_be_unpacked(name: str, unpacked: Path, tmp_path: Path) -> None:
    root = tmp_path / "packed"
    root.mkdir()
    (root / name).write_bytes(b"not looked at")
    with pytest.raises(DataError, match=rf"{name}: only \.zip archives are read in place; unpack it"):
        MSTAR(root, "train")
    pack(unpacked, root / "some.zip")  # which may lack the chips of the other
    with pytest.raises(DataError, match=rf"{name}: only \.zip archives"):
        MSTAR(root, "train")
    (root / "some.zip").unlink()
    shutil.copytree(unpacked / "CD", root / "CD")
    assert len(MSTAR(root, "train")) == 6


def test_an_archive_that_says_a_member_has_an_exabyte_ends_at_once(tmp_path: Path) -> None:
    info = tarfile.TarInfo("README")
    info.size = 1 << 60
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(512)
    for name, data in {"a.tar": content, "a.tar.gz": gzip.compress(content)}.items():
        root = tmp_path / name.replace(".", "")
        root.mkdir()
        (root / name).write_bytes(data)
        with pytest.raises(DataError, match=r"only \.zip archives are read in place"):
            MSTAR(root, "train")


def test_a_damaged_member_is_named(unpacked: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed/chips.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:  # stored as it is, so that a byte can be changed
        write_chip(unpacked / FIRST, shape=(64, 64))
        packed.write(unpacked / FIRST, FIRST)
        info = packed.getinfo(FIRST)
    content = bytearray(archive.read_bytes())
    content[info.header_offset + 30 + len(FIRST) + info.file_size - 2] ^= 1
    archive.write_bytes(content)
    data = MSTAR(archive.parent, "train")
    with pytest.raises(ImageError, match=rf"chips\.zip/{FIRST}: cannot be read \(Bad CRC-32"):
        data[0]


def encrypt(archive: Path) -> None:
    """Set the flag of encryption of every member."""
    content = bytearray(archive.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(magic)
        while place >= 0:
            content[place + offset] |= 1
            place = content.find(magic, place + 1)
    archive.write_bytes(content)


def declare(archive: Path) -> None:
    """Let the archive say that every member has 2 GiB."""
    content = bytearray(archive.read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        content[place + 24 : place + 28] = struct.pack("<I", 1 << 31)
        place = content.find(b"PK\x01\x02", place + 1)
    archive.write_bytes(content)


def other_method(archive: Path) -> None:
    """Let the archive say that every member is compressed by LZMA, whose dictionary may take gigabytes."""
    content = bytearray(archive.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.find(magic)
        while place >= 0:
            content[place + offset] = zipfile.ZIP_LZMA
            place = content.find(magic, place + 1)
    archive.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (encrypt, "encrypted; unpack"),
        (declare, f"at most {LARGEST} bytes"),
        (other_method, "expected a stored or deflated member, got method 14"),
    ],
)
def test_members_that_cannot_be_used(change: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    write_chip(tmp_path / "one" / FIRST, shape=(64, 64))
    archive = pack(tmp_path / "one", tmp_path / "packed/chips.zip")
    change(archive)
    with pytest.raises(IncompleteError, match=rf"1 of 1 Phoenix files .*chips\.zip/{FIRST}: .*{words}") as failure:
        MSTAR(archive.parent, "train")
    assert list(failure.value.damaged) == [archive / FIRST]


def test_a_member_that_unpacks_to_more_than_its_header_says(tmp_path: Path) -> None:
    file = tmp_path / "one" / FIRST
    file.parent.mkdir(parents=True)
    file.write_bytes(phoenix(np.ones((8, 6), np.float32)) + bytes(LARGEST))
    archive = pack(tmp_path / "one", tmp_path / "packed/chips.zip")
    with pytest.raises(IncompleteError, match=f"at most {LARGEST} bytes"):
        MSTAR(archive.parent, "train")
    assert read_header(archive / FIRST, chip=False).rows == 8


def test_two_members_of_one_name_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "chips.zip", "w") as packed:
        for name, rows in (("CD/HB10000.000", 4), ("./CD/HB10000.000", 9)):
            packed.writestr(name, phoenix(np.ones((rows, 3), np.float32)))
    with pytest.raises(DataError, match=r"chips\.zip: damaged .*two members are called 'CD/HB10000\.000'"):
        MSTAR(tmp_path, "train")


def test_archives_in_an_archive_and_archives_without_chips(unpacked: Path, tmp_path: Path) -> None:
    root = tmp_path / "packed"
    inner = pack(unpacked, tmp_path / "inner/CD1.zip")
    outer = pack(inner.parent, root / "MSTAR_PUBLIC_TARGETS.zip")
    with pytest.raises(DataError, match=r"TARGETS\.zip holds no chips but archives, 'CD1\.zip' first: unpack it"):
        MSTAR(root, "train")
    shutil.move(inner, root / "CD1.zip")
    assert len(MSTAR(root, "train")) == 6
    (root / "CD1.zip").unlink()
    outer.unlink()
    with zipfile.ZipFile(root / "notes.zip", "w") as packed:
        packed.writestr("README.TXT", "about")
    with pytest.raises(DataError, match=r"expected chips called HB19868\.000 in notes\.zip, found none"):
        MSTAR(root, "train")
