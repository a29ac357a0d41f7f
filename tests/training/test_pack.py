"""Packing: nothing is lost, the same input gives the same bytes, and whatever goes wrong is named."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import webdataset
from filelock import FileLock
from typer.testing import CliRunner

from sarhub_models.engine import run
from sarhub_models.engine.readers import open_split
from sarhub_models.engine.sections import Data
from sarhub_models.engine.splits import open_training
from sarhub_models.errors import DataError, OptionError
from tests.engine.packed import data_of, flip, names_in, pack, write_bigearthnet, write_folder
from training import pack as command
from training.pack import shard_count, verify_split
from training.recipes import load_recipe

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Data:
    """24 images of three classes, sorted by class."""
    return data_of("mobilenetv3_folder", f"data.root={write_folder(tmp_path / 'images')}")


def contents(out: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder, but for hidden ones."""
    return {file.name: file.read_bytes() for file in out.glob("[!.]*") if file.is_file()}


@pytest.mark.parametrize("recipe", ["mobilenetv3_folder", "mobilenetv3_ben", "mobilenetv3_dsn"])
def test_plain_webdataset_reads_what_the_reader_gives(recipe: str, tiny_dsn: Path, tmp_path: Path) -> None:
    roots = {"folder": write_folder, "ben": write_bigearthnet, "dsn": lambda root: tiny_dsn}
    data = data_of(recipe, f"data.root={roots[recipe.split('_')[1]](tmp_path / 'data')}")
    scenes, out = open_split(data, "train"), tmp_path / "shards"
    index = pack(data, out, shards=3)
    given = {name: (image, label) for image, label, name in (scenes[i] for i in range(len(scenes)))}

    shards = [str(out / shard.name) for shard in index.shards]
    read = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert len(read) == len(given) == index.samples
    assert len({sample["__key__"] for sample in read}) == len(read)
    for sample in read:
        image, label = given.pop(sample["json"]["name"])
        assert sample["npy"].dtype == image.dtype
        np.testing.assert_array_equal(sample["npy"], image)
        np.testing.assert_array_equal(sample["labels.npy" if scenes.multilabel else "cls"], label)
    assert not given


