"""Streaming: every order is the one promised, on any number of workers and processes, and after any interruption."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models.engine.batches import Batch, Files, Plan, Rank
from sarhub_models.engine.checkpoint import load_last
from sarhub_models.engine.readers import open_split
from sarhub_models.engine.run import Reporter, load_run, train
from sarhub_models.engine.shards import Shard, Shards, check_shard
from sarhub_models.engine.splits import mean_std, open_source
from sarhub_models.errors import DataError, DownloadError, InputError, IntegrityError, OfflineError, OptionError
from sarhub_models.io.files import digests
from tests.weights.loopback import Fault, FileServer
from training.recipes import load_recipe

from .packed import data_of, flip, member, names_in, pack, write_bigearthnet, write_folder

STEPS, BATCH = 5, 4
EVIL = b"cbuiltins\nexit\n(i"  # a pickle that ends the process


@pytest.fixture(scope="module")
def packed(tiny_dsn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 samples in eight shards, and a validation split; not to be changed."""
    out = tmp_path_factory.mktemp("shards")
    data = data_of("mobilenetv3_dsn", f"data.root={tiny_dsn}")
    pack(data, out, shards=8)
    pack(data, out, shards=2, split="val")
    return out


@pytest.fixture
def own(packed: Path, tmp_path: Path) -> Path:
    """A copy of the shards, to damage."""
    out = tmp_path / "own"
    out.mkdir()
    for file in packed.glob("[!.]*"):
        (out / file.name).write_bytes(file.read_bytes())
    return out


def opened(location: Path | str, *assignments: str) -> Shards:
    return Shards(
        data_of("mobilenetv3_dsn", f"data.shards={location}", "data.shuffle_buffer=10", *assignments), "train"
    )


def plan(start: int = 0, process: Rank = Rank(), epochs: int = 2, steps: int = STEPS, seed: int = 0) -> Plan:
    return Plan(steps, epochs, BATCH, seed, process, start)


def names(batches: Iterator[Batch] | object) -> list[list[str]]:
    return [batch.names for batch in batches]


def flat(batches: list[list[str]]) -> list[str]:
    return [name for batch in batches for name in batch]


@pytest.mark.parametrize("recipe", ["mobilenetv3_dsn", "mobilenetv3_ben"])
def test_batches_hold_what_the_files_hold(recipe: str, tiny_dsn: Path, tmp_path: Path) -> None:
    root = tiny_dsn if recipe.endswith("dsn") else write_bigearthnet(tmp_path / "ben")
    data = data_of(recipe, f"data.root={root}")
    pack(data, tmp_path / "out", shards=3)
    files = Files(open_split(data, "train"), data)
    shards = Shards(data_of(recipe, f"data.shards={tmp_path / 'out'}"), "train")
    assert (shards.class_names, shards.multilabel, len(shards)) == (files.class_names, files.multilabel, len(files))
    assert shards.counts.dtype == np.int64 and shards.counts.tolist() == files.counts.tolist()

    expected = {
        name: (image, label)
        for batch in files.evaluation(4)
        for name, image, label in zip(batch.names, batch.images, batch.labels, strict=True)
    }
    for loader in (shards.evaluation(4), shards.training(Plan(1, 1, len(files), 0))):
        for batch in loader:
            assert batch.images.dtype == torch.float32
            for name, image, label in zip(batch.names, batch.images, batch.labels, strict=True):
                assert torch.equal(image, expected[name][0])
                assert torch.equal(label, expected[name][1]) and label.dtype == expected[name][1].dtype


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_order_follows_from_seed_epoch_and_workers(packed: Path, workers: int) -> None:
    shards = opened(packed, f"data.workers={workers}")
    batches = names(shards.training(plan()))
    assert [len(batch) for batch in batches] == [BATCH] * 2 * STEPS
    assert names(shards.training(plan())) == batches
    epochs = flat(batches[:STEPS]), flat(batches[STEPS:])
    assert all(len(set(epoch)) == STEPS * BATCH for epoch in epochs)  # no sample twice
    assert epochs[0] != epochs[1]
    assert names(shards.training(plan(seed=1))) != batches


