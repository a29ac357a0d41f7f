"""Images in .zip archives, read where they lie.

A member has the path ``ARCHIVE.zip/path/in/it``, as if the archive were a folder. A data set keeps nothing but such
paths; the process that reads opens the archive. No more is unpacked of a member than is asked for.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import DataError, ImageError
from .lists import AnyPath

__all__ = ["find_files", "list_members", "open_member"]

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
# RuntimeError: NotImplementedError of zipfile for its other methods
_FAULTS = (OSError, EOFError, RuntimeError, ValueError, zlib.error, zipfile.BadZipFile)


def find_files(root: Path, wanted: re.Pattern[str]) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the files of a name, the .zip and the .tar(.gz) archives below a folder, each sorted, without hidden ones.

    Args:
        root: the folder.
        wanted: pattern of the whole name of a file.
    """
    found = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    found = sorted(file for file in found if file.is_file())
    chosen = [file for file in found if wanted.fullmatch(file.name)]
    archives = [file for file in found if file.name.lower().endswith(_ARCHIVES)]
    zips = [file for file in archives if file.suffix.lower() == ".zip"]
    return chosen, zips, [file for file in archives if file not in zips]


def list_members(archive: Path, wanted: re.Pattern[str]) -> tuple[list[Path], list[str]]:
    """Return the paths of the members of a name in a .zip archive, sorted, and the names of archives in it.

    Args:
        archive: the archive.
        wanted: pattern of the whole name of a member, without its folder.

    Raises:
        DataError: the archive is damaged or cut off, or two of these members have one path.
    """
    try:
        _, members, twice = _open(archive)
        chosen = sorted(name for name in members if wanted.fullmatch(PurePosixPath(name).name))
        if doubled := [name for name in chosen if name in twice]:
            raise zipfile.BadZipFile(f"two members are called {doubled[0]!r}")
    except _FAULTS as err:
        raise DataError(f"{archive}: damaged or cut off ({err}); fetch it again") from err
    return [archive / name for name in chosen], [name for name in members if name.lower().endswith(_ARCHIVES)]


@contextmanager
def open_member(path: AnyPath) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file, or a member of a .zip archive, and name it in the errors of the block.

    Yields:
        The stream, and the size in bytes; that of a member is what the archive says.

    Raises:
        ImageError: it cannot be opened or read.
    """
    path = Path(path)
    archive = next((place for place in path.parents if place.suffix.lower() == ".zip" and place.is_file()), None)
    try:
        if archive is None:
            with path.open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
            return
        opened, members, _ = _open(archive)
        info = members.get(path.relative_to(archive).as_posix())
        if info is None:
            raise ImageError(f"no such member of {archive}")
        if info.flag_bits & 1:
            raise ImageError("encrypted; unpack the archive with its password, and move it elsewhere")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
            raise ImageError(f"expected a stored or deflated member, got method {info.compress_type}; unpack it")
        with opened.open(info) as member:
            yield member, info.file_size
    except ImageError as err:
        raise ImageError(f"{path}: {err}") from err
    except _FAULTS as err:
        raise ImageError(f"{path}: cannot be read ({err}); damaged, or cut off?") from err


def _open(archive: Path) -> tuple[zipfile.ZipFile, Mapping[str, zipfile.ZipInfo], Collection[str]]:
    """Return an archive, its members by name, and the names that come twice.

    It is opened once a process, and again where it has changed.
    """
    state = archive.stat()
    # a process that was forked would share its parent's position in the file
    return _opened(archive, state.st_mtime_ns, state.st_size, os.getpid())


@lru_cache(maxsize=16)
def _opened(
    archive: Path, changed: int, size: int, process: int
) -> tuple[zipfile.ZipFile, Mapping[str, zipfile.ZipInfo], Collection[str]]:
    opened = zipfile.ZipFile(archive)
    members: dict[str, zipfile.ZipInfo] = {}
    twice = set()
    for info in opened.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/").lstrip("/")).parts
        visible = parts and not info.is_dir() and not any(part.startswith(".") for part in parts)
        if visible and members.setdefault("/".join(parts), info) is not info:
            twice.add("/".join(parts))
    return opened, members, twice
