"""Fetch the DSN-SLC patches from their public repository: one archive, every file verified, then packed."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ....errors import IntegrityError, UnknownNameError, closest
from ....io.files import replacing
from ....weights.http import download
from ...github import Blob, is_there, list_tree, require_network, tree_url
from ...lists import AnyPath
from .reader import PARTS, pack_folder

__all__ = ["ARCHIVE_URL", "COMMIT", "LISTING_URL", "download_dsn"]

COMMIT = "d4923ebf76d54a470ce4f030276fd1bdce782507"
LISTING_URL = tree_url("Alien9427/DSN", COMMIT)
ARCHIVE_URL = f"https://codeload.github.com/Alien9427/DSN/tar.gz/{COMMIT}"

_LARGEST_FILE = 1 << 20  # a patch has 32 KiB; an entry far above it is not one
_PATCH = re.compile(r"(?P<folder>data/[A-Za-z_]+)/(?P<class>[A-Za-z][A-Za-z ]*)/(?P<stem>[A-Za-z][\w ]*)\.npy")


def download_dsn(
    root: AnyPath,
    *,
    parts: Sequence[str] = tuple(PARTS),
    progress: Callable[[int, int | None], None] | None = None,
    listing_url: str = LISTING_URL,
    archive_url: str = ARCHIVE_URL,
) -> list[Path]:
    """Download the patches of some parts and pack them for :func:`.dsn.reader.load_dsn`.

    The listing of the pinned commit gives the git blob id of every file. The repository's archive comes in one
    download, which a later call continues if it was cut; only the patches are taken out of it, each is verified and
    then renamed into place below ``<root>/data``. Patches already there with the right bytes are kept, and if none is
    missing no archive is downloaded. The packed files are ``<root>/<part>.npz``; ``<root>/data`` may then be deleted.

    Args:
        root: folder for the files; it is created.
        parts: which parts.
        progress: called with the bytes of the archive received and their total, where the server tells it.
        listing_url: the commit's tree as GitHub's API gives it.
        archive_url: the commit as a ``.tar.gz`` with one folder at the top.

    Returns:
        The packed files, in the order of ``parts``.

    Raises:
        UnknownNameError: there is no such part.
        OfflineError: ``SARHUB_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network.
        DownloadError: the listing or the archive could not be fetched.
        IntegrityError: the listing is not usable, or a file is missing from the archive or differs from the listing.
        DataError: a verified patch is not one this reader knows how to pack.
    """
    for part in parts:
        if part not in PARTS:
            raise UnknownNameError(f"no part is called {part!r}{closest(part, PARTS)}; known: {', '.join(PARTS)}")
    require_network("DSN-SLC")
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    wanted = _list_patches(root, listing_url, {PARTS[part].folder for part in parts})
    missing = {path: blob for path, blob in wanted.items() if not is_there(root / path, blob)}
    if missing:
        archive = root / f"DSN-{COMMIT}.tar.gz"
        if not archive.exists():
            download(archive_url, archive, progress=progress)
        _extract(archive, root, missing)
        archive.unlink()
    return [pack_folder(root / PARTS[part].folder, root / f"{part}.npz", part) for part in parts]


def _list_patches(root: Path, url: str, folders: set[str]) -> dict[str, Blob]:
    """Return the patches of these folders, by path in the repository."""
    blobs = list_tree(url, root / f"DSN-{COMMIT}.json")
    matches = {path: _PATCH.fullmatch(path) for path in blobs}
    patches = {path: blobs[path] for path, match in matches.items() if match and match["folder"] in folders}
    if absent := folders - {match["folder"] for match in matches.values() if match}:
        raise IntegrityError(f"{url} lists no patches in {', '.join(sorted(absent))}")
    if large := [path for path, blob in patches.items() if blob.size > _LARGEST_FILE]:
        raise IntegrityError(f"{url} lists files too large to be patches: {', '.join(large[:3])}")
    return patches


def _extract(archive: Path, root: Path, missing: dict[str, Blob]) -> None:
    """Write the missing files from the archive; only paths of the listing are ever written.

    An archive that does not hold them is deleted, so that the next call fetches it afresh.
    """
    left = dict(missing)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = member.name.partition("/")[2]  # the archive's one top folder is not in the listing
                blob = left.get(path)
                if blob is not None and member.isfile() and member.size == blob.size:
                    stream = tar.extractfile(member)
                    assert stream is not None  # a regular file
                    _write_verified(root / path, stream.read(), blob)
                    del left[path]
    except (tarfile.TarError, EOFError, zlib.error, IntegrityError) as err:
        archive.unlink()
        raise IntegrityError(f"the archive of DSN-SLC is damaged ({err}); run the download again") from err
    if left:
        archive.unlink()
        raise IntegrityError(
            f"the archive of DSN-SLC lacks {len(left)} listed files, {min(left)} first; try again later"
        )


def _write_verified(path: Path, content: bytes, blob: Blob) -> None:
    found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if found != blob.id:
        raise IntegrityError(f"{path.name}: expected git blob {blob.id}, got {found}")
    with replacing(path) as partial:
        partial.write_bytes(content)