def test_an_epoch_sees_every_sample(packed: Path) -> None:
    epoch = flat(names(opened(packed, "data.workers=2").training(plan(steps=12, epochs=1))))
    assert len(epoch) == len(set(epoch)) == 48


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_see_different_samples_and_equally_many_batches(packed: Path, workers: int) -> None:
    shards = opened(packed, f"data.workers={workers}")
    first, second = (names(shards.training(plan(process=Rank(rank, 2), steps=6))) for rank in (0, 1))
    assert len(first) == len(second) == 12
    for epoch in (slice(0, 6), slice(6, 12)):
        one, other = set(flat(first[epoch])), set(flat(second[epoch]))
        assert len(one) == len(other) == 24 and not one & other


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_resuming_anywhere_gives_the_batches_that_were_left(packed: Path, workers: int) -> None:
    shards = opened(packed, f"data.workers={workers}")
    whole = names(shards.training(plan()))
    for start in range(2 * STEPS + 1):
        assert names(shards.training(plan(start))) == whole[start:], start


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


def test_resuming_counts_no_damaged_sample(spoilt: Callable[[Sequence[str]], Path]) -> None:
    shards = opened_folder(spoilt([f"{c}/{n}.npy" for c in "abc" for n in (2, 4, 6, 8, 10)]), "data.on_error=skip")
    whole = [(batch.names, batch.skipped) for batch in shards.training(plan())]
    assert sum(len(skipped) for _, skipped in whole) > 8
    for start in range(2 * STEPS):
        rest = [(batch.names, batch.skipped) for batch in shards.training(plan(start))]
        assert rest == whole[start:], start


