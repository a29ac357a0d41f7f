"""The loopback Hub, with what the real client needs to create a repository and to commit to it over plain LFS.

Follows the Hub's protocol: ``repos/create``, ``validate-yaml``, ``preupload``, git-LFS batch and upload, and a commit
as newline-delimited JSON. Every request must carry the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.hub_server import HubHandler, HubServer

TOKEN = "hf_loopback"


class UploadServer(HubServer):
    """A Hub that can be written to by whoever has ``TOKEN``.

    Attributes:
        objects: uploaded LFS objects by SHA-256.
        private: whether a repository was created as a private one.
        summaries: messages of the commits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = UploadHandler
        self.objects: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}
        self.summaries: list[str] = []


class UploadHandler(HubHandler):
    """Adds writing to the resolve protocol."""

    server: UploadServer

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.log.append(("POST", path))
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json(401, {"error": "Invalid credentials in Authorization header"})
        routes: list[tuple[str, Callable[..., None]]] = [
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
            (r"/api/models/([^/]+/[^/]+)/preupload/main", self._preupload),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/api/models/([^/]+/[^/]+)/commit/main", self._commit),
        ]
        for pattern, route in routes:
            if match := re.fullmatch(pattern, path):
                return route(body, *match.groups())
        return self._json(404, {"error": "no such route"})

    def do_PUT(self) -> None:
        """Take an LFS object; its name is its hash, which the client promised in the batch request."""
        body = self._body()
        oid = self.path.rpartition("/")[2]
        self.server.log.append(("PUT", self.path))
        if hashlib.sha256(body).hexdigest() != oid:
            return self._json(400, {"error": "wrong hash"})
        self.server.objects[oid] = body
        return self._json(200, {})

    def _create(self, body: bytes) -> None:
        fields = json.loads(body)
        repo = f"{fields['organization']}/{fields['name']}"
        answer = {"url": f"{self.server.url}/{repo}", "name": repo}
        if repo in self.server.private:
            return self._json(409, {**answer, "error": "You already created this model repo"})
        self.server.private[repo] = fields.get("visibility") == "private" or bool(fields.get("private"))
        return self._json(200, answer)

    def _validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        errors = [] if content.startswith("---\n") and "license:" in content else [{"message": "no metadata"}]
        self._json(400 if errors else 200, {"errors": errors, "warnings": []})

    def _preupload(self, body: bytes, repo: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._json(200, {"files": files})

    def _batch(self, body: bytes, repo: str) -> None:
        objects = [
            {
                "oid": wanted["oid"],
                "size": wanted["size"],
                "actions": {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}},
            }
            for wanted in json.loads(body)["objects"]
        ]
        self._json(200, {"transfer": "basic", "objects": objects}, "application/vnd.git-lfs+json")

    def _commit(self, body: bytes, repo: str) -> None:
        files: dict[str, bytes] = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.server.summaries.append(value["summary"])
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        commit = self.server.commit(repo, files)
        self._json(
            200, {"success": True, "commitOid": commit, "commitUrl": f"{self.server.url}/{repo}/commit/{commit}"}
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, status: int, content: Any, kind: str = "application/json") -> None:
        self.answer(status, {"Content-Type": kind}, json.dumps(content).encode())
