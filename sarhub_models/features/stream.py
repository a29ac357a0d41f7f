"""Run images through a network batch by batch: read in workers, bad ones by name, with a journal to resume from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from ..errors import BandsWarning, ImageError, NodataError, OptionError, RadiometryWarning
from ..io.images import read_pixels
from ..io.limits import check_scene
from ..io.progress import progress_bar
from ..io.raster import check_nodata
from ..io.workers import end_with_parent
from ..transforms import normalize_amplitude
from .journal import Journal, maker_digest

__all__ = ["Images", "Rows", "Transform", "image_names", "stream", "takes_amplitude"]

Transform = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class Rows:
    """A row of numbers for each image.

    Attributes:
        names: one for each row, in the order in which the images were given.
        values: float32 (N, D).
        skipped: by name, why an image has no row.
    """

    names: tuple[str, ...]
    values: np.ndarray
    skipped: dict[str, str] = field(default_factory=dict)


def stream(
    compute: Callable[[Tensor], np.ndarray],
    images: Images,
    names: Sequence[str],
    *,
    journal: Journal | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: str | torch.device = "cpu",
    on_error: Literal["stop", "skip"] = "stop",
    progress: bool = True,
    title: str = "images",
) -> Rows:
    """Compute a row for each image; memory holds the rows and a few batches.

    Args:
        compute: inputs (B, C, S, S) on the device → rows, float32 (B, D).
        images: what is read and prepared.
        names: one for each image, see :func:`image_names`.
        journal: where rows are kept as they come; those that it holds already are not computed again.
        batch_size: images that are computed at once.
        workers: processes that read and prepare images; 0 does it in this one.
        device: where the inputs go.
        on_error: what a bad image does: ``"stop"`` ends with its error, ``"skip"`` goes on and notes it.
        progress: draw a bar on stderr where that is a terminal.
        title: of the bar.

    Raises:
        ImageError: a bad image with ``on_error="stop"``, images of different sizes in one batch, or none that could be
            used. The message names the image.
        OptionError: ``on_error`` is something else, or the journal comes from other weights or arguments.

    Warns:
        RadiometryWarning: values are plainly of another radiometry; once, with the number of images and the first.
        BandsWarning: files have bands that the network does not take; once, too.
    """
    if on_error not in ("stop", "skip"):
        raise OptionError(f"expected on_error to be 'stop' or 'skip', got {on_error!r}")
    rows = {} if journal is None else journal.read()
    with progress_bar(title, len(images), done=len(rows), show=progress) as advance:
        skipped = _fill(rows, compute, images, names, journal, batch_size, workers, device, on_error, advance)
    if not rows:
        raise ImageError(f"none of the {len(images)} images could be used: {next(iter(skipped.values()))}")
    order = sorted(rows)
    return Rows(tuple(names[index] for index in order), np.stack([rows[index] for index in order]), skipped)


def _fill(
    rows: dict[int, np.ndarray],
    compute: Callable[[Tensor], np.ndarray],
    images: Images,
    labels: Sequence[str],
    journal: Journal | None,
    batch_size: int,
    workers: int,
    device: str | torch.device,
    on_error: str,
    advance: Callable[[int], None],
) -> dict[str, str]:
    """Compute the rows that are not there yet, in place; return the skipped images with the reason."""
    todo = Subset(images, [i for i in range(len(images)) if i not in rows])
    pin = torch.device(device).type == "cuda"
    skipped: dict[str, str] = {}
    doubts: dict[type[Warning], dict[str, str]] = {}
    loader = DataLoader(
        todo, batch_size, num_workers=workers, collate_fn=_collate, pin_memory=pin, worker_init_fn=end_with_parent
    )
    for batch in loader:
        if batch.inputs is not None:
            values = compute(batch.inputs.to(device, non_blocking=True))
            rows.update(zip(batch.indices, values, strict=True))
            if journal is not None:
                journal.append(batch.indices, values)
        skipped.update((labels[index], reason) for index, reason in batch.failures.items())
        for index, found in batch.doubts.items():
            for category, doubt in found.items():
                doubts.setdefault(category, {})[labels[index]] = doubt
        bad = batch.clash or (batch.bad if on_error == "stop" else None)
        if bad is not None:
            _warn(doubts)
            raise ImageError(_stop_message(bad, len(rows), journal))
        advance(len(batch.indices) + len(batch.failures))
    _warn(doubts)
    return skipped


def _warn(doubts: dict[type[Warning], dict[str, str]]) -> None:
    """Warn once of each kind of thing that was seen in images."""
    for category, found in doubts.items():
        name, doubt = next(iter(found.items()))
        count = f"{len(found)} images, {name} first" if len(found) > 1 else name
        warnings.warn(f"{count}: {doubt}", category, stacklevel=5)


def image_names(files: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """Return a name for each image, by default its path.

    Raises:
        OptionError: there is no image, or names are missing or repeat.
    """
    labels = [str(file) for file in files] if names is None else list(names)
    if not labels:
        raise OptionError("expected at least one image, got none")
    if len(labels) != len(files) or len(set(labels)) != len(labels):
        raise OptionError(f"expected {len(files)} different names, got {len(set(labels))}")
    return labels


def _stop_message(reason: str, done: int, journal: Journal | None) -> str:
    kept = (
        f"; the results of {done} images are kept in {journal.file}, and the next run resumes there" if journal else ""
    )
    advice = "fix or remove the image, or skip bad images with on_error='skip'"
    return f"{reason} ({advice}{kept if done else ''})"


@dataclass(frozen=True)
class _Sample:
    index: int
    file: Path
    image: Tensor | None
    failure: str | None
    left_out: bool = False
    doubts: dict[type[Warning], str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Batch:
    indices: list[int]
    inputs: Tensor | None
    failures: dict[int, str]
    clash: str | None
    bad: str | None = None
    doubts: dict[int, dict[type[Warning], str]] = field(default_factory=dict)

    def pin_memory(self) -> _Batch:
        """Let the loader copy the inputs to memory that the accelerator reads directly."""
        inputs = self.inputs.pin_memory() if self.inputs is not None else None
        return _Batch(self.indices, inputs, self.failures, self.clash, self.bad, self.doubts)


class Images(Dataset[_Sample]):
    """Prepared images; a bad one is a sample with its failure, as an exception would end the worker.

    Args:
        paths: files that :func:`~sarhub_models.io.images.read_image` reads.
        transform: as of :func:`~sarhub_models.features.extract.extract_features`, and so are the others.
        full_scale: amplitude that becomes 1.
        band: band to read, or several.
        bands: names of the bands in the files.
        nodata: policy for pixels without data.

    Raises:
        OptionError: arguments contradict each other.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        transform: Transform,
        *,
        full_scale: float | None = None,
        band: int | Sequence[int] | None = None,
        bands: Sequence[str] | None = None,
        nodata: str = "refuse",
    ) -> None:
        check_nodata(nodata)
        if band is not None and bands is not None:
            raise OptionError("band and bands both say which bands to read: give one of them")
        if full_scale is not None and not takes_amplitude(transform):
            raise OptionError("this transform converts by itself: give full_scale to create_transform")
        self.files = tuple(Path(path) for path in paths)
        self.transform, self.full_scale = transform, full_scale
        self.band, self.bands, self.nodata = band, bands, nodata

    def __len__(self) -> int:
        return len(self.files)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names of the bands that the transform takes."""
        return tuple(getattr(self.transform, "bands", ()))

    def maker(self, *parts: Any) -> str:
        """Return the digest of all that decides what these parts, modules or texts, make of an image."""
        how = self.transform if isinstance(self.transform, nn.Module) else self[0].image  # a function has no digest
        band = self.band if self.band is None or isinstance(self.band, int) else tuple(self.band)
        bands = None if self.bands is None else tuple(self.bands)
        return maker_digest(*parts, how, self.full_scale, band, bands, self.nodata)

    def __getitem__(self, index: int) -> _Sample:
        file = self.files[index]
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", BandsWarning)
                image = read_pixels(file, wanted=self.wanted, given=self.bands, band=self.band, nodata=self.nodata)
        except ImageError as err:
            left_out = self.nodata == "skip" and isinstance(err, NodataError)
            return _Sample(index, file, None, str(err), left_out)
        try:
            check_scene(image.shape, getattr(self.transform, "size", None))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", RadiometryWarning)
                values = self._amplitude(image) if takes_amplitude(self.transform) else image
                if (values == values.flat[0]).all():
                    raise ImageError("all pixels are equal, so its features would mean nothing")
                prepared = self.transform(values)
        except ImageError as err:
            return _Sample(index, file, None, f"{file}: {err}")
        doubts: dict[type[Warning], str] = {}
        for warning in (*told, *caught):
            if issubclass(warning.category, RadiometryWarning | BandsWarning):
                doubts[warning.category] = str(warning.message)
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return _Sample(index, file, prepared, None, doubts=doubts)

    def _amplitude(self, image: np.ndarray) -> np.ndarray:
        trained = getattr(self.transform, "trained_full_scale", None)
        return normalize_amplitude(image, full_scale=self.full_scale, trained=trained)


def takes_amplitude(transform: Transform) -> bool:
    """Return whether a transform wants amplitude in [0, 1], not the values of the file."""
    return bool(getattr(transform, "takes_amplitude", True))


def _collate(samples: list[_Sample]) -> _Batch:
    good = [sample for sample in samples if sample.image is not None]
    failures = {sample.index: sample.failure for sample in samples if sample.failure is not None}
    bad = next((sample.failure for sample in samples if sample.failure is not None and not sample.left_out), None)
    doubts = {sample.index: sample.doubts for sample in samples if sample.doubts}
    shapes = [tuple(sample.image.shape) for sample in good if sample.image is not None]
    for sample, shape in zip(good, shapes, strict=True):
        if shape != shapes[0]:
            clash = (
                f"{good[0].file} became {shapes[0]} and {sample.file} {shape}: images of different sizes cannot share "
                "a batch; use a transform that resizes to one size, or batch_size=1"
            )
            return _Batch([], None, failures, clash, bad, doubts)
    inputs = torch.stack([sample.image for sample in good if sample.image is not None]) if good else None
    return _Batch([sample.index for sample in good], inputs, failures, None, bad, doubts)
