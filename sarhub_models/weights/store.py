"""The cache of converted weights.

Layout of the cache (``SARHUB_CACHE``, or the platform's cache folder for ``sarhub-models``)::

    <model name>.safetensors      converted and checked: the only files that are ever loaded
    downloads/<model name>/       a download that is under way or was interrupted
    pins/<model name>.json        hash of the first download of a file whose whole hash nobody published
    quarantine/                   files that failed a check, kept for inspection, never used
    locks/<model name>.lock       one writer for each model

A copy of the folder is a mirror (``SARHUB_MIRROR``) for a machine without network. A file gets its final name by one
atomic rename after every check has passed, so whatever an interrupted process leaves behind is not trusted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

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
from ..io.files import abandoned, check_name, copy_and_hash, digests, is_name, replace_atomically
from ..io.progress import download_bar
from ..zoo.description import to_metadata
from ..zoo.manifest import ModelInfo, load_manifest
from . import trust
from .bundled import bundled, bundled_file, verify_bundled
from .hub import offline
from .inventory import CachedWeights, Verification, files_below, record, written
from .locks import held, protect
from .sources import Mirror, Source, source_from

if TYPE_CHECKING:
    from .checkpoint import CheckpointSpec

__all__ = ["CachedWeights", "Store", "Verification"]

_COPY = ".copy-"  # begins the names of folders with a copy that is being checked


class Store:
    """Weights on this disk: fetched once, checked, converted, and found again.

    Args:
        root: the cache folder; by default ``SARHUB_CACHE`` or the platform's.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if root is None:
            root = os.environ.get("SARHUB_CACHE") or _default_root()
        self.root = Path(root).expanduser()

    def path(self, info: ModelInfo, spec: CheckpointSpec, *, progress: bool = True) -> Path:
        """Return the weights of a model: from the cache, from the installation, or downloaded now.

        Args:
            info: the entry of the manifest.
            spec: what its network expects of a checkpoint.
            progress: whether to draw a bar on a terminal.

        Returns:
            A safetensors file. It was checked against ``spec`` when it was converted; now only its length is.

        Raises:
            OfflineError: the network is needed and must not be used.
            IntegrityError: bytes arrived that are not the promised or the pinned ones.
            CheckpointError: the promised bytes are no checkpoint of this network.
            DownloadError: no source could deliver, or the cache cannot be written.
        """
        return self.cached(info) or bundled(info) or self.download(info, spec, progress=progress)

    def cached(self, info: ModelInfo) -> Path | None:
        """Return the cached file of a model if it is of the right length and of the published release, else ``None``.

        Which release it was made from is read in its metadata; nothing is hashed.
        """
        path = self._file(info.name)
        known = record(path)
        return path if known is not None and trust.other_release(info, known) is None else None

    def download(self, info: ModelInfo, spec: CheckpointSpec, *, progress: bool = True) -> Path:
        """Fetch the weights of a model into the cache, unless they are there.

        The mirror is tried first, then the sources of the manifest in their order. One process does the work; others
        that ask for the same model wait for it. Arguments and errors are those of :meth:`path`.
        """
        failures: list[tuple[str, Exception]] = []
        with self._writing(info.name):
            if (path := self.cached(info)) is not None:
                return path
            if self._file(info.name).exists():
                failures.append(("cache", self._unusable(info)))
            for source in _sources(info):
                try:
                    return self._fetch(source, info, spec, progress)
                except (DownloadError, CheckpointError) as err:  # noqa: PERF203 (each may fail for itself)
                    failures.append((str(source), err))
        raise _failure(info, failures)

    def import_file(
        self, path: str | os.PathLike[str], info: ModelInfo, spec: CheckpointSpec, *, tensors_only: bool = False
    ) -> Path:
        """Check, convert and cache a file that the user has: a released one, or one from another cache.

        Args:
            path: the file; it is left as it is.
            info: the model that it holds.
            spec: what the network expects.
            tensors_only: leave out what is no tensor, as :func:`~sarhub_models.weights.read_tensors` does.

        Returns:
            The cached safetensors file; an earlier one is replaced.

        Raises:
            FileNotFoundError: there is no such file.
            IntegrityError: its hash is not the published or the pinned one.
            CheckpointError: it is no checkpoint of this network.
            DownloadError: the cache cannot be written.
        """
        file = Path(path).expanduser()
        if not file.exists():
            raise FileNotFoundError(f"there is no file {file}")
        with self._writing(info.name):
            origin = f"imported from {file.name}"
            return self._admit(file, info, spec, origin=origin, trusted=True, tensors_only=tensors_only)

    def entries(self) -> list[CachedWeights]:
        """Return what the cache holds, sorted by name.

        Files that this package did not write are left out, and so are those that are cut off.
        """
        return list(written(self.root))

    def verify(self, name: str | None = None) -> list[Verification]:
        """Hash weights anew: the cached ones against their own record, the bundled ones against the manifest.

        A cached file that is damaged is put in quarantine, so that the next use fetches it again. One that is intact
        but not of the published release stays; it is not used.

        Args:
            name: one model; ``None`` is all that are on this disk.

        Raises:
            UnknownNameError: the weights of that model are not on this disk.
        """
        cached = self._on_disk()
        models = load_manifest().models
        installed = {
            key: (path, info.checksum) for key, info in models.items() if (path := bundled_file(info)) is not None
        }
        if name is not None and name not in cached and name not in installed:
            raise self._not_cached(name, {*cached, *installed})
        found = [self._verify_cached(key, path, models.get(key)) for key, path in cached.items() if name in (None, key)]
        found += [verify_bundled(key, *value) for key, value in installed.items() if name in (None, key)]
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
        pin, on_disk, begun = self._pin(name), self._on_disk(), self._begun()
        if name not in {*on_disk, *begun} and not (forget_pin and pin.exists()):
            raise self._not_cached(name, {*on_disk, *begun})
        with self._writing(name):
            if name in on_disk:
                self._file(name).unlink(missing_ok=True)
            for folder in (*abandoned(self._file(name)), *abandoned(self._pin(name)), self._downloads(name)):
                if folder.is_symlink():
                    folder.unlink()
                elif folder.exists():
                    shutil.rmtree(folder)
            if forget_pin:
                pin.unlink(missing_ok=True)

    def clearable(self, *, forget_pins: bool = False) -> list[Path]:
        """Return the files that :meth:`clear` deletes."""
        begun = self._begun()
        return [
            *self._on_disk().values(),
            *(path for name in begun for folder in abandoned(self._file(name)) for path in files_below(folder)),
            *(path for name in begun for path in files_below(self._downloads(name))),
            *files_below(self.root / "quarantine"),
            *(files_below(self.root / "pins") if forget_pins else []),
        ]

    def clear(self, *, forget_pins: bool = False) -> None:
        """Delete all weights, what interrupted downloads left, and the quarantine. Files of others are left alone.

        Args:
            forget_pins: also forget the hashes of first downloads, so that new releases are accepted.

        Raises:
            DownloadError: the cache cannot be written.
        """
        for name in sorted({*self._on_disk(), *self._begun()}):
            self.remove(name)
        for folder in ("quarantine", "pins") if forget_pins else ("quarantine",):
            for path in files_below(self.root / folder):
                path.unlink(missing_ok=True)

    def _on_disk(self) -> dict[str, Path]:
        """Return the files of the cache by model: what this package wrote, and whatever has a name of the manifest."""
        known = {name: path for name in load_manifest().models if (path := self._file(name)).is_file()}
        return known | {entry.name: entry.path for entry in written(self.root)}

    def _begun(self) -> list[str]:
        """Return the models of which an interrupted download or conversion left something."""
        names = [path.name for path in (self.root / "downloads").glob("*") if path.is_dir()]
        names += [path.name[1:].partition(".safetensors.")[0] for path in self.root.glob(".*.safetensors.*")]
        return sorted(filter(is_name, set(names)))

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
            with held(self.root / "locks" / f"{check_name(name)}.lock", name):
                # Whoever left these is dead: the lock is ours.
                for folder in (*abandoned(self._file(name)), *self._downloads(name).glob(f"{_COPY}*")):
                    shutil.rmtree(folder, ignore_errors=True)
                yield
        except OSError as err:
            if isinstance(err, SarHubError):
                raise
            place = f"{err.filename}: " if err.filename and err.strerror else ""
            raise DownloadError(
                f"cannot write the weights of {name!r} to the cache {self.root} ({place}{err.strerror or err}): free "
                "space there, or set SARHUB_CACHE to a folder that can be written, and run "
                f"'sarhub download {name}' again"
            ) from err

    def _fetch(self, source: Source, info: ModelInfo, spec: CheckpointSpec, progress: bool) -> Path:
        if source.needs_network() and offline():
            raise OfflineError("needs the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids")
        folder = self._downloads(info.name)
        folder.mkdir(parents=True, exist_ok=True)
        fetched = folder / info.name
        with download_bar(info.name, progress) as bar:
            source.fetch(fetched, progress=bar)
        try:
            only = info.tensors_only
            path = self._admit(
                fetched, info, spec, origin=str(source), trusted=source.trusted_origin, tensors_only=only
            )
        except (DownloadError, CheckpointError) as err:
            aside = self._quarantine(fetched, info.name)
            raise type(err)(f"{err}; the file was put in {aside}") from err
        shutil.rmtree(folder)
        return path

    def _admit(
        self,
        file: Path,
        info: ModelInfo,
        spec: CheckpointSpec,
        *,
        origin: str,
        trusted: bool,
        tensors_only: bool = False,
    ) -> Path:
        """Check a released or converted file in every way and give it its place in the cache.

        What is hashed and what is read are the same bytes: a copy that no other process knows of.
        """
        from . import checkpoint  # loads torch

        self._downloads(info.name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_COPY, dir=self._downloads(info.name)) as folder:
            copy = Path(folder, file.name)
            original = trust.original_digests(copy, copy_and_hash(file, copy), trusted=trusted)
            trust.check_digests(info, original, self._pin(info.name))
            tensors = checkpoint.load_checkpoint(copy, spec, tensors_only=tensors_only)
        if trust.needs_pin(info):
            trust.pin_digests(original, self._pin(info.name), origin)
        checkpoint.write_weights(
            tensors,
            self._file(info.name),
            info={
                **to_metadata(info),
                "model": info.name,
                "source": origin,
                "original_sha256": original.sha256,
                "original_git_blob": original.git_blob,
                "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "package": f"sarhub-models {__version__}",
            },
        )
        protect(self._file(info.name))
        with contextlib.suppress(OSError):
            self._downloads(info.name).rmdir()  # unless an interrupted download lies there
        return self._file(info.name)

    def _quarantine(self, path: Path, name: str) -> Path:
        target = self.root / "quarantine" / f"{name}-{digests(path).sha256[:12]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, target)
        return target

    def _unusable(self, info: ModelInfo) -> Exception:
        """Say why the cached file of a model is not used; a damaged one is put aside, another release is replaced."""
        path = self._file(info.name)
        known = record(path)
        if known is not None and (problem := trust.other_release(info, known)) is not None:
            return DownloadError(f"the file was {problem}")
        aside = self._quarantine(path, info.name)
        return CheckpointError(f"the file was cut off, damaged or not converted for this model; it was put in {aside}")

    def _verify_cached(self, name: str, path: Path, info: ModelInfo | None) -> Verification:
        problem = _damage(path)
        if problem is not None:
            with self._writing(name):
                problem = _damage(path)  # another process may have replaced it by now
                if problem is not None:
                    problem += (
                        f"; it was put in {self._quarantine(path, name)}, 'sarhub download {name}' fetches it again"
                    )
        elif info is not None and (problem := trust.other_release(info, record(path) or {})) is not None:
            problem = f"{path} was {problem}; it is not used, and 'sarhub cache remove {name}' deletes it"
        return Verification(name, path, problem)


