"""Sources of released files: one class for each kind of place, one interface.

A new kind is one subclass of :class:`Source` under :func:`register`. The fields of the class are the fields of the
manifest's source object beside its ``"type"``.
"""

from __future__ import annotations

import abc
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..errors import DownloadError, ManifestError, NotFoundError
from ..io.files import check_name, no_links, open_file, replace_atomically
from ..io.progress import Progress
from . import drive, http
from .hub import hub_file

__all__ = [
    "KINDS",
    "Bundled",
    "GoogleDrive",
    "GoogleDriveFile",
    "Http",
    "HuggingFace",
    "Manual",
    "Mirror",
    "Source",
    "register",
    "source_from",
]

BUNDLED = Path(__file__).resolve().parents[1] / "bundled"
_CHUNK = 1 << 20


class Source(abc.ABC):
    """A place that offers one released file.

    Attributes:
        kind: the ``"type"`` in the manifest.
        trusted_origin: whether the user named this place and so believes what its converted files say of their origin.
    """

    kind: ClassVar[str]
    trusted_origin: ClassVar[bool] = False

    @abc.abstractmethod
    def __str__(self) -> str:
        """Name the place for a message."""

    def page(self) -> str:
        """Return the address that shows the file in a browser; empty where there is none."""
        return ""

    def text(self) -> str:
        """Return the place in words, for ``sarhub info``."""
        return self.page()

    @abc.abstractmethod
    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """Put the released file at ``destination``.

        What an interrupted call leaves beside ``destination`` may be used by the next one to resume; the name
        ``destination`` itself never stands for a part of the file.

        Args:
            destination: the file to write; its folder exists and belongs to this download alone.
            progress: called with the bytes at hand and the total.

        Raises:
            DownloadError: the place cannot deliver; the message gives the reason.
            OSError: the local disk refuses.
        """

    def needs_network(self) -> bool:
        """Tell whether :meth:`fetch` must not be called offline."""
        return True

    def in_place(self) -> Path | None:
        """Return a verified safetensors file that needs no fetching, or ``None``."""
        return None


KINDS: dict[str, type[Source]] = {}
"""The kinds of source that a manifest may name, by its ``"type"``."""


def register(cls: type[Source]) -> type[Source]:
    """Make a class of sources known to :func:`source_from` under its ``kind``."""
    KINDS[cls.kind] = cls
    return cls


@register
@dataclass(frozen=True)
class Http(Source):
    """A plain web address, resumed with range requests."""

    kind: ClassVar[str] = "http"
    url: str

    def __str__(self) -> str:
        return http.without_credentials(self.url)

    def page(self) -> str:
        """See :meth:`Source.page`."""
        return http.without_credentials(self.url)

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`."""
        http.download(self.url, destination, progress=progress)


@register
@dataclass(frozen=True)
class GoogleDrive(Source):
    """The one file of a shared Google Drive folder whose name holds all the words of ``match``.

    Attributes:
        folder: id of the folder.
        match: words to find in the file's name; case, ``-``, ``_`` and spaces do not count.
    """

    kind: ClassVar[str] = "google_drive"
    folder: str
    match: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.match, str) or not self.match:
            raise ManifestError(f"'match' of a Google Drive source must be a list of words, found {self.match!r}")

    def __str__(self) -> str:
        return f"Google Drive folder {self.folder}"

    def page(self) -> str:
        """See :meth:`Source.page`."""
        return f"https://drive.google.com/drive/folders/{self.folder}"

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`."""
        drive.download(self._choose(drive.listing(self.folder)), destination, progress=progress)

    def _choose(self, listing: Mapping[str, str]) -> str:
        words = [_fold(word) for word in self.match]
        matches = [path for path in listing if all(word in _fold(path) for word in words)]
        if len(matches) != 1:
            found = "several files match" if matches else "no file matches"
            raise DownloadError(
                f"{found} the words {', '.join(map(repr, self.match))}; "
                f"the folder holds: {', '.join(sorted(listing)) or 'nothing'}"
            )
        return listing[matches[0]]


def _fold(text: str) -> str:
    return re.sub(r"[-_\s]", "", text.lower())


@register
@dataclass(frozen=True)
class GoogleDriveFile(Source):
    """One shared file on Google Drive.

    Attributes:
        file: its id.
    """

    kind: ClassVar[str] = "google_drive_file"
    file: str

    def __post_init__(self) -> None:
        check_name(self.file)

    def __str__(self) -> str:
        return f"Google Drive file {self.file}"

    def page(self) -> str:
        """See :meth:`Source.page`."""
        return f"https://drive.google.com/file/d/{self.file}/view"

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`."""
        drive.download(self.file, destination, progress=progress)


