"""One file over HTTP, resumed where it was cut."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from .._version import __version__
from ..errors import DownloadError, NotFoundError, SarHubError
from ..io.files import no_links, replace_atomically, write_text
from ..io.progress import Progress

if TYPE_CHECKING:
    import requests

__all__ = ["download", "reason", "without_credentials"]

_log = logging.getLogger(__name__)

RETRY_WAITS = (0.5, 1.0, 2.0)  # seconds before the second, third and fourth attempt
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two reads
PATIENCE, SLOWEST = 20.0, 1000.0  # seconds over which a server must send so many bytes a second
_CHUNK = 1 << 20  # bytes that are read at once at most
_COUNT = re.compile(r"[0-9]{1,18}")  # a number of bytes that 64 bits hold
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class _TransientError(Exception):
    """An attempt failed in a way that the next one may not."""


@dataclass(frozen=True)
class _Note:
    """The origin of a partial file, kept beside it to resume only the very same bytes.

    Attributes:
        url: SHA-256 of the address of the file.
        validator: strong ETag or Last-Modified of the response, for ``If-Range``.
        total: length of the whole file in bytes, or ``None`` where the server did not say.
    """

    url: str
    validator: str
    total: int | None


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
    for attempt, wait in enumerate((*RETRY_WAITS, None)):
        try:
            _attempt(url, part, note, progress)
            break
        except _TransientError as err:
            if wait is None:
                kept = part.stat().st_size if note.exists() and part.exists() else 0
                later = f"; {kept} bytes are kept and the next run resumes there" if kept else ""
                raise DownloadError(f"{err} (attempt {len(RETRY_WAITS) + 1}){later}") from err
            if attempt == 0:  # one line, however many attempts follow
                _log.warning("%s: %s; trying again", without_credentials(url), err)
            time.sleep(wait)
    replace_atomically(part, destination)
    note.unlink(missing_ok=True)


def _attempt(url: str, part: Path, note: Path, progress: Progress | None) -> None:
    import requests  # slow to load, and most uses of the cache download nothing
    import urllib3

    known, offset = _resumable(url, part, note)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"sarhub-models/{__version__}"}
    if known is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": known.validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _check_status(response, part)
            if response.status_code == HTTPStatus.PARTIAL_CONTENT:
                total = _check_range(response, offset, known, part)
            else:
                offset, total = 0, _length(response)
                part.unlink(missing_ok=True)
                _write_note(url, response, total, note)
            _receive(response, offset, total, part, progress)
    except (
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidURL,
    ) as err:
        raise DownloadError("not a web address: expected http:// or https://") from err
    except (requests.RequestException, urllib3.exceptions.HTTPError) as err:
        raise _TransientError(f"connection failed: {reason(err)}") from err
    except (ValueError, UnicodeError) as err:  # what the client makes of a hostile header
        if isinstance(err, SarHubError):
            raise
        raise DownloadError(f"the answer of the server cannot be understood ({err})") from err


def reason(err: BaseException) -> str:
    """Return the innermost cause of a failed connection, in a few words and without the address."""
    seen = {id(err)}
    while True:
        inner = next(
            (
                e
                for e in (err.__cause__, err.__context__, *err.args)
                if isinstance(e, BaseException) and id(e) not in seen
            ),
            getattr(err, "reason", None),
        )
        if not isinstance(inner, BaseException) or id(inner) in seen:
            break
        seen.add(id(inner))
        err = inner
    if "timeout" in type(err).__name__.lower():
        return "timed out"
    text = err.strerror if isinstance(err, OSError) and err.strerror else str(err) or type(err).__name__
    return re.sub(r"<[^>]*>[:,]? ?|https?://\S+", "", text).strip()


def without_credentials(url: str) -> str:
    """Return an address without user name, password and query, for messages and metadata; a query may be a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition(":")[0]
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, "…" if parts.query else "", ""))


def _resumable(url: str, part: Path, note: Path) -> tuple[_Note | None, int]:
    try:
        known = _Note(**json.loads(note.read_text(encoding="utf-8")))
        offset = part.lstat().st_size
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return None, 0
    fits = known.url == _fingerprint(url) and isinstance(known.validator, str) and known.validator.isprintable()
    return (known, offset) if fits and offset > 0 else (None, 0)


def _fingerprint(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()  # an address may hold a password or a token


def _write_note(url: str, response: requests.Response, total: int | None, note: Path) -> None:
    validator = response.headers.get("ETag", "")
    if not validator or validator.startswith("W/"):  # a weak validator does not promise the same bytes
        validator = response.headers.get("Last-Modified", "")
    if validator:
        write_text(note, json.dumps(asdict(_Note(_fingerprint(url), validator, total))))
    else:
        note.unlink(missing_ok=True)


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
    if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise DownloadError(f"the server sent the file compressed ({coding}), which was not asked for")


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if _COUNT.fullmatch(text) else None


def _check_range(response: requests.Response, offset: int, known: _Note | None, part: Path) -> int | None:
    """Return the length of the whole file that a partial answer belongs to.

    The answer must be of the version that the partial file is of (RFC 9110, section 15.3.7): the validator that it
    was asked for is that of the answer, and so is the length.
    """
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", content_range)
    total = int(match[2]) if match is not None and match[2] != "*" else None
    if known is None or match is None or int(match[1]) != offset:
        part.unlink(missing_ok=True)
        raise _TransientError(f"asked for the bytes from {offset} on, the server sent {content_range!r}")
    validators = [response.headers[name] for name in ("ETag", "Last-Modified") if name in response.headers]
    if (validators and known.validator not in validators) or (
        None not in (total, known.total) and total != known.total
    ):
        part.unlink(missing_ok=True)
        raise _TransientError("the file changed on the server: the partial file was dropped")
    return total if total is not None else known.total


def _receive(
    response: requests.Response, offset: int, total: int | None, part: Path, progress: Progress | None
) -> None:
    done, window, since = offset, 0, time.monotonic()
    try:
        with open(part, "ab", buffering=0, opener=no_links) as file:
            # Whatever has arrived, at once: a read of a fixed size would wait for a slow server's last byte of it.
            while chunk := response.raw.read1(_CHUNK):
                _write_all(file, chunk)
                done, window = done + len(chunk), window + len(chunk)
                if progress is not None:
                    progress(done, total)
                if (elapsed := time.monotonic() - since) > PATIENCE:
                    if window < SLOWEST * elapsed and done != total:
                        raise _TransientError(f"the server sent {window} bytes in {elapsed:.0f} s, which is too slow")
                    window, since = 0, time.monotonic()
    except OSError as err:
        if err.filename is None and err.errno is not None and not isinstance(err, SarHubError):
            err.filename = str(part)
        raise
    if total is not None and done != total:
        raise _TransientError(f"expected {total} bytes, received {done}")


def _write_all(file: io.RawIOBase, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
