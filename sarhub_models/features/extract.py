"""Extract the pooled features of a network from many images, resumable and into one file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from ..errors import BandsWarning, ImageError, NodataError, OptionError, RadiometryWarning
from ..io.files import replacing
from ..io.images import read_pixels
from ..io.limits import check_scene
from ..io.progress import progress_bar
from ..io.raster import check_nodata
from ..io.tables import check_table, write_table
from ..transforms import normalize_amplitude
from .journal import Journal, maker_digest

__all__ = ["Features", "extract_features", "save_features"]

Transform = Callable[[np.ndarray], Tensor]
_SUFFIXES = (".safetensors", ".parquet")


@dataclass(frozen=True)
class Features:
    """Feature vectors of images.

    Attributes:
        names: one for each row, in the order in which the images were given.
        values: float32 (N, D).
        skipped: by name, why an image has no row.
    """

    names: tuple[str, ...]
    values: np.ndarray
    skipped: dict[str, str] = field(default_factory=dict)


def extract_features(
    model: nn.Module,
    transform: Transform,
    paths: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    names: Sequence[str] | None = None,
    full_scale: float | None = None,
    band: int | Sequence[int] | None = None,
    bands: Sequence[str] | None = None,
    nodata: str = "refuse",
    batch_size: int = 64,
    workers: int = 0,
    device: str | torch.device = "cpu",
    on_error: Literal["stop", "skip"] = "stop",
    progress: bool = True,
) -> Features:
    """Compute the features of images: what the network's head sees, after pooling and before the logits.

    Images stream through the network, so memory holds only the features. With ``out``, rows are also written as they
    come to a journal beside it (:func:`.journal.journal_path`). Whatever ends the run, a bad image, an interrupt or
    a kill, a later run with the same arguments resumes from the journal; when all is done ``out`` appears whole and
    the journal is removed. Images whose size or modification time differ from the journal's are computed again, and so
    are rows that were changed. Where weights, preprocessing, bands or ``nodata`` are others, the run is refused; a
    transform that is no module is known by what it makes of the first image.

    Args:
        model: network with timm's ``forward_features`` and ``forward_head``; it is moved to ``device`` and put in
            evaluation mode.
        transform: amplitude (H, W) in [0, 1] → input of the network (C, H, W), such as
            ``create_transform(name)``; one whose ``takes_amplitude`` is ``False`` gets the values of the file,
            (H, W), or (bands, H, W) where several are read. It must give one size, unless ``batch_size`` is 1.
        paths: files that :func:`~sarhub_models.io.images.read_image` reads.
        out: file to write, see :func:`save_features`.
        names: name of each image in the result; by default its path as given.
        full_scale: amplitude that becomes 1; integers wider than 16 bits need it
            (:func:`~sarhub_models.transforms.normalize_amplitude`). Only for transforms that take amplitude.
        band: band to read, counted from 1, or several in the order of the transform's bands; by default those of the
            transform's names (:func:`~sarhub_models.io.images.read_bands`).
        bands: names of the bands in the files, in their order, where the files do not say them.
        nodata: what pixels without data do (:func:`~sarhub_models.io.images.read_image`): ``"refuse"`` makes the image
            a bad one, ``"fill"`` gives them the median of the others, ``"skip"`` fills, too, but leaves out images
            with more than a tenth of them and notes them in ``skipped``, whatever ``on_error`` says.
        batch_size: images that go through the network at once.
        workers: processes that read and prepare images; 0 does it in this one.
        device: where the network runs.
        on_error: what a bad image does, one that cannot be read or normalized or whose pixels are all equal:
            ``"stop"`` ends the run with its error, ``"skip"`` goes on and notes it in ``skipped``.
        progress: draw a bar on stderr where that is a terminal.

    Returns:
        The features, those from the journal included.

    Raises:
        ImageError: a bad image with ``on_error="stop"``, images of different sizes in one batch, or no image that
            could be used. The message names the image.
        OptionError: an argument is impossible, names repeat, the network has no such features, or the journal comes
            from other weights or arguments.
        NodataError: pixels without data, as ``nodata`` says.
        MissingDependencyError: ``out`` is a Parquet file and pyarrow is missing.

    Warns:
        RadiometryWarning: values are plainly of another radiometry; once, with the number of images and the first.
        BandsWarning: files have bands that the network does not take; once, too.
    """
    check_nodata(nodata)
    if band is not None and bands is not None:
        raise OptionError("band and bands both say which bands to read: give one of them")
    if on_error not in ("stop", "skip"):
        raise OptionError(f"expected on_error to be 'stop' or 'skip', got {on_error!r}")
    if not (callable(getattr(model, "forward_features", None)) and callable(getattr(model, "forward_head", None))):
        raise OptionError(
            f"expected a network with timm's forward_features and forward_head, got {type(model).__name__}"
        )
    if full_scale is not None and not _takes_amplitude(transform):
        raise OptionError("this transform converts by itself: give full_scale to create_transform")
    images = _Images([Path(path) for path in paths], transform, full_scale, band, bands, nodata)
    labels = _labels(images.files, names)
    target = _checked_target(out) if out is not None else None
    model = model.to(device).eval()
    journal = None if target is None else Journal(target, images.files, labels, maker=_maker(model, images))
    rows = {} if journal is None else journal.read()
    with progress_bar("images", len(images), done=len(rows), show=progress) as advance:
        skipped = _fill(rows, model, images, labels, journal, batch_size, workers, device, on_error, advance)
    if not rows:
        raise ImageError(f"none of the {len(images)} images could be used: {next(iter(skipped.values()))}")
    order = sorted(rows)
    features = Features(tuple(labels[i] for i in order), np.stack([rows[i] for i in order]), skipped)
    if target is not None and journal is not None:
        save_features(target, features.names, features.values)
        journal.file.unlink(missing_ok=True)
    return features


def _fill(
    rows: dict[int, np.ndarray],
    model: nn.Module,
    images: _Images,
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
    for batch in DataLoader(todo, batch_size, num_workers=workers, collate_fn=_collate, pin_memory=pin):
        if batch.inputs is not None:
            values = _pooled(model, batch.inputs.to(device, non_blocking=True))
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
        warnings.warn(f"{count}: {doubt}", category, stacklevel=4)


def save_features(out: str | os.PathLike[str], names: Sequence[str], features: np.ndarray) -> Path:
    """Write features to one file, which appears whole or not at all and replaces one of the same name.

    ``.safetensors`` holds the tensor ``features`` and, in its metadata, ``names`` as a JSON list. ``.parquet`` has
    the columns ``name`` and ``features`` (a list of float32) and needs pyarrow.

    Args:
        out: the file; its suffix tells the format.
        names: name of each row.
        features: floating point (N, D).

    Returns:
        The path of the file.

    Raises:
        OptionError: another suffix, a missing folder, or as many names as rows were not given.
        MissingDependencyError: pyarrow is missing.
    """
    target = _checked_target(out)
    if features.ndim != 2 or len(names) != len(features):
        raise OptionError(f"expected features of shape ({len(names)}, D), one row a name, got {features.shape}")
    values = np.ascontiguousarray(features, dtype=np.float32)
    if target.suffix == ".parquet":
        return write_table({"name": list(names), "features": values}, target)
    with replacing(target) as temporary:
        save_file({"features": values}, temporary, metadata={"names": json.dumps(list(names))})
    return target


def _checked_target(out: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be written; found out before hours of work, not after."""
    target = check_table(out, suffixes=_SUFFIXES)
    if not target.parent.is_dir():
        raise OptionError(f"{target}: there is no folder {target.parent}; create it first")
    return target


