from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from sarhub_models.datasets import BigEarthNetS1, github
from sarhub_models.errors import DownloadError, IntegrityError, OfflineError, UnknownNameError
from sarhub_models.weights import http
from tests.datasets.repository import listing
from tests.datasets.scenes import write_npy
from tests.weights.loopback import Fault, FileServer
from training import splits
from training.splits import COMMIT, LISTS, download_splits

PATCH = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39"
FILES = {path: f"{PATCH}_VV.npy {number},18\n".encode() * 9 for number, path in enumerate(sum(LISTS.values(), ()))}


def address(path: str) -> str:
    return f"/raw/{quote(path)}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(http, "RETRY_WAITS", (0.0,))
    with FileServer() as running:
        running.files = {"/tree": listing(FILES), **{address(path): content for path, content in FILES.items()}}
        yield running


def fetch(server: FileServer, dataset: str, out: Path) -> list[Path]:
    return download_splits(dataset, out, listing_url=f"{server.url}/tree", base_url=f"{server.url}/raw")


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("ben", ["ben_train.txt", "ben_val.txt", "ben_test.txt"]),
        ("osu", ["osu_train.txt", "osu_val.txt", "osu_test.txt"]),
        ("mstar", ["train.txt", "train_30.txt", "train_10.txt", "test.txt"]),
        ("fusar", ["FuSAR_train6.txt", "FuSAR_test6.txt"]),
        (
            "opensarship",
            [f"{size}_{split}.txt" for size in ("low", "medium", "large") for split in ("train", "test")],
        ),
        ("spacenet6", ["train.txt", "test.txt"]),
    ],
)
def test_lists_arrive(server: FileServer, tmp_path: Path, dataset: str, names: list[str]) -> None:
    files = fetch(server, dataset, tmp_path)
    assert files == [tmp_path / dataset / name for name in names]
    assert [file.read_bytes() for file in files] == [FILES[path] for path in LISTS[dataset]]
    assert sorted(path.name for path in (tmp_path / dataset).iterdir()) == sorted(names)


def test_readers_find_the_lists(server: FileServer, tmp_path: Path) -> None:
    fetch(server, "ben", tmp_path / "splits")
    write_npy(tmp_path / "data" / f"{PATCH}_VV.npy")
    data = BigEarthNetS1(tmp_path / "data", "val", lists=tmp_path / "splits/ben")
    assert len(data) == 9 and data.counts()[[1, 18]].tolist() == [9, 9]


def test_what_is_there_is_kept_and_what_changed_is_replaced(server: FileServer, tmp_path: Path) -> None:
    first, second, _ = fetch(server, "osu", tmp_path)
    second.write_bytes(b"edited")
    server.log.clear()
    fetch(server, "osu", tmp_path)
    assert [request.path for request in server.log] == ["/tree", address(LISTS["osu"][1])]
    assert second.read_bytes() == FILES[LISTS["osu"][1]] and first.exists()


def test_a_cut_download_is_continued(server: FileServer, tmp_path: Path) -> None:
    path = LISTS["spacenet6"][0]
    large = {**FILES, path: b"tile\n" * 50_000}
    server.files |= {"/tree": listing(large), address(path): large[path]}
    server.faults[address(path)] = [Fault(after=150_000), Fault(after=0)]
    with pytest.raises(DownloadError, match=r"train\.txt: .*resumes"):
        fetch(server, "spacenet6", tmp_path)
    assert not (tmp_path / "spacenet6/train.txt").exists()
    files = fetch(server, "spacenet6", tmp_path)
    assert [r.status for r in server.log if r.path == address(path)][-1] == 206
    assert files[0].read_bytes() == large[path]


def test_other_bytes_than_listed_are_refused(server: FileServer, tmp_path: Path) -> None:
    path = LISTS["mstar"][3]
    server.files[address(path)] = FILES[path][:-1] + b"x"
    with pytest.raises(IntegrityError, match=r"MSTAR/test\.txt: expected git blob"):
        fetch(server, "mstar", tmp_path)
    assert sorted(file.name for file in (tmp_path / "mstar").iterdir()) == ["train.txt", "train_10.txt", "train_30.txt"]
    server.files[address(path)] = FILES[path]
    assert fetch(server, "mstar", tmp_path)[3].read_bytes() == FILES[path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not a listing"),
        (listing(FILES, truncated=True), "only a part"),
        (listing({"README.md": b""}), r"lists no .*FuSAR_train6\.txt"),
    ],
)
def test_an_unusable_listing_is_refused(server: FileServer, tmp_path: Path, content: bytes, message: str) -> None:
    server.files["/tree"] = content
    with pytest.raises(IntegrityError, match=message):
        fetch(server, "fusar", tmp_path)
    assert list((tmp_path / "fusar").iterdir()) == [] and len(server.log) == 1


def test_missing_files_are_named_by_their_address(server: FileServer, tmp_path: Path) -> None:
    del server.files[address(LISTS["osu"][0])]
    with pytest.raises(DownloadError, match=r"osu_train\.txt: HTTP 404"):
        fetch(server, "osu", tmp_path)


def test_offline_never_asks(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="split lists of osu"):
        fetch(server, "osu", tmp_path)
    assert server.log == [] and list(tmp_path.iterdir()) == []


def test_unknown_data_sets_are_named(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'opensarship'"):
        fetch(server, "opensarships", tmp_path)


def test_addresses_are_those_of_the_pinned_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(url: str, destination: Path) -> None:
        asked.append(url)
        destination.write_bytes(listing(FILES) if "/git/trees/" in url else FILES[LISTS["spacenet6"][len(asked) - 2]])

    monkeypatch.setattr(github, "download", answer)
    download_splits("spacenet6", tmp_path)
    folder = "Fine-tuning/Sementic_Segmentation/__base__/SAR%20data"
    assert asked == [
        f"https://api.github.com/repos/XAI4SAR/SAR-HUB/git/trees/{COMMIT}?recursive=1",
        f"https://raw.githubusercontent.com/XAI4SAR/SAR-HUB/{COMMIT}/{folder}/train.txt",
        f"https://raw.githubusercontent.com/XAI4SAR/SAR-HUB/{COMMIT}/{folder}/test.txt",
    ]


def test_command_line(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "download_splits", lambda dataset, out: fetch(server, dataset, out))
    result = CliRunner().invoke(splits.app, ["fusar", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert result.output.split() == [str(tmp_path / "fusar" / f"FuSAR_{split}.txt") for split in ("train6", "test6")]


def test_command_line_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    result = CliRunner().invoke(splits.app, ["ben", "--out", str(tmp_path)])
    assert result.exit_code == 1 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