def _damage(path: Path) -> str | None:
    try:
        problem = trust.damage(path)
    except OSError as err:
        problem = f"{path} cannot be read: {err.strerror or err}"
    if problem is None and record(path) is None:
        return f"{path} holds the weights of another model"
    return problem


def _default_root() -> str:
    from platformdirs import user_cache_dir

    return user_cache_dir("sarhub-models", appauthor=False)


def _sources(info: ModelInfo) -> list[Source]:
    location = os.environ.get("SARHUB_MIRROR")
    mirror: list[Source] = [Mirror(location, info.name)] if location else []
    return mirror + [source_from(entry) for entry in info.sources]


def _failure(info: ModelInfo, failures: list[tuple[str, Exception]]) -> SarHubError:
    """Make one error of all that was tried: its type is that of the gravest failure."""
    tried = "; ".join(f"[{number}] {source}: {err}" for number, (source, err) in enumerate(failures, 1))
    kinds = (IntegrityError, CheckpointError, OfflineError, DownloadError)
    kind = next((kind for kind in kinds if any(type(err) is kind for _, err in failures)), DownloadError)
    fix = f"run 'sarhub download {info.name}' again, or 'sarhub import FILE' with a file that you have"
    if kind is OfflineError:
        fix = (
            f"unset SARHUB_OFFLINE and HF_HUB_OFFLINE and run 'sarhub download {info.name}', or set SARHUB_MIRROR to a "
            "folder with the weights, or run 'sarhub import FILE' with a file that you have"
        )
    tried = tried or "nothing: no source is known"
    return kind(f"the weights of {info.name!r} are unavailable. Tried {tried}. To fix it, {fix}")
