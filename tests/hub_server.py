"""A Hugging Face Hub on loopback: as much of it as the real client needs to download a file of a repository."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


class HubServer(ThreadingHTTPServer):
    """Serves repositories by ``/<organization>/<name>/resolve/<revision>/<file>``.

    Attributes:
        commits: files (bytes by path) by commit (40 hexadecimal digits), by repository.
        branches: commit by branch or tag, by repository.
        log: method and path of the requests so far.
        url: to be used as ``HF_ENDPOINT``.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.log: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Make a commit that holds exactly ``files``, move the branch to it, and return its id."""
        commits = self.commits.setdefault(repo, {})
        digest = hashlib.sha1(f"{repo} {branch} {len(commits)}".encode(), usedforsecurity=False).hexdigest()
        commits[digest] = dict(files)
        self.branches.setdefault(repo, {})[branch] = digest
        return digest

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that hang up."""


class HubHandler(BaseHTTPRequestHandler):
    """The resolve protocol: the commit, the ETag and the size in the headers of ``HEAD``, the bytes with ``GET``."""

    server: HubServer
    _RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")

    def do_HEAD(self) -> None:
        self._resolve(with_body=False)

    def do_GET(self) -> None:
        self._resolve(with_body=True)

    def _resolve(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.log.append((self.command, path))
        match = self._RESOLVE.fullmatch(path)
        if match is None:
            return self.answer(404, {}, b"")
        repo, revision, file = match["repo"], match["revision"], match["file"]
        if repo not in self.server.commits:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"}, b"")
        commit = self.server.branches[repo].get(revision, revision)
        if commit not in self.server.commits[repo]:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"}, b"")
        body = self.server.commits[repo][commit].get(file)
        if body is None:
            return self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b"")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(body).hexdigest()}"'}
        return self.answer(200, headers, body, with_body)

    def answer(self, status: int, headers: dict[str, str], body: bytes, with_body: bool = True) -> None:
        """Send a whole response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean; ``log`` has it all."""


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Point the Hub's client at a server and a cache: child processes by the environment, this one directly.

    The client reads its environment once, when it is imported.
    """
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
