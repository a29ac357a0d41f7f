"""One file over HTTP, resumed where it was cut."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from ..errors import DownloadError, NotFoundError
from ..io.files import replace_atomically, write_text
from ..io.progress import Progress

if TYPE_CHECKING:
    import requests

__all__ = ["download"]

RETRY_WAITS = (0.5, 1.0, 2.0)  # seconds before the second, third and fourth attempt
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two reads
_CHUNK = 64 * 1024  # what a cut connection loses at most
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class _TransientError(Exception):
    """An attempt failed in a way that the next one may not."""


@dataclass(frozen=True)
class _Note:
    """The origin of a partial file, kept beside it to resume only the very same bytes.

    Attributes:
        url: the address of the file.
        validator: strong ETag or Last-Modified of the response, for ``If-Range``.
    """

    url: str
    validator: str


def download(url: str, destination: Path, *, progress: Progress | None = None) -> None:
    """Download one file.

    The bytes grow in ``<destination>.part``, with a note of their origin in ``<destination>.part.json``. A later call
    continues there with a range request (RFC 9110, sections 13.1.5 and 14) if the server's validator is unchanged,
    and starts afresh otherwise.

    Args:
        url: ``http`` or ``https``.
        destination: the finished file; its folder must exist.
        progress: called with the bytes received and the total.

    Raises:
        NotFoundError: the server says 404 or 410.
        DownloadError: any other refusal, or every attempt was cut.
        OSError: the disk refuses.
    """
    part = destination.with_name(destination.name + ".part")
    note = destination.with_name(destination.name + ".part.json")
    for wait in (*RETRY_WAITS, None):
        try:
            _attempt(url, part, note, progress)
            break
        except _TransientError as err:
            if wait is None:
                kept = part.stat().st_size if note.exists() and part.exists() else 0
                later = f"; {kept} bytes are kept and the next run resumes there" if kept else ""
                raise DownloadError(f"{err} (attempt {len(RETRY_WAITS) + 1}){later}") from err
            time.sleep(wait)
    replace_atomically(part, destination)
    note.unlink(missing_ok=True)


def _attempt(url: str, part: Path, note: Path, progress: Progress | None) -> None:
    import requests  # slow to load, and most uses of the cache download nothing

    offset, validator = _resumable(url, part, note)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"sarhub-models/{__version__}"}
    if validator is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _check_status(response, part)
            if response.status_code == HTTPStatus.PARTIAL_CONTENT:
                _check_range(response, offset, part)
            else:
                offset = 0
                part.unlink(missing_ok=True)
                _write_note(url, response, note)
            _receive(response, offset, part, progress)
    except (
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidURL,
    ) as err:
        raise DownloadError(f"not a web address: {err}") from err
    except requests.RequestException as err:
        raise _TransientError(f"connection failed: {err}") from err


def _resumable(url: str, part: Path, note: Path) -> tuple[int, str | None]:
    try:
        known = _Note(**json.loads(note.read_text(encoding="utf-8")))
        offset = part.stat().st_size
    except (FileNotFoundError, ValueError, TypeError):
        return 0, None
    return (offset, known.validator) if known.url == url and offset > 0 else (0, None)


def _write_note(url: str, response: requests.Response, note: Path) -> None:
    validator = response.headers.get("ETag", "")
    if not validator or validator.startswith("W/"):  # a weak validator does not promise the same bytes
        validator = response.headers.get("Last-Modified", "")
    if validator and _is_plain(response):
        write_text(note, json.dumps(asdict(_Note(url, validator))))
    else:
        note.unlink(missing_ok=True)


def _is_plain(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity") == "identity"


def _check_status(response: requests.Response, part: Path) -> None:
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        raise _TransientError(f"{status}: the partial file did not fit and was dropped")
    if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise NotFoundError(status)
    if response.status_code in _TRANSIENT:
        raise _TransientError(status)
    if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadError(status)


def _check_range(response: requests.Response, offset: int, part: Path) -> None:
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    if match is None or int(match[1]) != offset:
        part.unlink(missing_ok=True)
        raise _TransientError(f"asked for the bytes from {offset} on, the server sent {content_range!r}")


def _receive(response: requests.Response, offset: int, part: Path, progress: Progress | None) -> None:
    length = response.headers.get("Content-Length", "")
    total = offset + int(length) if length.isdigit() and _is_plain(response) else None
    done = offset
    with part.open("ab") as file:
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    if total is not None and done != total:
        raise _TransientError(f"expected {total} bytes, received {done}")
