"""The cache of converted weights.

Layout of the cache (``SARHUB_CACHE``, or the platform's cache folder for ``sarhub-models``)::

    <model name>.safetensors      converted and checked: the only files that are ever loaded
    downloads/<model name>/       a download that is under way or was interrupted
    pins/<model name>.json        hash of the first download of a file whose hash nobody published
    quarantine/                   files that failed a check, kept for inspection, never used
    locks/<model name>.lock       one writer for each model

A copy of the folder is a mirror (``SARHUB_MIRROR``) for a machine without network. A file gets its final name by one
atomic rename after every check has passed, so whatever an interrupted process leaves behind is not trusted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from .._version import __version__
from ..errors import (
    CheckpointError,
    DownloadError,
    IntegrityError,
    OfflineError,
    SarHubError,
    UnknownNameError,
    closest,
)
from ..registry import Checksum, ModelInfo, load_manifest
from . import trust
from .files import check_name, digests, metadata, publish
from .hub import offline
from .progress import progress_bar
from .sources import Bundled, Mirror, Source, source_from

if TYPE_CHECKING:
    from .convert import Layout

__all__ = ["Entry", "Store", "Verification"]


@dataclass(frozen=True)
class Entry:
    """One set of weights in the cache.

    Attributes:
        name: name of the model.
        path: the safetensors file.
        size: its size in bytes.
        source: where the released file came from.
        date: when it was converted, ISO 8601, UTC.
        original_sha256: SHA-256 of the released file.
    """

    name: str
    path: Path
    size: int
    source: str
    date: str
    original_sha256: str


@dataclass(frozen=True)
class Verification:
    """The outcome of hashing one file anew.

    Attributes:
        name: name of the model.
        path: the file.
        problem: what is wrong with it and where it was put, or ``None`` if it is intact.
    """

    name: str
    path: Path
    problem: str | None

    @property
    def ok(self) -> bool:
        """Whether the file is intact."""
        return self.problem is None


class Store:
    """Weights on this disk: fetched once, checked, converted, and found again.

    Args:
        root: the cache folder; by default ``SARHUB_CACHE`` or the platform's.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if root is None:
            root = os.environ.get("SARHUB_CACHE") or _default_root()
        self.root = Path(root).expanduser()

    def path(self, info: ModelInfo, layout: Layout, *, progress: bool = True) -> Path:
        """Return the weights of a model: from the cache, from the installation, or downloaded now.

        Args:
            info: the entry of the manifest.
            layout: what its network expects of a checkpoint.
            progress: whether to draw a bar on a terminal.

        Returns:
            A safetensors file. It was checked against ``layout`` when it was converted; now only its length is.

        Raises:
            OfflineError: the network is needed and must not be used.
            IntegrityError: bytes arrived that are not the promised or the pinned ones.
            CheckpointError: the promised bytes are no checkpoint of this network.
            DownloadError: no source could deliver, or the cache cannot be written.
        """
        return self.cached(info.name) or _bundled(info) or self.download(info, layout, progress=progress)

    def cached(self, name: str) -> Path | None:
        """Return the cached file of a model if it is there and of the right length, else ``None``."""
        path = self._file(name)
        try:
            metadata(path)
        except (CheckpointError, OSError):
            return None
        return path

    def download(self, info: ModelInfo, layout: Layout, *, progress: bool = True) -> Path:
        """Fetch the weights of a model into the cache, unless they are there.

        The mirror is tried first, then the sources of the manifest in their order. One process does the work; others
        that ask for the same model wait for it. Arguments and errors are those of :meth:`path`.
        """
        failures: list[tuple[str, Exception]] = []
        with self._writing(info.name):
            if (path := self.cached(info.name)) is not None:
                return path
            if self._file(info.name).exists():
                aside = self._quarantine(self._file(info.name), info.name)
                failures.append(("cache", CheckpointError(f"the file was cut off or damaged; it was put in {aside}")))
            for source in _sources(info):
                try:
                    return self._fetch(source, info, layout, progress)
                except (DownloadError, CheckpointError) as err:  # noqa: PERF203 (each may fail for itself)
                    failures.append((str(source), err))
        raise _failure(info, failures)

    def import_file(self, path: str | os.PathLike[str], info: ModelInfo, layout: Layout) -> Path:
        """Check, convert and cache a file that the user has: a released one, or one from another cache.

        Args:
            path: the file; it is left as it is.
            info: the model that it holds.
            layout: what the network expects.

        Returns:
            The cached safetensors file; an earlier one is replaced.

        Raises:
            FileNotFoundError: there is no such file.
            IntegrityError: its hash is not the published or the pinned one.
            CheckpointError: it is no checkpoint of this network.
            DownloadError: the cache cannot be written.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
        with self._writing(info.name):
            return self._admit(file, info, layout, origin=f"imported from {file.name}", vouched=True)

    def entries(self) -> list[Entry]:
        """Return what the cache holds, sorted by name; files that are cut off are left out."""
        found = []
        for path in sorted(self.root.glob("[!.]*.safetensors")):
            name = path.name.removesuffix(".safetensors")
            if self.cached(name) is None:
                continue
            known = metadata(path)
            found.append(
                Entry(
                    name=name,
                    path=path,
                    size=path.stat().st_size,
                    source=known.get("source", "unknown"),
                    date=known.get("date", "unknown"),
                    original_sha256=known.get("original_sha256", "unknown"),
                )
            )
        return found

    def verify(self, name: str | None = None) -> list[Verification]:
        """Hash weights anew: the cached ones against their own record, the bundled ones against the manifest.

        A cached file that fails is put in quarantine, so that the next use fetches it again.

        Args:
            name: one model; ``None`` is all that are on this disk.

        Raises:
            UnknownNameError: the weights of that model are not on this disk.
        """
        cached = {path.name.removesuffix(".safetensors"): path for path in self.root.glob("[!.]*.safetensors")}
        bundled = {
            info.name: (path, info.checksum)
            for info in load_manifest().models.values()
            if (path := _in_place(info)) is not None
        }
        if name is not None and name not in cached and name not in bundled:
            raise self._not_cached(name, {*cached, *bundled})
        found = [self._verify_cached(key, path) for key, path in cached.items() if name in (None, key)]
        found += [_verify_bundled(key, *value) for key, value in bundled.items() if name in (None, key)]
        return sorted(found, key=lambda result: (result.name, result.path))

    def remove(self, name: str, *, forget_pin: bool = False) -> None:
        """Delete the cached weights of a model and what is left of its downloads.

        Args:
            name: the model.
            forget_pin: also forget the hash of its first download, so that a new release is accepted.

        Raises:
            UnknownNameError: nothing of that model is cached.
            DownloadError: the cache cannot be written.
        """
        downloads, pin = self._downloads(name), self._pin(name)
        if not (self._file(name).exists() or downloads.exists() or (forget_pin and pin.exists())):
            raise self._not_cached(name, {entry.name for entry in self.entries()})
        with self._writing(name):
            self._file(name).unlink(missing_ok=True)
            if downloads.exists():
                shutil.rmtree(downloads)
            if forget_pin:
                pin.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.root / f"{check_name(name)}.safetensors"

    def _downloads(self, name: str) -> Path:
        return self.root / "downloads" / check_name(name)

    def _pin(self, name: str) -> Path:
        return self.root / "pins" / f"{check_name(name)}.json"

    def _not_cached(self, name: str, known: set[str]) -> UnknownNameError:
        return UnknownNameError(f"no weights called {name!r} are in {self.root}{closest(name, known)}")

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Hold the model's lock; what the disk refuses becomes one error that names the cache."""
        try:
            lock = self.root / "locks" / f"{check_name(name)}.lock"
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                yield
        except OSError as err:
            if isinstance(err, SarHubError):
                raise
            raise DownloadError(
                f"cannot write the weights of {name!r} to the cache {self.root} ({err.strerror or err}): free space "
                "there, or set SARHUB_CACHE to a folder that can be written, and run "
                f"'sarhub download {name}' again"
            ) from err

    def _fetch(self, source: Source, info: ModelInfo, layout: Layout, progress: bool) -> Path:
        if source.needs_network() and offline():
            raise OfflineError("needs the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids")
        folder = self._downloads(info.name)
        folder.mkdir(parents=True, exist_ok=True)
        fetched = folder / info.name
        with progress_bar(info.name, progress) as bar:
            source.fetch(fetched, bar)
        try:
            path = self._admit(fetched, info, layout, origin=str(source), vouched=source.vouches)
        except (DownloadError, CheckpointError) as err:
            aside = self._quarantine(fetched, info.name)
            raise type(err)(f"{err}; the file was put in {aside}") from err
        shutil.rmtree(folder)
        return path

    def _admit(self, file: Path, info: ModelInfo, layout: Layout, *, origin: str, vouched: bool) -> Path:
        """Check a released or converted file in every way and give it its place in the cache."""
        from . import convert  # loads torch

        original = trust.original_digests(file, vouched)
        trust.check_digests(info, original, self._pin(info.name))
        tensors = convert.load_checkpoint(file, layout)
        if info.checksum is None:
            trust.pin_digests(original, self._pin(info.name), origin)
        convert.write_weights(
            tensors,
            self._file(info.name),
            {
                "model": info.name,
                "source": origin,
                "original_sha256": original.sha256,
                "original_git_blob": original.git_blob,
                "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "package": f"sarhub-models {__version__}",
            },
        )
        return self._file(info.name)

    def _quarantine(self, path: Path, name: str) -> Path:
        target = self.root / "quarantine" / f"{name}-{digests(path).sha256[:12]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(path, target)
        return target

    def _verify_cached(self, name: str, path: Path) -> Verification:
        problem = trust.damage(path)
        if problem is not None:
            with self._writing(name):
                problem = trust.damage(path)  # another process may have mended it by now
                if problem is not None:
                    problem += (
                        f"; it was put in {self._quarantine(path, name)}, 'sarhub download {name}' fetches it again"
                    )
        return Verification(name, path, problem)


