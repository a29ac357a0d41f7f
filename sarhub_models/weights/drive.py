"""Shared files and folders of Google Drive, through gdown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DownloadError
from ..io.files import check_name, replace_atomically
from ..io.progress import Progress
from . import http

__all__ = ["download", "listing"]


def listing(folder: str) -> dict[str, str]:
    """Return the ids of the files of a shared folder by their paths.

    Args:
        folder: its id.

    Raises:
        DownloadError: Drive does not answer, or there is no such folder.
    """
    import gdown

    with _errors():
        files = gdown.download_folder(
            id=folder, skip_download=True, quiet=True, use_cookies=False, timeout=http.TIMEOUT
        )
        return {file.path: file.id for file in files}


def download(file: str, destination: Path, *, progress: Progress | None = None) -> None:
    """Download one shared file, or go on where an interrupted call stopped.

    Args:
        file: its id.
        destination: the finished file; gdown keeps what it has of it in ``drive-<id>????????.part`` beside it.
        progress: called with the bytes at hand and the total.

    Raises:
        DownloadError: Drive does not answer, or does not give the file away.
        OSError: the local disk refuses.
    """
    output = destination.with_name(f"drive-{check_name(file)}")

    def partial() -> dict[Path, int]:
        return {path: path.stat().st_size for path in output.parent.glob(f"{output.name}*.part")}

    import gdown

    before = partial()
    with _errors():
        try:
            _fetch(file, output, progress)
        except gdown.exceptions.FileURLRetrievalError:  # private, removed, or over Drive's quota: nothing was sent
            raise
        except gdown.exceptions.DownloadError:
            if not before or partial() != before:
                raise
            for path in before:  # what is there cannot be continued, for instance because the file changed
                path.unlink()
            _fetch(file, output, progress)
    replace_atomically(output, destination)


def _fetch(file: str, output: Path, progress: Progress | None) -> None:
    import gdown

    gdown.download(
        id=file,
        output=str(output),
        quiet=True,
        use_cookies=False,
        resume=True,
        progress=progress,
        timeout=http.TIMEOUT,
        retries=len(http.RETRY_WAITS),
    )


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what the client raises into the error of sources."""
    import gdown
    import requests

    try:
        yield
    except requests.RequestException as err:
        raise DownloadError(f"connection failed: {http.reason(err)}") from err
    except gdown.exceptions.DownloadError as err:
        raise DownloadError(" ".join(str(err).split())) from err
