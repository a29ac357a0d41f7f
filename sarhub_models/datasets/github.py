"""Files of a public GitHub repository at a pinned commit, each verified by its git blob id.

The listing of the commit's tree is the authority on what a file's bytes must hash to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import DownloadError, IntegrityError, OfflineError
from ..io.files import digests, replace_atomically
from ..weights.http import download
from ..weights.hub import offline

__all__ = ["Blob", "fetch_blob", "is_there", "list_tree", "raw_url", "require_network", "tree_url"]


@dataclass(frozen=True)
class Blob:
    """The identity of one file in git.

    Attributes:
        id: SHA-1 over ``b"blob <size>\\0"`` and the bytes.
        size: bytes.
    """

    id: str
    size: int


def tree_url(repository: str, commit: str) -> str:
    """Return the address of a commit's whole tree, as GitHub's API gives it."""
    return f"https://api.github.com/repos/{repository}/git/trees/{commit}?recursive=1"


def raw_url(repository: str, commit: str) -> str:
    """Return the address below which a commit's files lie."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}"


def require_network(what: str) -> None:
    """Raise :class:`OfflineError` if ``SARHUB_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network."""
    if offline():
        raise OfflineError(f"fetching {what} needs the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids")


def list_tree(url: str, scratch: Path) -> dict[str, Blob]:
    """Return the files of a commit by their path in the repository.

    Args:
        url: the tree, as :func:`tree_url` gives it.
        scratch: file to receive the listing; its folder must exist, and the file is deleted.

    Raises:
        DownloadError: the listing could not be fetched.
        IntegrityError: it is not a listing, or not a whole one.
    """
    _download(url, scratch)
    try:
        listing = json.loads(scratch.read_bytes())
        entries = [entry for entry in listing["tree"] if entry["type"] == "blob"]
        truncated = listing["truncated"]
        blobs = {str(entry["path"]): Blob(str(entry["sha"]), int(entry["size"])) for entry in entries}
    except (ValueError, KeyError, TypeError) as err:
        raise IntegrityError(f"{url} is not a listing of a git tree ({err}); try again later") from err
    finally:
        scratch.unlink()
    if truncated:
        raise IntegrityError(f"{url} lists only a part of the repository; try again later")
    return blobs


def is_there(path: Path, blob: Blob) -> bool:
    """Return whether a file has the bytes that git knows."""
    return path.is_file() and path.stat().st_size == blob.size and digests(path).git_blob == blob.id


def fetch_blob(base_url: str, path: str, blob: Blob, target: Path) -> None:
    """Put one file of the repository on the disk, unless it is there already.

    The bytes grow in hidden files beside the target, where a later call continues; the target appears whole and
    verified or not at all.

    Args:
        base_url: what :func:`raw_url` gives.
        path: the file's path in the repository.
        blob: what its bytes must hash to.
        target: where to put it; the folder is created.

    Raises:
        DownloadError: the file could not be fetched.
        IntegrityError: other bytes arrived; they are deleted.
    """
    if is_there(target, blob):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    arrived = target.with_name(f".{target.name}.download")
    url = f"{base_url}/{quote(path)}"
    _download(url, arrived)
    if not is_there(arrived, blob):
        found = digests(arrived).git_blob
        arrived.unlink()
        raise IntegrityError(f"{url}: expected git blob {blob.id} of {blob.size} bytes, got {found}; try again later")
    replace_atomically(arrived, target)


def _download(url: str, destination: Path) -> None:
    try:
        download(url, destination)
    except DownloadError as err:
        raise type(err)(f"{url}: {err}") from err
