"""Shards and samples that are damaged, missing or hostile: each is named or left out, and none is executed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.engine.shards import Shard, Shards, check_shard
from sarhub_models.errors import DataError, OptionError
from sarhub_models.io.files import digests

from .packed import BATCH, STEPS, data_of, flat, flip, member, names, names_in, opened, pack, plan, write_folder

EVIL = b"cbuiltins\nexit\n(i"  # a pickle that ends the process


@pytest.fixture
def own(packed: Path, tmp_path: Path) -> Path:
    """A copy of the shards, to damage."""
    out = tmp_path / "own"
    out.mkdir()
    for file in packed.glob("[!.]*"):
        (out / file.name).write_bytes(file.read_bytes())
    return out


@pytest.fixture
def spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], Path]:
    """Shards of 48 images in which those of the given names are no amplitude, which packing would not have let pass."""
    monkeypatch.setattr("training.pack.amplitude", lambda image, full_scale: None)

    def make(names: Sequence[str]) -> Path:
        root = write_folder(tmp_path / "images", each=16)
        for name in names:
            np.save(root / name, np.full((8, 8), -1, dtype=np.float32))
        pack(data_of("mobilenetv3_folder", f"data.root={root}"), tmp_path / "spoilt", shards=8)
        return tmp_path / "spoilt"

    return make


def opened_folder(location: Path, *assignments: str) -> Shards:
    where = (f"data.shards={location}", "data.shuffle_buffer=10")
    return Shards(data_of("mobilenetv3_folder", *where, *assignments), "train")


@pytest.mark.slow
def test_resuming_counts_no_damaged_sample(spoilt: Callable[[Sequence[str]], Path]) -> None:
    shards = opened_folder(spoilt([f"{c}/{n}.npy" for c in "abc" for n in (2, 4, 6, 8, 10)]), "data.on_error=skip")
    whole = [(batch.names, batch.skipped) for batch in shards.training(plan())]
    assert sum(len(skipped) for _, skipped in whole) > 8
    for start in range(2 * STEPS):
        rest = [(batch.names, batch.skipped) for batch in shards.training(plan(start))]
        assert rest == whole[start:], start


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_sample_stops_or_is_left_out(spoilt: Callable[[Sequence[str]], Path], workers: int) -> None:
    bad = ["a/2.npy", "c/4.npy"]
    location = spoilt(bad)
    strict, lenient = (
        opened_folder(location, f"data.workers={workers}", f"data.on_error={policy}") for policy in ("stop", "skip")
    )
    for loader in (strict.training(plan(steps=12)), strict.evaluation(8)):
        with pytest.raises(DataError, match=r"[ac]/[24]\.npy in .*train-00000\d\.tar: .*data\.on_error=skip") as caught:
            list(loader)
        assert "Traceback" not in str(caught.value)

    batches = list(lenient.evaluation(8))
    assert len(flat(names(batches))) == 46 and sorted(flat([b.skipped for b in batches])) == bad
    batches = list(lenient.training(plan(steps=12, epochs=1)))
    assert [len(batch.names) for batch in batches] == [BATCH] * 12
    assert set(bad) <= set(flat([batch.skipped for batch in batches])) and not set(bad) & set(flat(names(batches)))


def test_nothing_but_damaged_samples_is_an_error(spoilt: Callable[[Sequence[str]], Path]) -> None:
    location = spoilt([f"{c}/{n}.npy" for c in "abc" for n in range(0, 16, 2)])
    (location.parent / "images" / "train.txt").write_text(
        "".join(f"{c}/{n} {'abc'.index(c)}\n" for c in "abc" for n in (2, 4))
    )
    data = data_of("mobilenetv3_folder", f"data.root={location.parent / 'images'}")
    pack(data, location.parent / "only", shards=2)
    with pytest.raises(DataError, match="no sample"):
        list(opened_folder(location.parent / "only", "data.on_error=skip").training(plan()))


def test_a_damaged_shard_is_named(own: Path) -> None:
    shard = own / "train-000003.tar"
    shards, again = (opened(own, "data.on_error=skip") for _ in range(2))  # it is about samples, not about shards
    flip(shard, member(shard, names_in(shard)[4]).offset_data + 300)
    for loader in (shards.evaluation(8), shards.training(plan(steps=12))):
        with pytest.raises(DataError, match=r"train-000003\.tar is damaged: its SHA-256 .*training\.pack"):
            list(loader)
    os.truncate(shard, 5000)
    with pytest.raises(DataError, match=r"train-000003\.tar is damaged: expected \d+ bytes, found 5000"):
        list(again.evaluation(8))  # noticed where it is read
    with pytest.raises(DataError, match="found 5000"):
        opened(own)  # and at the start
    shard.unlink()
    with pytest.raises(DataError, match=r"train-000003\.tar is missing"):
        opened(own)


def test_nothing_in_a_shard_is_executed(own: Path) -> None:
    """A shard may hold files of any kind; webdataset would open pickles among them."""
    shard = own / "train-000000.tar"
    with tarfile.open(shard, "a") as tar:
        key = tar.getnames()[-1].partition(".")[0]
        entry = tarfile.TarInfo(f"{key}.pickle")
        entry.size = len(EVIL)
        tar.addfile(entry, io.BytesIO(EVIL))
    index = json.loads((own / "train.json").read_text())
    index["shards"][0] |= {"bytes": shard.stat().st_size, "sha256": hashlib.sha256(shard.read_bytes()).hexdigest()}
    (own / "train.json").write_text(json.dumps(index))
    assert len(flat(names(opened(own).evaluation(8)))) == 48


def test_missing_or_other_shards_are_explained(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the index .*python -m training\.pack RECIPE data\.root=DIR"):
        opened(tmp_path / "nowhere")
    with pytest.raises(OptionError, match=r"hold dsn .* asks for dsn with {'parts': \['s1'\]}"):
        opened(own, "data.options.parts=[s1]")
    (own / "train.json").write_text('{"format": 2}')
    with pytest.raises(DataError, match="no index of this version"):
        opened(own)


def test_a_shard_of_a_name_that_no_file_can_have_is_refused(own: Path) -> None:
    index = json.loads((own / "train.json").read_text())
    index["shards"][0]["name"] = "9" * 400 + ".tar"
    (own / "train.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"no index of this version \(shards\.0\.name: .* at most 200 characters"):
        opened(own)


def test_counts_of_other_classes_are_refused(own: Path) -> None:
    index = json.loads((own / "train.json").read_text())
    index["shards"][1]["counts"].append(0)
    (own / "train.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"no index of this version .* counts of other classes"):
        opened(own)


def _endless() -> bytes:
    member = tarfile.TarInfo("00000000.npy")
    member.size = 1 << 60
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(512)


def _sparse() -> bytes:
    member = tarfile.TarInfo("00000000.npy")
    member.size, member.type = 0, tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"  # its size in memory
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def _compressed() -> bytes:
    return gzip.compress(bytes(10_240))


@pytest.mark.parametrize("make", [_endless, _sparse, _compressed])
def test_a_tar_that_claims_more_than_it_has_is_refused_at_once(make: Callable[[], bytes], tmp_path: Path) -> None:
    file = tmp_path / "train-000000.tar"
    file.write_bytes(make())
    known = digests(file).sha256
    shard = Shard(name=file.name, samples=1, counts=[1], skipped=[], bytes=file.stat().st_size, sha256=known)
    with pytest.raises(DataError, match=r"train-000000\.tar is damaged: .*the same training\.pack command"):
        check_shard(file, str(file), shard)
