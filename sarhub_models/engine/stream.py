"""The bytes of a file in a folder or on a web server; a connection that breaks is taken up again where it broke."""

from __future__ import annotations

import io
import re
import time
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, cast

import requests
import urllib3

from .. import __version__
from ..errors import DataError, DownloadError, IntegrityError, NotFoundError, OfflineError
from ..weights.http import RETRY_WAITS, TIMEOUT
from ..weights.hub import offline

_CHUNK = 64 * 1024  # what a cut connection loses at most
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
MEND = "delete it and give the same training.pack command again, which packs what is missing"


def is_web(location: str) -> bool:
    """Whether a location is a web address, and not a folder."""
    return location.lower().startswith(("http://", "https://"))


def address(location: str, name: str) -> str:
    """Return the path or URL of a file."""
    return f"{location.rstrip('/')}/{name}" if is_web(location) else str(Path(location).expanduser() / name)


def check_size(location: str, name: str, size: int) -> None:
    """Check that a file of a folder is there and as long as it should be.

    Raises:
        DataError: it is missing, or has another size.
    """
    file = Path(address(location, name))
    if not file.is_file():
        raise DataError(f"{file} is missing; the same training.pack command packs what is missing")
    if (found := file.stat().st_size) != size:
        raise DataError(f"{file} is damaged: expected {size} bytes, found {found}; {MEND}")


def open_bytes(location: str, name: str, size: int | None = None) -> BinaryIO:
    """Open a file for reading from its start to its end.

    Args:
        location: folder or URL.
        name: of the file in it.
        size: bytes it must have; ``None`` takes what is there.

    Raises:
        DataError: a file of a folder is missing, or has another size.
        OfflineError: it lies on the web, and the network must not be used.

    Reading from the web raises :class:`~sarhub_models.errors.DownloadError` as :class:`WebFile` says.
    """
    if not is_web(location):
        if size is not None:
            check_size(location, name, size)
        return Path(address(location, name)).open("rb")
    if offline():
        raise OfflineError(
            f"{address(location, name)} needs the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids; "
            "copy the shards to this machine and give their folder: data.shards=FOLDER"
        )
    return cast(BinaryIO, io.BufferedReader(WebFile(address(location, name), size), _CHUNK))


class WebFile(io.RawIOBase):
    """A file on a web server, read once from its start to its end.

    Args:
        url: ``http`` or ``https``.
        size: bytes it must have; ``None`` takes what the server says.

    Reading raises:
        NotFoundError: the server says 404 or 410.
        IntegrityError: the file has another size.
        DownloadError: any other refusal, or four attempts in a row brought no byte.
    """

    def __init__(self, url: str, size: int | None = None) -> None:
        super().__init__()
        self.url, self.size, self.position = url, size, 0
        self._response: requests.Response | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some bytes; 0 at the end."""
        data = b"" if self.position == self.size else self._read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._hang_up()
        super().close()

    def _read(self, count: int) -> bytes:
        for wait in (*RETRY_WAITS, None):
            try:
                if self._response is None:
                    self._response = self._request()
                data = cast(bytes, self._response.raw.read(count))
                if not data and self.size is not None:
                    raise requests.ConnectionError(f"it ended after {self.position} of {self.size} bytes")
                break
            except (requests.RequestException, urllib3.exceptions.HTTPError) as err:
                self._hang_up()
                if wait is None:
                    raise DownloadError(
                        f"{self.url}: the connection failed {len(RETRY_WAITS) + 1} times in a row at byte "
                        f"{self.position} ({err}); when the server answers again, the same command goes on"
                    ) from err
                time.sleep(wait)
        return data

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _request(self) -> requests.Response:
        headers = {"Accept-Encoding": "identity", "User-Agent": f"sarhub-models/{__version__}"}
        if self.position:
            headers["Range"] = f"bytes={self.position}-"
        response = requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT)
        try:
            self._check(response)
            if response.status_code == HTTPStatus.OK:  # also from servers that know no ranges
                self._drop(response, self.position)
        except BaseException:
            response.close()
            raise
        return response

    def _check(self, response: requests.Response) -> None:
        status = f"{self.url}: HTTP {response.status_code} {response.reason}"
        if response.status_code in _TRANSIENT:
            raise requests.HTTPError(status)
        if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise NotFoundError(status)
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise DownloadError(status)
        start, total = _span(response)
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and start != self.position:
            raise DownloadError(f"{self.url}: asked for the bytes from {self.position} on, got them from {start} on")
        if self.size is None:
            self.size = total
        elif total not in (None, self.size):
            raise IntegrityError(
                f"{self.url} has {total} bytes where {self.size} were expected; was it packed anew? Start again then"
            )

    def _drop(self, response: requests.Response, count: int) -> None:
        while count:
            data = response.raw.read(min(count, _CHUNK))
            if not data:
                raise requests.ConnectionError("it ended before the byte reached before")
            count -= len(data)


def _span(response: requests.Response) -> tuple[int, int | None]:
    """Return the first byte of a response and the size of the whole file, where the server says it."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None
