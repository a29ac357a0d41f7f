"""Files and folders made to do harm: each ends in one clear error, or in the next source."""

from __future__ import annotations

import collections
import io
import json
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from sarhub_models.errors import CheckpointError, DownloadError, IntegrityError
from sarhub_models.weights import Store, load_checkpoint, read_tensors, trust

from . import tiny
from .loopback import FileServer
from .test_store import assert_same, sha256
from .tiny import INFO, NAME, SPEC, info

pytestmark = pytest.mark.usefixtures("alarm")

# The bytes that are hashed are those that are used --------------------------------------------------------------------


def test_a_file_swapped_behind_the_check_is_not_used(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, evil = tmp_path / "w.pth", tmp_path / "evil.pth"
    good.write_bytes(tiny.pth())
    evil.write_bytes(tiny.pth(tiny.released(seed=1)))
    model = info(checksum=sha256(good.read_bytes()))
    check = trust.check_digests

    def swap(*arguments: Any) -> None:
        check(*arguments)
        evil.replace(good)

    monkeypatch.setattr(trust, "check_digests", swap)
    assert_same(store.import_file(good, model, SPEC))


def test_cached_files_cannot_be_written_but_replaced(store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    path = store.import_file(tmp_path / "w.pth", INFO, SPEC)
    assert path.stat().st_mode & 0o222 == 0
    mapped = read_tensors(path)
    store.remove(NAME, forget_pin=True)
    (tmp_path / "w.pth").write_bytes(tiny.pth(tiny.released(seed=1)))
    assert_same(store.import_file(tmp_path / "w.pth", INFO, SPEC), seed=1)
    assert all(torch.equal(mapped[key], value) for key, value in tiny.tensors().items()), "whoever has it open keeps it"


@pytest.mark.parametrize("write", [lambda: tiny.pth(), lambda: save(tiny.released())])
def test_a_users_file_may_change_after_it_was_loaded(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "w"
    path.write_bytes(write())
    tensors = load_checkpoint(path, SPEC)
    with path.open("rb+") as file:
        file.truncate(100)
    assert all(torch.equal(tensors[key], value) for key, value in tiny.tensors().items())


# Files ----------------------------------------------------------------------------------------------------------------


def zipped(compression: int, **records: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(f"w/{name.replace('_', '.')}", data)
    return buffer.getvalue()


def damaged_directory() -> bytes:
    data = bytearray(tiny.pth())
    end, directory = data.rindex(b"PK\x06\x06"), data.index(b"PK\x01\x02")
    data[end + 48 : end + 56] = struct.pack("<Q", directory + 5_000_000)
    return bytes(data)


def several_disks() -> bytes:
    data = bytearray(tiny.pth())
    place = data.rindex(b"PK\x05\x06")
    data[place:place] = b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 2)
    return bytes(data)


def overlapping() -> bytes:
    """Every record of the directory stands for the whole file."""
    data = bytearray(tiny.pth())
    place = data.index(b"PK\x01\x02")
    while place >= 0:
        data[place + 20 : place + 28] = struct.pack("<II", len(data) - 200, len(data) - 200)
        place = data.find(b"PK\x01\x02", place + 1)
    return bytes(data)


def header(text: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + body


BAD = {
    "compressed zip": zipped(zipfile.ZIP_BZIP2, data_pkl=bytes(1 << 20)),
    "deflated zip": zipped(zipfile.ZIP_DEFLATED, data_pkl=bytes(1 << 20)),
    "directory misplaced": damaged_directory(),
    "several disks": several_disks(),
    "overlapping records": overlapping(),
    "npz that grows": zipped(zipfile.ZIP_DEFLATED, a_npy=bytes(10 << 20)),
    "npz of objects": zipped(zipfile.ZIP_STORED, a_npy=b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O'}"),
    "metadata is a list": header(b'{"__metadata__":[1]}'),
    "metadata of numbers": header(b'{"__metadata__":{"model":1}}'),
    "offset 1e999": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1e999]}}', bytes(4)),
    "offset Infinity": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,Infinity]}}', bytes(4)),
    "offset true": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,true]}}', bytes(1)),
    "offset beyond int64": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,%d]}}' % 2**70, bytes(4)),
    "shape beyond int64": header(b'{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,4]}}' % 2**70, bytes(4)),
    "deep header": header(b"{" + b'"a":{' * 100_000, b""),
    "huge header": header(b'{"a":"' + b"b" * 17_000_000 + b'"}'),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_put_aside_and_the_next_source_used(server: FileServer, store: Store, name: str) -> None:
    server.files["/bad"], server.files["/good"] = BAD[name], tiny.pth()
    sources = [{"type": "http", "url": f"{server.url}/{path}"} for path in ("bad", "good")]
    assert_same(store.download(info(*sources), SPEC, progress=False))
    assert [path.read_bytes() for path in (store.root / "quarantine").iterdir()] == [BAD[name]]


