"""Each kind of source against a server on loopback."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import sarhub_models
from sarhub_models.errors import DownloadError, ManifestError, OfflineError
from sarhub_models.weights import Store, http, sources
from sarhub_models.weights.sources import GoogleDrive, GoogleDriveFile, Http, HuggingFace, source_from
from sarhub_models.zoo.manifest import load_manifest
from tests.hub_server import HubServer

from . import tiny
from .loopback import Fault, FileServer
from .test_store import assert_same
from .tiny import SPEC, info

BODY = bytes(range(256)) * 5000
FOLDER = "F" * 33


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
        ({"type": "bundled", "file": "../../secret.safetensors"}, "plain file name"),
        ({"type": "bundled", "file": "/etc/passwd"}, "plain file name"),
        ({"type": "hf", "repo": "a/b", "revision": "main", "filename": "../x"}, "plain file name"),
        ({"type": "hf", "repo": "a/b", "revision": "main", "filename": "/x"}, "plain file name"),
    ],
)
def test_malformed_sources_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        source_from(entry)


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


# Google Drive -------------------------------------------------------------------------------------------------------


@pytest.fixture
def drive(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """Send what gdown sends to drive.google.com to the server on loopback; gdown itself is the real one."""
    send = requests.adapters.HTTPAdapter.send

    def redirected(self: Any, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        assert request.url is not None
        if not request.url.startswith(server.url):
            assert request.url.startswith("https://drive.google.com/")
            request.url = request.url.replace("https://drive.google.com", server.url)
        return send(self, request, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirected)
    return server


def share(drive: FileServer, *names: str, body: bytes = BODY) -> list[str]:
    """Put files into the shared folder; return their ids."""
    ids = [f"{number:033d}" for number in range(len(names))]
    links = "".join(
        f'<a href="https://drive.google.com/file/d/{id}/view"><div>{html.escape(name)}</div></a>'
        for id, name in zip(ids, names, strict=True)
    )
    page = f"<html><head><title>Weights</title></head><body>{links}</body></html>"
    drive.files[f"/embeddedfolderview?id={FOLDER}"] = page.encode()
    drive.headers[f"/embeddedfolderview?id={FOLDER}"] = {"Content-Type": "text/html"}
    for id, name in zip(ids, names, strict=True):
        drive.files[f"/uc?id={id}"] = body
        drive.headers[f"/uc?id={id}"] = {"Content-Disposition": f'attachment; filename="{name}"'}
    return ids


NAMES = ("Swin-T_TSX.pth", "Swin-T_BEN.pth", "Swin-T_OSU.pth")


def test_drive_finds_and_downloads_the_one_file(drive: FileServer, tmp_path: Path) -> None:
    ids = share(drive, *NAMES)
    seen: list[int] = []
    GoogleDrive(FOLDER, ("swin-t", "ben")).fetch(tmp_path / "f", progress=lambda done, total: seen.append(done))
    assert (tmp_path / "f").read_bytes() == BODY
    assert seen[-1] == len(BODY)
    assert [request.path for request in drive.log] == [f"/embeddedfolderview?id={FOLDER}", f"/uc?id={ids[1]}"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_drive_downloads_one_file_by_its_id(drive: FileServer, tmp_path: Path) -> None:
    id = share(drive, *NAMES)[0]
    GoogleDriveFile(id).fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert [request.path for request in drive.log] == [f"/uc?id={id}"]
    assert GoogleDriveFile(id).page() == f"https://drive.google.com/file/d/{id}/view"


@pytest.mark.parametrize(
    ("match", "name"),
    [
        (("swin-t", "tsx"), "swin_t_tsx.pth"),
        (("mobile", "v3", "ben"), "MobileV3_BEN.pth"),
        (("mobile", "v3", "ben"), "MobileNet-V3 BEN.pth"),
        (("resnet18", "tsx"), "ResNet-18_TSX.pth"),
    ],
)
def test_drive_takes_no_notice_of_case_and_separators(
    drive: FileServer, tmp_path: Path, match: tuple[str, ...], name: str
) -> None:
    share(drive, "other.txt", name)
    GoogleDrive(FOLDER, match).fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize(("match", "found"), [(("swin",), "several files match"), (("resnet",), "no file matches")])
def test_drive_prints_the_listing_when_the_words_do_not_settle_it(
    drive: FileServer, tmp_path: Path, match: tuple[str, ...], found: str
) -> None:
    share(drive, *NAMES)
    with pytest.raises(DownloadError, match=rf"{found}.*Swin-T_BEN\.pth, Swin-T_OSU\.pth, Swin-T_TSX\.pth"):
        GoogleDrive(FOLDER, match).fetch(tmp_path / "f")


def test_drive_folders_that_are_empty_or_closed(drive: FileServer, tmp_path: Path) -> None:
    share(drive)
    with pytest.raises(DownloadError, match="holds: nothing"):
        GoogleDrive(FOLDER, ("swin",)).fetch(tmp_path / "f")
    drive.files.clear()
    with pytest.raises(DownloadError, match="404"):
        GoogleDrive(FOLDER, ("swin",)).fetch(tmp_path / "f")


def test_drive_over_its_quota(drive: FileServer, tmp_path: Path) -> None:
    (id,) = share(drive, "Swin-T_TSX.pth", body=b'<p class="uc-error-subcaption">Too many users</p>')
    drive.headers[f"/uc?id={id}"] = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadError, match="Too many users"):
        GoogleDrive(FOLDER, ("tsx",)).fetch(tmp_path / "f")


def cut_a_drive_download(drive: FileServer, tmp_path: Path) -> str:
    (id,) = share(drive, "Swin-T_TSX.pth")
    attempts = len(http.RETRY_WAITS) + 1
    drive.faults[f"/uc?id={id}"] = [Fault(after=1_200_000)] + [Fault(after=0)] * (attempts - 1)
    with pytest.raises(DownloadError):
        GoogleDrive(FOLDER, ("tsx",)).fetch(tmp_path / "f")
    assert not (tmp_path / "f").exists()
    (part,) = tmp_path.glob("*.part")
    assert 0 < part.stat().st_size <= 1_200_000
    drive.faults.clear()
    return id


def test_drive_resumes_in_the_next_run(drive: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRY_WAITS", ())
    cut_a_drive_download(drive, tmp_path)
    asked = len(drive.log)
    GoogleDrive(FOLDER, ("tsx",)).fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert any(request.status == 206 for request in drive.log[asked:])
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_drive_starts_afresh_when_the_partial_file_cannot_be_continued(
    drive: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "RETRY_WAITS", ())
    id = cut_a_drive_download(drive, tmp_path)
    drive.files[f"/uc?id={id}"] = BODY[:1000]
    GoogleDrive(FOLDER, ("tsx",)).fetch(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY[:1000]


def test_drive_through_the_store(drive: FileServer, store: Store) -> None:
    share(drive, "Tiny_TOY.pth", "Tiny_BEN.pth", body=tiny.pth())
    model = info({"type": "google_drive", "folder": FOLDER, "match": ["tiny", "toy"]})
    assert_same(store.path(model, SPEC))
    assert store.entries()[0].source == f"Google Drive folder {FOLDER}"


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