@register
@dataclass(frozen=True)
class HuggingFace(Source):
    """A file of a repository on the Hugging Face Hub.

    Attributes:
        repo: ``"organization/name"``.
        revision: branch, tag or commit.
        filename: path within the repository.
    """

    kind: ClassVar[str] = "hf"
    repo: str
    revision: str
    filename: str

    def __post_init__(self) -> None:
        for part in self.filename.split("/"):
            check_name(part)

    def __str__(self) -> str:
        return f"Hugging Face {self.repo}/{self.filename}"

    def page(self) -> str:
        """See :meth:`Source.page`."""
        return f"https://huggingface.co/{self.repo}/tree/{self.revision}"

    def text(self) -> str:
        """See :meth:`Source.text`."""
        return f"https://huggingface.co/{self.repo} ({self.filename})"

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`. The client draws a bar of its own: not every version of it takes a callback."""
        folder = destination.with_name("hub")
        path = hub_file(self.repo, self.filename, revision=self.revision, folder=folder, progress=progress is not None)
        replace_atomically(path, destination)
        shutil.rmtree(folder)


@dataclass(frozen=True)  # not registered: users name theirs, the manifest does not
class Mirror(Source):
    """A folder or web address with ``<model name>.safetensors`` or ``<model name>.pth``, set with ``SARHUB_MIRROR``.

    The first is a converted file, as a cache of this package holds it, so a copied cache is a mirror; the second is
    the released one.
    """

    kind: ClassVar[str] = "mirror"
    trusted_origin: ClassVar[bool] = True
    location: str
    name: str

    def __str__(self) -> str:
        return f"mirror {http.without_credentials(self.location) if self.needs_network() else self.location}"

    def needs_network(self) -> bool:
        """See :meth:`Source.needs_network`: a folder does not."""
        return self.location.lower().startswith(("http://", "https://"))

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`."""
        names = [f"{check_name(self.name)}{suffix}" for suffix in (".safetensors", ".pth")]
        for name in names:
            if self.needs_network():
                try:
                    http.download(self._address(name), destination, progress=progress)
                except NotFoundError:
                    continue
                return
            path = Path(self.location).expanduser() / name
            if path.is_file():
                _copy(path, destination, progress)
                return
        raise DownloadError(f"it has neither {' nor '.join(names)}")

    def _address(self, name: str) -> str:
        """Return the address of a file; what a query says of the place, a token for instance, stays behind it."""
        parts = urlsplit(self.location)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl()


def _copy(path: Path, destination: Path, progress: Progress | None) -> None:
    part = destination.with_name(destination.name + ".copy")
    try:
        source = open_file(path)
    except OSError as err:
        raise DownloadError(f"{path} cannot be read: {err.strerror}") from err
    part.unlink(missing_ok=True)
    with source, open(part, "wb", opener=no_links) as target:
        total = os.fstat(source.fileno()).st_size
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            if progress is not None:
                progress(target.tell(), total)
    replace_atomically(part, destination)


@register
@dataclass(frozen=True)
class Bundled(Source):
    """A safetensors file that is installed with the package and used where it lies.

    Attributes:
        file: its name in the package's folder ``bundled``.
    """

    kind: ClassVar[str] = "bundled"
    file: str

    def __post_init__(self) -> None:
        check_name(self.file)

    def __str__(self) -> str:
        return f"bundled file {self.file}"

    def text(self) -> str:
        """See :meth:`Source.text`."""
        return f"{self.file}, installed with the package"

    def needs_network(self) -> bool:
        """See :meth:`Source.needs_network`: it does not."""
        return False

    def in_place(self) -> Path | None:
        """See :meth:`Source.in_place`."""
        path = BUNDLED / self.file
        return path if path.is_file() else None

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`. Called only where the file is missing."""
        raise DownloadError(f"{BUNDLED / self.file} is missing from the installation; reinstall sarhub-models")


@register
@dataclass(frozen=True)
class Manual(Source):
    """A place that no program may fetch from.

    Attributes:
        url: the page to open in a browser.
        code: the extraction code it asks for.
    """

    kind: ClassVar[str] = "manual"
    url: str
    code: str

    def __str__(self) -> str:
        return "by hand"

    def page(self) -> str:
        """See :meth:`Source.page`."""
        return self.url

    def text(self) -> str:
        """See :meth:`Source.text`."""
        return f"in a browser: {self.url} (code {self.code}), then 'sarhub import FILE'"

    def needs_network(self) -> bool:
        """See :meth:`Source.needs_network`: telling the user how needs none."""
        return False

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`. Always raises, telling the user what to do."""
        raise DownloadError(
            f"open {self.url} (extraction code {self.code}) in a browser, download the file, "
            "then run 'sarhub import FILE'"
        )


def source_from(entry: Mapping[str, Any]) -> Source:
    """Build the source that a manifest's object describes.

    Args:
        entry: ``{"type": ..., **fields of the class}``.

    Raises:
        ManifestError: the type is unknown, a field is missing or unknown, or a file name is unsafe.
    """
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list | tuple) else v for key, v in entry.items()}
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ManifestError(f"unknown type of source {kind!r}; expected one of {', '.join(sorted(KINDS))}")
    try:
        for one in getattr(KINDS[kind], "__dataclass_fields__", {}).values():
            texts = fields.get(one.name, "") if "tuple" in str(one.type) else (fields.get(one.name, ""),)
            if "str" in str(one.type) and not all(isinstance(text, str) for text in texts):
                raise TypeError(f"{one.name} must be text, found {texts!r}")
        return KINDS[kind](**fields)
    except TypeError as err:
        raise ManifestError(f"source of type {kind!r}: {err}") from err