@pytest.mark.parametrize("name", [name for name, data in BAD.items() if data[8:9] == b"{"])
def test_one_foreign_file_does_not_stop_the_cache(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    store.import_file(tmp_path / "w.pth", INFO, SPEC)
    (store.root / "somebody_elses.safetensors").write_bytes(BAD[name])
    (store.root / "resnet18_tsx.safetensors").write_bytes(BAD[name])
    os.mkfifo(store.root / "pipe.safetensors")
    (store.root / "folder.safetensors").mkdir()
    (store.root / "link.safetensors").symlink_to("/nowhere")
    assert [entry.name for entry in store.entries()] == [NAME]
    found = {result.name: result.ok for result in store.verify() if result.path.parent == store.root}
    assert found == {NAME: True, "resnet18_tsx": False}
    store.clear()
    assert (store.root / "somebody_elses.safetensors").exists()


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("legacy", [False, True])
def test_new_protocols_of_pickle_are_read(tmp_path: Path, protocol: int, legacy: bool) -> None:
    torch.save(
        tiny.released(),
        tmp_path / "w.pth",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not legacy,
    )
    found = load_checkpoint(tmp_path / "w.pth", SPEC)
    assert all(torch.equal(found[key], value) for key, value in tiny.tensors().items())


@pytest.mark.parametrize("protocol", [4, 5])
def test_code_in_new_protocols_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    content = {"model": tiny.released(), "path": Path("x")}
    torch.save(content, tmp_path / "w.pth", pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=r"refused.*pathlib.*--tensors-only"):
        load_checkpoint(tmp_path / "w.pth", SPEC)


def test_strides_of_zero_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    bomb = tiny.released() | {"net.head.weight": torch.zeros(1).expand(30_000_000, 256)}
    torch.save(bomb, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"no plain state dict.*net\.head\.weight"):
        load_checkpoint(tmp_path / "w.pth", SPEC)


class Shadowed(torch.Tensor):
    """A tensor that a pickle gives attributes in place of methods."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain = torch.Tensor.detach(self).as_subclass(torch.Tensor)
        rebuild, arguments = plain.__reduce_ex__(2)[:2]
        attributes = {name: collections.OrderedDict for name in ("is_floating_point", "is_complex", "clone", "detach")}
        return torch._tensor._rebuild_from_type_v2, (rebuild, torch.Tensor, arguments, attributes)


def test_a_tensor_cannot_hide_that_it_is_not_finite(tmp_path: Path) -> None:
    bad = torch.full((3, 256), float("nan")).as_subclass(Shadowed)
    torch.save(tiny.released() | {"net.head.weight": bad}, tmp_path / "w.pth")
    assert "is_floating_point" in vars(torch.load(tmp_path / "w.pth", weights_only=True)["net.head.weight"])
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(tmp_path / "w.pth", SPEC)


def test_pipes_and_devices_are_refused_at_once(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for read in (read_tensors, lambda p: store.import_file(p, INFO, SPEC), lambda p: load_checkpoint(p, SPEC)):
            with pytest.raises((CheckpointError, DownloadError), match=r"no regular file|directory"):
                read(path)


def test_escape_sequences_do_not_reach_the_terminal(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "w\x1b[2J.pth"
    file.write_bytes(tiny.pth())
    store.import_file(file, INFO, SPEC)
    assert store.entries()[0].source == "imported from w?[2J.pth"


# Folders --------------------------------------------------------------------------------------------------------------


def test_planted_links_are_not_followed(server: FileServer, store: Store, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    server.files["/w.pth"] = tiny.pth()
    downloads = store.root / "downloads" / NAME
    for place in (
        store.root / "pins" / f".{NAME}.json.tmp",
        store.root / f".{NAME}.safetensors.tmp",
        downloads / f"{NAME}.part",
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(precious)
    (downloads / f"{NAME}.part.json").write_text(json.dumps({"url": "x", "validator": "y", "total": 1}))
    assert_same(store.path(info({"type": "http", "url": server.url + "/w.pth"}), SPEC))
    assert precious.read_text() == "precious"


def test_files_get_the_permissions_of_the_umask(store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    for mask, mode in ((0o022, 0o444), (0o027, 0o440)):
        before = os.umask(mask)
        try:
            path = store.import_file(tmp_path / "w.pth", INFO, SPEC)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_a_killed_process_left_is_cleaned_up(store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    left = store.root / f".{NAME}.safetensors.abc.tmp" / ".tmpXYZ"
    copy = store.root / "downloads" / NAME / ".copy-abc" / "w.pth"
    for file in (left, copy):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"half")
    store.import_file(tmp_path / "w.pth", INFO, SPEC)
    assert not left.parent.exists() and not copy.parent.exists()


def test_a_full_disk_names_the_file(store: Store, server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"] = tiny.pth()
    model = info({"type": "http", "url": server.url + "/w.pth"})
    kind, message = tiny.Child(tmp_path / "child", tiny.fetch_with_file_limit, store.root, model, 10_000).outcome()
    assert kind == "DownloadError"
    assert f"{NAME}.part: File too large" in message


def test_a_pin_is_read_with_suspicion(store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    pin = store.root / "pins" / f"{NAME}.json"
    pin.parent.mkdir(parents=True)
    for text in ("[" * 100_000, "[]", '{"sha256": 5}', "\xff"):
        pin.write_text(text, encoding="latin-1")
        with pytest.raises(IntegrityError, match="--forget-pin"):
            store.import_file(tmp_path / "w.pth", INFO, SPEC)


def test_a_pickle_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    """A memo of four billion places, which the unpickler in C would allocate."""
    (tmp_path / "w.pth").write_bytes(b"\x80\x04]r\xff\xff\xff\xff.")
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "w.pth", tensors_only=True)


@pytest.mark.parametrize("place", [20, 24])  # of the compressed and of the whole size in the directory of a zip file
def test_a_record_that_claims_more_than_the_file_is_refused(tmp_path: Path, place: int) -> None:
    content = bytearray(tiny.pth())
    entry = content.index(b"PK\x01\x02")
    content[entry + place : entry + place + 4] = (3 << 30).to_bytes(4, "little")
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="records claim more bytes than the file has"):
        read_tensors(tmp_path / "w.pth")