def _default_root() -> str:
    from platformdirs import user_cache_dir

    return user_cache_dir("sarhub-models", appauthor=False)


def _sources(info: ModelInfo) -> list[Source]:
    location = os.environ.get("SARHUB_MIRROR")
    mirror: list[Source] = [Mirror(location, info.name)] if location else []
    return mirror + [source_from(entry) for entry in info.sources]


def _in_place(info: ModelInfo) -> Path | None:
    for entry in info.sources:
        if entry.get("type") == Bundled.kind and (path := source_from(entry).in_place()) is not None:
            return path
    return None


def _bundled(info: ModelInfo) -> Path | None:
    if (path := _in_place(info)) is None:
        return None
    try:
        metadata(path)
    except CheckpointError as err:
        raise CheckpointError(f"{err}; it came with the package: reinstall sarhub-models") from err
    return path


def _verify_bundled(name: str, path: Path, checksum: Checksum | None) -> Verification:
    if checksum is None:
        problem = trust.damage(path)
    else:
        found = digests(path).by(checksum.algorithm)
        problem = f"{path} is damaged: expected {checksum.value}, found {found}" if found != checksum.value else None
    return Verification(name, path, f"{problem}; reinstall sarhub-models" if problem else None)


def _failure(info: ModelInfo, failures: list[tuple[str, Exception]]) -> SarHubError:
    """Make one error of all that was tried: its type is that of the gravest failure."""
    tried = "; ".join(f"[{number}] {source}: {err}" for number, (source, err) in enumerate(failures, 1))
    kinds = (IntegrityError, CheckpointError, OfflineError, DownloadError)
    kind = next((kind for kind in kinds if any(type(err) is kind for _, err in failures)), DownloadError)
    mend = f"run 'sarhub download {info.name}' again, or 'sarhub import FILE' with a file that you have"
    if kind is OfflineError:
        mend = (
            f"unset SARHUB_OFFLINE and HF_HUB_OFFLINE and run 'sarhub download {info.name}', or set SARHUB_MIRROR to a "
            "folder with the weights, or run 'sarhub import FILE' with a file that you have"
        )
    tried = tried or "nothing: no source is known"
    return kind(f"the weights of {info.name!r} could not be had. Tried {tried}. To mend it, {mend}")
