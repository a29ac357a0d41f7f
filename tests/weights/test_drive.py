"""Google Drive through its own client, against a server on loopback."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gdown
import pytest
import requests

from sarhub_models.errors import DownloadError
from sarhub_models.weights import Store, http
from sarhub_models.weights.sources import GoogleDrive, GoogleDriveFile

from . import tiny
from .loopback import Fault, FileServer
from .test_store import assert_same
from .tiny import SPEC, info

BODY = bytes(range(256)) * 5000
FOLDER = "F" * 33


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
    seen: list[int] = []
    GoogleDriveFile(id).fetch(tmp_path / "f", progress=lambda done, total: seen.append(done))
    assert (tmp_path / "f").read_bytes() == BODY and seen[-1] == len(BODY)
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


def test_drive_is_asked_once_where_nothing_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def fails(**options: Any) -> None:
        asked.append(options)
        raise gdown.exceptions.DownloadError("cut off")

    monkeypatch.setattr(gdown, "download", fails)
    with pytest.raises(DownloadError, match="cut off"):
        GoogleDriveFile("x" * 33).fetch(tmp_path / "f")
    assert [(options["id"], options["quiet"], options["use_cookies"]) for options in asked] == [("x" * 33, True, False)]


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