def test_resuming_does_not_read_earlier_epochs(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = opened(packed)
    read: list[str] = []
    whole = Shards._read
    monkeypatch.setattr(Shards, "_read", lambda self, shard: (read.append(shard.name), whole(self, shard))[1])
    assert len(names(shards.training(plan(start=9 * STEPS, epochs=10)))) == STEPS
    assert len(read) <= 8


def test_a_short_lane_goes_round_again(packed: Path) -> None:
    """Eight shards for three processes, which owe 16 samples each and have 18, 18 and 12."""
    shards = opened(packed)
    lanes = [names(shards.training(plan(process=Rank(rank, 3), steps=4, epochs=1))) for rank in range(3)]
    assert all([len(batch) for batch in lane] == [BATCH] * 4 for lane in lanes)
    assert [len(set(flat(lane))) for lane in lanes] == [16, 16, 12]


def test_too_few_shards_use_fewer_workers_or_are_refused(packed: Path) -> None:
    shards = opened(packed, "data.workers=4")
    with pytest.warns(UserWarning, match=r"work for 2 worker\(s\), not for data\.workers=4"):
        batches = shards.training(plan(process=Rank(0, 3), epochs=1))
    assert len(names(batches)) == STEPS
    with pytest.raises(InputError, match=r"8 shards .* too few for 9 processes: pack"):
        shards.training(plan(process=Rank(0, 9)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 7])
def test_evaluation_shares_out_every_sample_once(packed: Path, world: int, workers: int) -> None:
    shards = opened(packed, f"data.workers={workers}")
    shares = [flat(names(shards.evaluation(5, process=Rank(rank, world)))) for rank in range(world)]
    assert len(flat(shares)) == len(set(flat(shares))) == 48
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_mean_and_std_are_those_of_the_files(packed: Path, tiny_dsn: Path) -> None:
    preprocess = load_recipe("mobilenetv3_dsn").preprocess
    files = open_source(data_of("mobilenetv3_dsn", f"data.root={tiny_dsn}"), "train")
    assert mean_std(opened(packed), preprocess) == pytest.approx(mean_std(files, preprocess))


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


@pytest.fixture
def server(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The shards on a loopback server; nobody waits between two attempts."""
    monkeypatch.setattr("sarhub_models.weights.http.RETRY_WAITS", (0.0, 0.0, 0.0))
    with FileServer() as running:
        running.files.update({f"/s/{file.name}": file.read_bytes() for file in packed.glob("[!.]*")})
        yield running


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_on_the_web_are_streamed_like_those_on_disk(server: FileServer, packed: Path, workers: int) -> None:
    on_disk, on_web = (opened(where, f"data.workers={workers}") for where in (packed, f"{server.url}/s/"))
    assert names(on_web.training(plan(start=3))) == names(on_disk.training(plan(start=3)))
    assert names(on_web.evaluation(8)) == names(on_disk.evaluation(8))


def test_a_broken_connection_is_taken_up_where_it_broke(server: FileServer, packed: Path) -> None:
    shards = opened(f"{server.url}/s")
    path = "/s/train-000001.tar"
    server.faults[path] = [Fault(after=70_000), Fault(status=503), Fault(after=20_000)]
    server.log.clear()
    assert names(shards.evaluation(8)) == names(opened(packed).evaluation(8))
    asked = [(request.range, request.status) for request in server.log if request.path == path]
    assert [status for _, status in asked] == [200, 503, 206, 206]
    begins = [int(begin[6:-1]) for begin, _ in asked[1:]]
    assert begins[0] == begins[1] and 0 < begins[0] <= 70_000 and begins[1] <= begins[2] <= 90_000


def test_servers_that_cannot_deliver_are_named(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = opened(f"{server.url}/s")
    path = "/s/train-000001.tar"
    server.faults[path] = [Fault(after=70_000)] + [Fault(status=503)] * 4
    with pytest.raises(DownloadError, match=rf"{path}: .*attempt 4"):
        list(shards.evaluation(8))
    content = server.files.pop(path)
    with pytest.raises(DownloadError, match=f"{path}: HTTP 404"):
        list(shards.evaluation(8))
    server.files[path] = content + bytes(512)
    with pytest.raises(
        IntegrityError, match=f"{path} is damaged: expected {len(content)} bytes, found {len(content) + 512}"
    ):
        list(shards.evaluation(8))
    with pytest.raises(DataError, match=r"/t/train\.json, found none; .*python -m training\.pack"):
        opened(f"{server.url}/t")
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"data\.shards=FOLDER"):
        opened(f"{server.url}/s")


def test_a_server_without_ranges_will_do(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarhub_models.weights.http.RETRY_WAITS", (0.0, 0.0, 0.0))
    seen: list[str] = []

    class Plain(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (packed / self.path[1:]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.path in seen else body[:70_000])
            seen.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        shards = opened(f"http://127.0.0.1:{server.server_address[1]}")
        assert names(shards.evaluation(8)) == names(opened(packed).evaluation(8))
        server.shutdown()
    assert seen.count("/train-000000.tar") == 2


TINY = (
    "preprocess.size=32", "optim.epochs=2", "optim.batch_size=8", "runtime.precision=fp32", "runtime.threads=1",
    "data.shuffle_buffer=10",
)  # fmt: skip


@pytest.mark.slow
def test_a_training_on_shards_is_resumed_exactly(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("mobilenetv3_dsn", [f"data.shards={packed}", "data.workers=0", *TINY])
    assert train(recipe, tmp_path / "whole")

    on_step = Reporter.on_step
    stops = iter([4])

    def stop_once(self: Reporter, step: int, loss: float) -> None:
        on_step(self, step, loss)
        if step == 4 and next(stops, None):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reporter, "on_step", stop_once)
    assert not train(recipe, tmp_path / "halved")
    stopped = load_last(tmp_path / "halved")
    assert stopped is not None and 4 <= stopped["step"] < 12
    assert train(recipe, tmp_path / "halved")
    whole, halved = (load_last(tmp_path / run) for run in ("whole", "halved"))
    assert whole is not None and halved is not None
    assert all(torch.equal(tensor, halved["model"][key]) for key, tensor in whole["model"].items())
    assert load_run(tmp_path / "whole").val == load_run(tmp_path / "halved").val


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
    shard = Shard(name=file.name, samples=1, bytes=file.stat().st_size, sha256=known)
    with pytest.raises(DataError, match=r"train-000000\.tar is damaged: .*the same training\.pack command"):
        check_shard(file, str(file), shard)
