"""An HTTP server on loopback that does to downloads what networks do, and writes down what it was asked."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        after: bytes of the body that are sent before it happens.
        stall: keep the connection open and silent, in place of cutting it.
        status: answer with this status and no body.
    """

    after: int = 0
    stall: bool = False
    status: int | None = None


@dataclass(frozen=True)
class Request:
    """One request as the server saw it.

    Attributes:
        path: path and query.
        range: the ``Range`` header, or ``None``.
        status: what was answered.
    """

    path: str
    range: str | None
    status: int


class FileServer(ThreadingHTTPServer):
    """Serves ``files`` by path; ``faults[path]`` are used up one a request.

    Attributes:
        files: body by path.
        headers: further response headers by path.
        faults: what goes wrong, by path.
        log: the requests so far.
        stalled: set when a response has stalled.
        validators: whether responses carry an ETag.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.log: list[Request] = []
        self.stalled = threading.Event()
        self.ended = threading.Event()
        self.validators = True
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> FileServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that vanish are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = self.path if self.path in self.server.files else parts.path
        body = self.server.files.get(path)
        faults = self.server.faults[path]
        fault = faults.pop(0) if faults else None
        if fault is not None and fault.status is not None:
            return self._answer(fault.status, {}, b"", None)
        if body is None:
            return self._answer(404, {}, b"nothing here", None)
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        headers = {"Content-Type": "application/octet-stream", **self.server.headers.get(path, {})}
        if self.server.validators:
            headers["ETag"] = tag
        start = self._start(tag)
        if start is None:
            return self._answer(200, headers, body, fault)
        if start >= len(body):
            return self._answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"", None)
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self._answer(206, headers, body[start:], fault)

    def _start(self, tag: str) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range", tag) == tag
        return int(match[1]) if match and unchanged else None

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        self.server.log.append(Request(self.path, self.headers.get("Range"), status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if fault is None else body[: fault.after])
        self.wfile.flush()
        if fault is not None and fault.stall:
            self.server.stalled.set()
            self.server.ended.wait(600)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean; ``log`` has it all."""
