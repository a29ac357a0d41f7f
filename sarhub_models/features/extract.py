"""Extract the pooled features of a network from many images, resumable and into one file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from ..errors import OptionError
from ..io.files import replacing
from ..io.tables import check_table, write_table
from .journal import Journal
from .stream import Images, Rows, Transform, image_names, stream

__all__ = ["Features", "extract_features", "save_features"]

_SUFFIXES = (".safetensors", ".parquet")


Features = Rows
"""Feature vectors of images: ``names``, ``values`` float32 (N, D), and by name why an image was ``skipped``."""


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
    if not (callable(getattr(model, "forward_features", None)) and callable(getattr(model, "forward_head", None))):
        raise OptionError(
            f"expected a network with timm's forward_features and forward_head, got {type(model).__name__}"
        )
    images = Images(paths, transform, full_scale=full_scale, band=band, bands=bands, nodata=nodata)
    labels = image_names(images.files, names)
    target = _checked_target(out) if out is not None else None
    model = model.to(device).eval()
    journal = (
        None
        if target is None
        else Journal(target, images.files, labels, maker=images.maker(model), bands=images.wanted)
    )
    features = stream(
        lambda inputs: _pooled(model, inputs),
        images,
        labels,
        journal=journal,
        batch_size=batch_size,
        workers=workers,
        device=device,
        on_error=on_error,
        progress=progress,
    )
    if target is not None and journal is not None:
        save_features(target, features.names, features.values)
        journal.file.unlink(missing_ok=True)
    return features


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


@torch.inference_mode()
def _pooled(model: Any, inputs: Tensor) -> np.ndarray:
    values = model.forward_head(model.forward_features(inputs), pre_logits=True)
    if values.ndim != 2:
        raise OptionError(f"expected pooled features of shape (N, D), the network gave {tuple(values.shape)}")
    return values.float().cpu().numpy()
