"""Servers that do harm: each ends in one clear error, or in the next source."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save

from sarhub_models.errors import CheckpointError, DownloadError
from sarhub_models.weights import Store, http
from sarhub_models.weights.sources import Http, Mirror

from . import tiny
from .loopback import Fault, FileServer
from .test_store import assert_same
from .tiny import NAME, SPEC, info

pytestmark = pytest.mark.usefixtures("alarm")


# Servers --------------------------------------------------------------------------------------------------------------


class Raw:
    """A server that answers each request with the bytes of a function of (path, headers, number of the request)."""

    def __init__(self, answer: Any) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.answer, self.requests = answer, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            text = b""
            while b"\r\n\r\n" not in text:
                text += connection.recv(65536)
            lines = text.decode("latin-1").split("\r\n")
            headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
            self.requests += 1
            try:
                for part in self.answer(lines[0].split()[1], headers, self.requests):
                    connection.sendall(part)
            except OSError:
                pass


def ok(body: bytes, **headers: str) -> list[bytes]:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return [f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body]


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_a_partial_answer_of_another_version_is_not_appended(store: Store, validator: str) -> None:
    old, new = save(tiny.tensors()), save(tiny.tensors(seed=1))

    def answer(path: str, headers: dict[str, str], number: int) -> list[bytes]:
        if "range" not in headers:
            body, version = (old, '"one"') if number == 1 else (new, '"two"')
            whole = ok(body, **{validator: version})[0]
            return [whole[: len(whole) // 2] if number == 1 else whole]
        start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        head = (
            f'HTTP/1.1 206 P\r\nConnection: close\r\n{validator}: "two"\r\n'
            f"Content-Range: bytes {start}-{len(new) - 1}/{len(new)}\r\nContent-Length: {len(new) - start}\r\n\r\n"
        )
        return [head.encode() + new[start:]]

    assert_same(store.download(info({"type": "http", "url": Raw(answer).url + "/w"}), SPEC, progress=False), seed=1)


def test_a_partial_answer_that_stops_early_is_not_the_whole_file(tmp_path: Path) -> None:
    body = bytes(range(256)) * 100

    def answer(path: str, headers: dict[str, str], number: int) -> list[bytes]:
        if "range" not in headers:
            return [ok(body, ETag='"one"')[0][:-1000]]
        start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        end = min(start + 300, len(body))
        head = (
            f'HTTP/1.1 206 P\r\nConnection: close\r\nETag: "one"\r\nContent-Range: bytes {start}-{end - 1}/{len(body)}'
            f"\r\nContent-Length: {end - start}\r\n\r\n"
        )
        return [head.encode() + body[start:end]]

    server = Raw(answer)
    with pytest.raises(DownloadError, match="expected 25600 bytes"):
        Http(server.url + "/w").fetch(tmp_path / "w")
    Http(server.url + "/w").fetch(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == body


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 302 F\r\nConnection: close\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nConnection: close\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\xff" * 40 + b"\r\n\r\n",
        b"",
    ],
)
def test_a_hostile_answer_leads_to_the_next_source(store: Store, head: bytes) -> None:
    good = tiny.pth()
    server = Raw(lambda path, headers, number: ok(good) if path == "/good" else [head])
    sources = [{"type": "http", "url": f"{server.url}/{path}"} for path in ("bad", "good")]
    assert_same(store.download(info(*sources), SPEC, progress=False))


@pytest.mark.slow
def test_a_server_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 0.5)

    def answer(path: str, headers: dict[str, str], number: int) -> Iterator[bytes]:
        yield b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 6000000\r\n\r\n'
        while True:
            yield b"x"
            time.sleep(0.05)

    with pytest.raises(DownloadError, match=r"too slow.*bytes are kept"):
        Http(Raw(answer).url + "/w").fetch(tmp_path / "w")


def test_bytes_reach_the_disk_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def answer(path: str, headers: dict[str, str], number: int) -> Iterator[bytes]:
        yield b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 2000\r\n\r\n' + b"x" * 1000
        while not (tmp_path / "w.part").exists() or (tmp_path / "w.part").stat().st_size < 1000:
            time.sleep(0.01)
        seen.append(number)
        yield b"y" * 1000

    Http(Raw(answer).url + "/w").fetch(tmp_path / "w")
    assert seen == [1] and (tmp_path / "w").stat().st_size == 2000


def test_a_connection_failure_is_one_plain_sentence(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        Http("http://user:T0PSECRET@127.0.0.1:9/f?token=T0PSECRET").fetch(tmp_path / "f")
    assert str(caught.value) == "connection failed: Connection refused (attempt 3)"


def test_a_page_of_a_mirror_is_not_called_a_log_in(server: FileServer, store: Store, monkeypatch: Any) -> None:
    server.files[f"/{NAME}.safetensors"] = b"<html><body>down for maintenance</body></html>"
    monkeypatch.setenv("SARHUB_MIRROR", server.url)
    with pytest.raises(CheckpointError, match="is a web page") as caught:
        store.path(info(), SPEC)
    assert "log-in" not in str(caught.value)


def test_credentials_are_written_nowhere(server: FileServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[f"/{NAME}.pth"] = tiny.pth()
    server.faults[f"/{NAME}.pth"] = [Fault(after=100_000), Fault(after=10), Fault(after=10)]
    monkeypatch.setenv("SARHUB_MIRROR", server.url.replace("//", "//user:T0PSECRET@"))
    with pytest.raises(DownloadError) as caught:
        store.path(info(), SPEC)
    assert "T0PSECRET" not in str(caught.value)

    def written() -> list[Path]:
        return [p for p in store.root.rglob("*") if p.is_file() and b"T0PSECRET" in p.read_bytes()]

    assert written() == [], "what is kept to resume"
    store.path(info(), SPEC)
    assert written() == []
    assert "T0PSECRET" not in store.entries()[0].source
    assert str(Mirror("https://a:b@c.example/x?sig=d", "n")) == "mirror https://c.example/x?…"


def test_who_waits_is_told(server: FileServer, store: Store, caplog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sarhub_models.weights import locks

    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    server.files["/w.pth"] = tiny.pth()
    with locks.held(store.root / "locks" / f"{NAME}.lock", NAME):
        waiting = threading.Thread(target=store.path, args=(info({"type": "http", "url": server.url + "/w.pth"}), SPEC))
        waiting.start()
        while not caplog.records:
            time.sleep(0.01)
    waiting.join()
    assert NAME in caplog.text and "waiting for another process" in caplog.text