def test_the_index_describes_the_shards(folder: Data, tmp_path: Path) -> None:
    index = pack(folder, tmp_path / "out", shards=5)
    assert index.class_names == ["a", "b", "c"] and not index.multilabel
    assert index.counts == [8, 8, 8] and index.samples == 24
    for shard in index.shards:
        content = (tmp_path / "out" / shard.name).read_bytes()
        assert shard.samples == len(names_in(tmp_path / "out" / shard.name))
        assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_samples_sorted_by_class_are_mixed(folder: Data, tmp_path: Path) -> None:
    pack(folder, tmp_path, shards=3)
    for number in range(3):
        assert {name[0] for name in names_in(tmp_path / f"train-{number:06d}.tar")} == {"a", "b", "c"}


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(folder: Data, tmp_path: Path) -> None:
    pack(folder, tmp_path / "one", shards=4)
    pack(folder, tmp_path / "two", shards=4, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


HANGS = """
import itertools, sys, time
from sarhub_models.datasets import FolderDataset
from training import pack
read = FolderDataset.__getitem__
done = itertools.count()
FolderDataset.__getitem__ = lambda self, index: (time.sleep(600 if next(done) == 15 else 0), read(self, index))[1]
pack.app(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_packing_goes_on_at_the_first_missing_shard(folder: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["mobilenetv3_folder", f"data.root={folder.root}", "--out", str(out), "--split", "train"]
    arguments += ["--shard-size", "3", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 600
    while not (out / "train-000001.tar").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)  # its worker, too
    assert process.wait() == -signal.SIGKILL
    assert not (out / "train-000007.tar").exists()
    with pytest.raises(DataError, match="interrupted; the same command resumes"):
        verify_split(out, "train")
    kept = (out / "train-000000.tar").stat()
    for name in (".train.json.x.tmp", ".train-000002.tar.1.tmp", ".val.json.x.tmp"):  # wherever the kill arrived
        (out / name).mkdir()

    result = runner.invoke(command.app, arguments)
    assert result.exit_code == 0, result.output
    assert (out / "train-000000.tar").stat().st_mtime_ns == kept.st_mtime_ns
    pack(folder, tmp_path / "whole", shards=8)
    assert contents(out) == contents(tmp_path / "whole")
    assert {file.name for file in out.iterdir() if file.name.startswith(".")} == {".train.lock", ".val.json.x.tmp"}


@pytest.mark.slow
def test_verifying_names_the_damaged_shards_and_packing_mends_them(folder: Data, tmp_path: Path) -> None:
    pack(folder, tmp_path, shards=5)
    whole = contents(tmp_path)
    arguments = ["mobilenetv3_folder", "--out", str(tmp_path), "--split", "train", "--verify"]
    assert runner.invoke(command.app, arguments).exit_code == 0
    (tmp_path / "train-000000.tar").unlink()
    os.truncate(tmp_path / "train-000001.tar", 5000)
    flip(tmp_path / "train-000003.tar", 600)
    result = runner.invoke(command.app, arguments)
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if "train-0" in line]
    assert [line.split("train-")[1][:6] for line in lines] == ["000000", "000001", "000003"]
    assert all(word in line for word, line in zip(("missing", "5000", "SHA-256"), lines, strict=True))

    pack(folder, tmp_path, shards=5)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("finished", [True, False])
def test_shards_of_something_else_are_not_touched(folder: Data, tmp_path: Path, finished: bool) -> None:
    index = pack(folder, tmp_path, shards=3)
    if not finished:
        (tmp_path / "train.json").write_text(index.model_copy(update={"shards": index.shards[:1]}).model_dump_json())
    before = contents(tmp_path)
    with pytest.raises(OptionError, match="shards: 3 there, 4 now"):
        pack(folder, tmp_path, shards=4)
    with pytest.raises(OptionError, match=r"full_scale: None there, 300\.0 now"):
        pack(folder.model_copy(update={"full_scale": 300.0}), tmp_path, shards=3)
    other = data_of("mobilenetv3_folder", f"data.root={write_folder(tmp_path / 'other', each=7)}")
    with pytest.raises(OptionError, match="names_and_labels"):
        pack(other, tmp_path, shards=3)
    assert contents(tmp_path) == before


def test_shards_that_nothing_is_known_of_are_not_touched(folder: Data, tmp_path: Path) -> None:
    (tmp_path / "train-000000.tar").write_bytes(b"mine")
    with pytest.raises(OptionError, match="without an index"):
        pack(folder, tmp_path, shards=3)
    assert contents(tmp_path)["train-000000.tar"] == b"mine"


def test_an_image_that_changed_after_packing_is_noticed(folder: Data, tmp_path: Path) -> None:
    assert folder.root is not None
    pack(folder, tmp_path / "out", shards=3)
    name = next(name for name in names_in(tmp_path / "out" / "train-000001.tar") if name.endswith(".npy"))
    np.save(folder.root / name, np.full((5, 5), 0.5))
    (tmp_path / "out" / "train-000001.tar").unlink()
    with pytest.raises(DataError, match=r"train-000001\.tar differs"):
        pack(folder, tmp_path / "out", shards=3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_stops_or_is_left_out_and_listed(folder: Data, tmp_path: Path, workers: int) -> None:
    assert folder.root is not None
    np.save(folder.root / "b" / "2.npy", np.full((8, 8), np.nan, dtype=np.float32))
    np.save(folder.root / "c" / "4.npy", np.full((8, 8), -1, dtype=np.float32))  # readable, but no amplitude
    with pytest.raises(DataError, match=r"sample [bc]/[24]\.npy: .*data\.on_error=skip") as caught:
        pack(folder, tmp_path / "out", shards=4, workers=workers)
    assert "Traceback" not in str(caught.value)

    lenient = folder.model_copy(update={"on_error": "skip"})
    index = pack(lenient, tmp_path / "out", shards=4, workers=workers)
    assert sorted(index.skipped) == ["b/2.npy", "c/4.npy"]
    assert (index.samples, index.counts) == (22, [8, 7, 7])
    assert pack(lenient, tmp_path / "out", shards=4) == index


def test_nothing_but_damaged_images_is_an_error(folder: Data, tmp_path: Path) -> None:
    assert folder.root is not None
    for file in folder.root.glob("*/*.*"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 24 images"):
        pack(folder.model_copy(update={"on_error": "skip"}), tmp_path / "out", shards=2)


def test_the_size_of_a_shard_is_given_in_samples_or_megabytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(12):
        np.save(tmp_path / "a" / f"{number}.npy", np.zeros((300, 300), dtype=np.float32))
    (tmp_path / "train.txt").write_text("\n".join(f"a/{number} 0" for number in range(12)))
    data = data_of("mobilenetv3_folder", f"data.root={tmp_path}")
    scenes = open_split(data, "train")
    assert [shard_count(scenes, size) for size in ("12", "11", "4", "1")] == [1, 2, 3, 12]
    index = pack(data, tmp_path / "out", shards=shard_count(scenes, "2MB"))
    assert len(index.shards) == 3 and all(shard.bytes < 2e6 for shard in index.shards)
    for wrong in ("0", "many", "3GB"):
        with pytest.raises(OptionError, match="--shard-size"):
            shard_count(scenes, wrong)


def test_one_packing_at_a_time(folder: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PATIENCE", 0)
    with FileLock(tmp_path / ".train.lock"), pytest.raises(DataError, match="at work"):
        pack(folder, tmp_path, shards=3)


@pytest.mark.slow
def test_the_command_packs_every_split_or_names_what_is_missing(tiny_dsn: Path, tmp_path: Path) -> None:
    arguments = ["mobilenetv3_dsn", "--out", str(tmp_path / "out"), "--shard-size", "20"]
    result = runner.invoke(command.app, arguments)
    assert result.exit_code == 1 and "data.root=FOLDER" in result.output
    assert not (tmp_path / "out").exists()
    result = runner.invoke(command.app, [*arguments, f"data.root={tiny_dsn}"])
    assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "out").glob("*.json")} == {"train.json", "val.json", "test.json"}
    part = tmp_path / "part"
    chosen = ["mobilenetv3_dsn", "--out", str(part), f"data.root={tiny_dsn}", "evaluation.split=null"]
    assert runner.invoke(command.app, [*chosen, "data.train=train+val"]).exit_code == 0
    assert {file.name for file in part.glob("*.json")} == {"train+val.json", "test.json"}
    data = load_recipe("mobilenetv3_dsn", [f"data.shards={part}", "data.train=train+val"]).data
    assert len(open_training(data, 0)) == 2 * 48
    assert "48 samples in 3 shard(s)" in result.output