def _labels(files: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    labels = [str(file) for file in files] if names is None else list(names)
    if not labels:
        raise OptionError("expected at least one image, got none")
    if len(labels) != len(files) or len(set(labels)) != len(labels):
        raise OptionError(f"expected {len(files)} different names, got {len(set(labels))}")
    return labels


def _stop_message(reason: str, done: int, journal: Journal | None) -> str:
    kept = (
        f"; the features of {done} images are kept in {journal.file}, and the next run resumes there" if journal else ""
    )
    advice = "fix or remove the image, or skip bad images with on_error='skip'"
    return f"{reason} ({advice}{kept if done else ''})"


def _maker(model: nn.Module, images: _Images) -> str:
    """Return the digest of all that decides the features of an image."""
    how = images.transform if isinstance(images.transform, nn.Module) else images[0].image  # a function has no digest
    band = images.band if images.band is None or isinstance(images.band, int) else tuple(images.band)
    bands = None if images.bands is None else tuple(images.bands)
    return maker_digest(model, how, images.full_scale, band, bands, images.nodata)


# ------------------------------------------------------------------------------------------- reading and running


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


class _Images(Dataset[_Sample]):
    """Prepared images; a bad one is a sample with its failure, as an exception would end the worker."""

    def __init__(
        self,
        files: Sequence[Path],
        transform: Transform,
        full_scale: float | None,
        band: int | Sequence[int] | None,
        bands: Sequence[str] | None,
        nodata: str,
    ) -> None:
        self.files, self.transform, self.full_scale = files, transform, full_scale
        self.band, self.bands, self.nodata = band, bands, nodata

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> _Sample:
        file = self.files[index]
        try:
            wanted = getattr(self.transform, "bands", ())
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", BandsWarning)
                image = read_pixels(file, wanted=wanted, given=self.bands, band=self.band, nodata=self.nodata)
        except ImageError as err:
            left_out = self.nodata == "skip" and isinstance(err, NodataError)
            return _Sample(index, file, None, str(err), left_out)
        try:
            check_scene(image.shape, getattr(self.transform, "size", None))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", RadiometryWarning)
                values = self._amplitude(image) if _takes_amplitude(self.transform) else image
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


def _takes_amplitude(transform: Transform) -> bool:
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


@torch.inference_mode()
def _pooled(model: Any, inputs: Tensor) -> np.ndarray:
    values = model.forward_head(model.forward_features(inputs), pre_logits=True)
    if values.ndim != 2:
        raise OptionError(f"expected pooled features of shape (N, D), the network gave {tuple(values.shape)}")
    return values.float().cpu().numpy()
