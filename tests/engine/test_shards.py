"""Streaming: every order is the one promised, on any number of workers and processes, and after any interruption."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models.engine.batches import Files, Plan, Rank
from sarhub_models.engine.checkpoint import load_last
from sarhub_models.engine.readers import open_split
from sarhub_models.engine.run import Reporter, load_run, train
from sarhub_models.engine.shards import Shards
from sarhub_models.engine.splits import mean_std, open_source
from sarhub_models.errors import DataError, DownloadError, InputError, IntegrityError, OfflineError
from tests.weights.loopback import Fault, FileServer
from training.recipes import load_recipe

from .packed import BATCH, STEPS, data_of, flat, names, opened, pack, plan, write_bigearthnet


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


@pytest.mark.slow
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


@pytest.fixture
def server(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The shards on a loopback server; nobody waits between two attempts."""
    monkeypatch.setattr("sarhub_models.weights.http.RETRY_WAITS", (0.0, 0.0, 0.0))
    with FileServer() as running:
        running.files.update({f"/s/{file.name}": file.read_bytes() for file in packed.glob("[!.]*")})
        yield running


@pytest.mark.slow
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
