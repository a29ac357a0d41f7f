"""Each kind of source against a server on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sarhub_models
from sarhub_models.errors import DownloadError, ManifestError, OfflineError
from sarhub_models.weights import Store, sources
from sarhub_models.weights.sources import Http, HuggingFace, source_from
from sarhub_models.zoo.manifest import load_manifest
from tests.hub_server import HubServer

from . import tiny
from .loopback import Fault, FileServer
from .test_store import assert_same
from .tiny import SPEC, info

BODY = bytes(range(256)) * 5000


def test_every_source_of_the_manifest_can_be_built() -> None:
    built = [source_from(entry) for model in load_manifest().models.values() for entry in model.sources]
    assert {source.kind for source in built} >= {"http", "google_drive", "manual"}


def test_the_schema_of_the_list_allows_the_registered_kinds_and_no_others() -> None:
    schema = json.loads((Path(sarhub_models.__file__).parent / "zoo" / "weights_manifest.schema.json").read_text())
    source = schema["$defs"]["source"]
    described = [entry["if"]["properties"]["type"]["const"] for entry in source["allOf"]]
    assert sorted(source["properties"]["type"]["enum"]) == sorted(described) == sorted(sources.KINDS)


@pytest.mark.parametrize(
    ("entry", "page", "text"),
    [
        ({"type": "http", "url": "https://a.example/w"}, "https://a.example/w", "https://a.example/w"),
        (
            {"type": "google_drive", "folder": "F", "match": ["w"]},
            "https://drive.google.com/drive/folders/F",
            "https://drive.google.com/drive/folders/F",
        ),
        (
            {"type": "hf", "repo": "a/b", "revision": "r", "filename": "w.pth"},
            "https://huggingface.co/a/b/tree/r",
            "https://huggingface.co/a/b (w.pth)",
        ),
        ({"type": "bundled", "file": "w.safetensors"}, "", "w.safetensors, installed with the package"),
        (
            {"type": "manual", "url": "https://pan.example", "code": "hy"},
            "https://pan.example",
            "in a browser: https://pan.example (code hy), then 'sarhub import FILE'",
        ),
    ],
)
def test_a_source_says_how_it_is_shown(entry: dict[str, Any], page: str, text: str) -> None:
    source = source_from(entry)
    assert (source.page(), source.text()) == (page, text)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"type": "ftp", "url": "x"},
            "'ftp'.*expected one of bundled, google_drive, google_drive_file, hf, http, manual",
        ),
        ({"url": "x"}, "None"),
        ({"type": "http"}, "http.*url"),
        ({"type": "http", "url": "x", "path": "y"}, "path"),
        ({"type": "google_drive", "folder": "x", "match": []}, "match"),
        ({"type": "google_drive", "folder": "x", "match": "word"}, "match"),
        ({"type": "google_drive", "folder": "x", "match": ["word", 5]}, "match must be text"),
        ({"type": "http", "url": 5}, "url must be text, found"),
        ({"type": "bundled", "file": "../../secret.safetensors"}, "plain file name"),
        ({"type": "bundled", "file": "/etc/passwd"}, "plain file name"),
        ({"type": "hf", "repo": "a/b", "revision": "main", "filename": "../x"}, "plain file name"),
        ({"type": "hf", "repo": "a/b", "revision": "main", "filename": "/x"}, "plain file name"),
    ],
)
def test_malformed_sources_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        source_from(entry)


def test_what_needs_no_network_is_told_offline_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"open https://pan\.example \(extraction code hy\) in a browser"):
        store.path(info({"type": "manual", "url": "https://pan.example", "code": "hy"}), SPEC)


def test_a_mirror_that_cannot_be_read_is_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / f"{tiny.NAME}.pth").write_bytes(tiny.pth())
    monkeypatch.setenv("SARHUB_MIRROR", str(tmp_path))
    monkeypatch.setattr(sources, "open_file", denied)
    with pytest.raises(DownloadError, match=rf"{tiny.NAME}\.pth cannot be read: Permission denied"):
        store.path(info(), SPEC)


def test_the_query_of_a_mirror_stays_behind_the_name(server: FileServer, tmp_path: Path) -> None:
    server.files["/weights/a.safetensors?token=X"] = b"weights"
    sources.Mirror(f"{server.url}/weights/?token=X", "a").fetch(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"weights"


@pytest.mark.parametrize("web", [False, True])
def test_a_mirror_reports_progress_and_follows_no_link(server: FileServer, tmp_path: Path, web: bool) -> None:
    server.files["/a.safetensors"] = b"weights"
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a.safetensors").write_bytes(b"weights")
    if not web:  # what another user left where the copy is made
        (tmp_path / "f.copy").symlink_to(tmp_path / "victim")
    seen: list[tuple[int, int | None]] = []
    place = server.url if web else str(tmp_path / "mirror")
    sources.Mirror(place, "a").fetch(tmp_path / "f", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "f").read_bytes() == b"weights" and seen[-1] == (7, 7)
    assert not (tmp_path / "victim").exists()


# Http ---------------------------------------------------------------------------------------------------------------


def test_http_reports_progress(server: FileServer, tmp_path: Path) -> None:
    server.files["/f"] = BODY
    server.faults["/f"] = [Fault(after=100_000)]
    seen: list[tuple[int, int | None]] = []
    Http(server.url + "/f").fetch(tmp_path / "f", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "f").read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_http_tries_again_when_the_server_is_busy(server: FileServer, tmp_path: Path, status: int) -> None:
    server.files["/f"] = BODY
    server.faults["/f"] = [Fault(status=status), Fault(status=status)]
    Http(server.url + "/f").fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("status", [401, 403, 404])
def test_http_does_not_insist_when_it_is_refused(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults["/f"] = [Fault(status=status)]
    with pytest.raises(DownloadError, match=str(status)):
        Http(server.url + "/f").fetch(tmp_path / "f")
    assert len(server.log) == 1


def test_http_gives_up_after_a_few_attempts(server: FileServer, tmp_path: Path) -> None:
    server.faults["/f"] = [Fault(status=503)] * 10
    with pytest.raises(DownloadError, match=r"503.*attempt 3"):
        Http(server.url + "/f").fetch(tmp_path / "f")
    assert len(server.log) == 3


def test_http_starts_afresh_when_the_file_changed(server: FileServer, tmp_path: Path) -> None:
    server.files["/f"] = BODY
    server.faults["/f"] = [Fault(after=100_000)] * 3
    with pytest.raises(DownloadError):
        Http(server.url + "/f").fetch(tmp_path / "f")
    server.faults.clear()
    server.files["/f"] = changed = BODY[::-1]
    Http(server.url + "/f").fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == changed
    assert server.log[-1].range is not None
    assert server.log[-1].status == 200


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_http_resumes_only_what_a_strong_validator_vouches_for(
    server: FileServer, tmp_path: Path, tag: str | None
) -> None:
    server.validators = False
    server.headers["/f"] = {"ETag": tag} if tag else {}
    server.files["/f"] = BODY
    server.faults["/f"] = [Fault(after=100_000)]
    Http(server.url + "/f").fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert [request.range for request in server.log] == [None, None]


def test_http_does_not_continue_the_file_of_another_address(server: FileServer, tmp_path: Path) -> None:
    server.files["/f"], server.files["/g"] = BODY, BODY[::-1]
    server.faults["/f"] = [Fault(after=100_000)] * 3
    with pytest.raises(DownloadError):
        Http(server.url + "/f").fetch(tmp_path / "f")
    Http(server.url + "/g").fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY[::-1]
    assert server.log[-1].range is None


def test_http_recovers_from_a_partial_file_that_is_whole_or_too_long(server: FileServer, tmp_path: Path) -> None:
    server.files["/f"] = BODY
    for extra in (b"", b"more"):
        server.faults["/f"] = [Fault(after=100_000)] * 3
        with pytest.raises(DownloadError):
            Http(server.url + "/f").fetch(tmp_path / "f")
        (tmp_path / "f.part").write_bytes(BODY + extra)
        Http(server.url + "/f").fetch(tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 3}', '{"other": 1}'])
def test_http_ignores_a_damaged_note(server: FileServer, tmp_path: Path, note: str) -> None:
    server.files["/f"] = BODY
    (tmp_path / "f.part").write_bytes(b"old")
    (tmp_path / "f.part.json").write_text(note)
    Http(server.url + "/f").fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


def test_http_needs_a_server_and_an_address(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="connection failed"):
        Http("http://127.0.0.1:9/f").fetch(tmp_path / "f")
    with pytest.raises(DownloadError, match="not a web address"):
        Http("file:///etc/passwd").fetch(tmp_path / "f")


@given(st.text(max_size=20))
def test_folding_is_idempotent_and_keeps_no_separator(text: str) -> None:
    folded = sources._fold(text)
    assert sources._fold(folded) == folded
    assert not set("-_ ") & set(folded)


# Hugging Face -------------------------------------------------------------------------------------------------------


def test_hugging_face_through_the_store(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit("org/tiny", {"sub/w.pth": tiny.pth()}, branch="v1")
    hub.commit("org/tiny", {"sub/w.pth": tiny.pth(tiny.released(seed=1))})
    model = info({"type": "hf", "repo": "org/tiny", "revision": "v1", "filename": "sub/w.pth"})
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        store.path(model, SPEC)
    assert hub.log == []
    monkeypatch.delenv("SARHUB_OFFLINE")
    assert_same(store.path(model, SPEC))
    assert store.entries()[0].source == "Hugging Face org/tiny/sub/w.pth"
    assert not list((store.root / "downloads").iterdir())


@pytest.mark.parametrize(
    ("repo", "revision", "filename"), [("org/none", "main", "w"), ("org/tiny", "v9", "w"), ("org/tiny", "main", "x")]
)
def test_hugging_face_without_the_file(hub: HubServer, tmp_path: Path, repo: str, revision: str, filename: str) -> None:
    hub.commit("org/tiny", {"w": b"bytes"})
    with pytest.raises(DownloadError, match=f"{filename} of {repo} \\({revision}\\)"):
        HuggingFace(repo, revision, filename).fetch(tmp_path / "f")
    HuggingFace("org/tiny", "main", "w").fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"bytes"


# A new kind of source -----------------------------------------------------------------------------------------------


def test_a_new_source_is_one_class(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "KINDS", {**sources.KINDS})

    @sources.register
    class Memory(sources.Source):
        kind = "memory"

        def __init__(self, key: int) -> None:
            self.key = key

        def __str__(self) -> str:
            return "memory"

        def fetch(self, destination: Path, *, progress: Any = None) -> None:
            destination.write_bytes(tiny.pth(tiny.released(seed=self.key)))

    assert_same(store.path(info({"type": "memory", "key": 4}), SPEC), seed=4)
