"""Compare the features of several backbones on the same chips: accuracies and similarity.

Each pre-trained network is compared with its untrained twin: the same architecture and preprocessing with random
weights, the control without which no accuracy says anything about the pre-training. Needs the extra ``demo``
(scikit-learn, matplotlib).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from ..datasets.labeled import TEST, TRAIN, LabeledImages
from ..datasets.sizes import judge_sizes
from ..errors import MissingDependencyError, OptionError
from ..io.figures import save_figure
from ..io.files import metadata, write_text
from ..io.images import files_of, one_per_image
from ..io.tables import write_table
from ..models.choice import choose, image_reading, image_values
from ..models.create import build_model, create_transform
from ..models.loading import load_tensors
from ..transforms import Pipeline
from ..weights import Store
from ..weights.sources import source_from
from ..zoo.entries import ModelInfo
from ..zoo.manifest import list_models, model_info
from .extract import Features, extract_features
from .journal import maker_digest
from .probe import FOLDS, FewShot, Scores, cka, few_shot, probe
from .stream import Images

__all__ = ["TWIN", "Comparison", "compare", "weights_here"]

_WRITTEN = ("comparison.json", "comparison.png", "chips.png")
TWIN = " (untrained)"
"""Behind the name of a network: the same one without training."""


@dataclass(frozen=True)
class Comparison:
    """The numbers of a comparison.

    Attributes:
        networks: names of the models, each followed by its untrained twin.
        images: number of chips that every network saw.
        classes: names of the classes; empty without labels.
        protocol: how the accuracies were measured, in words.
        dimensions: length of the features, by network.
        scores: by network; empty without labels.
        few: by network, accuracies with a few labels of each class; empty where none were asked for.
        similarity: linear CKA of every pair of networks, float64 (N, N) in [0, 1].
        skipped: by chip, why it was left out.
        files: what was written.
    """

    networks: tuple[str, ...]
    images: int
    classes: tuple[str, ...]
    protocol: str
    dimensions: dict[str, int]
    scores: dict[str, Scores]
    few: dict[str, tuple[FewShot, ...]]
    similarity: np.ndarray
    skipped: dict[str, str]
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready data."""
        return {
            "networks": list(self.networks),
            "images": self.images,
            "classes": list(self.classes),
            "protocol": self.protocol,
            "dimensions": self.dimensions,
            "scores": {name: vars(scores) for name, scores in self.scores.items()},
            "few": {name: [vars(one) for one in found] for name, found in self.few.items()},
            "cka": self.similarity.round(6).tolist(),
            "skipped": self.skipped,
        }

    def leaderboard(self) -> list[dict[str, Any]]:
        """Return a row of all numbers for each network, the best linear probe first."""
        rows: list[dict[str, Any]] = []
        for name in sorted(self.networks, key=lambda name: -self.scores[name].linear if self.scores else 0.0):
            row: dict[str, Any] = {"network": name, "images": self.images, "features": self.dimensions[name]}
            if self.scores:
                row |= {key: f"{value:.4f}" for key, value in vars(self.scores[name]).items()}
            for one in self.few.get(name, ()):
                values = {"": one.accuracy, "_low": one.low, "_high": one.high}
                row |= {f"shots_{one.shots}{end}": f"{value:.4f}" for end, value in values.items()}
            rows.append(row)
        return rows

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the header and the rows of a table of the numbers, a row for each network."""
        first = next(iter(self.few.values()), ())
        header: tuple[str, ...] = (
            "network",
            "features",
            "kNN",
            "balanced",
            "linear probe",
            "balanced",
            "CKA with its twin",
        )
        header += tuple(f"{one.shots} a class" for one in first)
        rows = []
        for row, name in enumerate(self.networks):
            scores = [f"{value:.3f}" for value in vars(self.scores[name]).values()] if self.scores else ["-"] * 4
            twin = "" if name.endswith(TWIN) else f"{self.similarity[row, row + 1]:.2f}"
            few = [f"{one.accuracy:.3f} ({one.low:.3f}–{one.high:.3f})" for one in self.few.get(name, ())]
            rows.append((name, str(self.dimensions[name]), *scores, twin, *few))
        return header, rows


def weights_here() -> list[str]:
    """Return the models whose weights are on this disk, cached or installed with the package."""
    infos = [model_info(name) for name in list_models()]
    store = Store()
    return [
        info.name
        for info in infos
        if store.cached(info) is not None or any(source_from(entry).in_place() for entry in info.sources)
    ]


def compare(
    chips: LabeledImages,
    models: Sequence[str],
    out: str | os.PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    radiometry: str | None = None,
    full_scale: float | None = None,
    nodata: str | None = None,
    shots: Sequence[int] = (),
    draws: int = 10,
    batch_size: int = 64,
    workers: int = 0,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: bool = True,
) -> Comparison:
    """Compute the features of the same chips with every model and its untrained twin, and compare them.

    A model of one band gets the band of that name, or the first; a model of several bands those of its bands that the
    images have, in its own order (see ``bands`` of :func:`~sarhub_models.create_model`).

    Features are kept in the folder ``features`` of ``out``: a later run with the same chips and options, and perhaps
    more models, computes those that are missing.

    Args:
        chips: the images, see :func:`~sarhub_models.datasets.labeled.open_images`.
        models: names of :func:`~sarhub_models.list_models`, whose weights are fetched if they are not here; files that
            describe themselves; folders of runs.
        out: folder for ``comparison.json``, ``leaderboard.csv``, ``comparison.png`` and ``chips.png`` (some chips of
            each class); it is created.
        bands: polarizations in the images, in their order; needed by models of several bands where the
            files do not say them, unless they were fine-tuned on such images.
        radiometry: what the images hold (see :func:`~sarhub_models.create_transform`); by default what the chips' data
            set says, or those that the models were fine-tuned on, or what these expect, if that is one for all.
        full_scale: the digital number that stands for amplitude 1; by default likewise.
        nodata: what pixels without data do (:func:`~sarhub_models.io.images.read_image`); by default as in the
            fine-tuning of all the models, or ``"refuse"``.
        shots: numbers of labels of each class for :func:`~sarhub_models.features.probe.few_shot`.
        draws: how often they are drawn.
        batch_size: images that go through a network at once.
        workers: processes that read images.
        device: where the networks run.
        seed: of the untrained twins and of the folds.
        progress: draw bars on stderr where that is a terminal.

    Raises:
        MissingDependencyError: the extra ``demo`` is not installed.
        OptionError: no model, a radiometry that must be said, or bands that a model cannot use.
        ImageError: none of the images could be used.
        SarHubError: weights cannot be had, see :func:`~sarhub_models.create_model`.

    Warns:
        UserWarning: the sizes of the images tell their classes.
    """
    missing = [package for package in ("sklearn", "matplotlib") if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(f"compare needs {' and '.join(missing)}: pip install 'sarhub-models[demo]'")
    if not models:
        raise OptionError("no models to compare: give names of 'sarhub list'; no weights are on this disk")
    choices = [choose(name) for name in dict.fromkeys(models)]
    infos = [choice.info for choice in choices]
    radiometry = radiometry or chips.radiometry or _common_radiometry(infos)
    full_scale = full_scale or chips.full_scale or _common_scale(infos, radiometry)
    run: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "device": device, "progress": progress}
    policies = {image_reading(info).nodata for info in infos}
    run["nodata"] = nodata or (policies.pop() if len(policies) == 1 else "refuse")
    if bands is None:
        chips = _one_per_image(chips, infos)
    found: dict[str, Features] = {}
    for choice in choices:
        options, positions = _view(choice.info, bands)
        transform = create_transform(choice.name, radiometry=radiometry, full_scale=full_scale, **options)
        for name, tensors in ((choice.name, load_tensors(choice)), (choice.name + TWIN, None)):
            torch.manual_seed(seed)
            model = build_model(choice, tensors, num_classes=0, **options)
            found[name] = _kept_features(model, transform, chips, Path(out) / "features", positions, full_scale, run)
    skipped = {name: reason for one in found.values() for name, reason in one.skipped.items()}
    features = {
        name: one.values[[row for row, chip in enumerate(one.names) if chip not in skipped]]
        for name, one in found.items()
    }
    rows = [row for row, name in enumerate(chips.names) if name not in skipped]
    _warn_of_sizes(chips, infos, rows)
    return _report(chips, rows, features, skipped, Path(out), seed, tuple(shots), draws)


def _warn_of_sizes(chips: LabeledImages, infos: Sequence[ModelInfo], rows: Sequence[int]) -> None:
    if chips.labels is None:
        return
    used = [row for row in rows if chips.split is None or chips.split[row] in (TRAIN, TEST)]
    held = None if chips.split is None else [chips.split[row] == TEST for row in used]
    sizes = judge_sizes([chips.files[row] for row in used], [chips.labels[row] for row in used], held=held)
    crops = [info.preprocessing.crop for info in infos]
    if sizes is not None and sizes.tell and any(crop is None or crop > sizes.smallest for crop in crops):
        warnings.warn(f"{sizes}. Cut all to one size", stacklevel=3)


def _kept_features(
    model: torch.nn.Module,
    transform: Pipeline,
    chips: LabeledImages,
    folder: Path,
    band: int | list[int] | None,
    full_scale: float | None,
    run: Mapping[str, Any],
) -> Features:
    """Return features of before where weights, preprocessing and chips are the same, or compute them."""
    scale = full_scale if transform.takes_amplitude else None
    images = Images(chips.files, transform, full_scale=scale, band=band, nodata=run["nodata"])
    read = [path for file in chips.files for path in files_of(file, images.wanted)]
    content = [(one.stat().st_size, one.stat().st_mtime_ns) for one in read]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{maker_digest(images.maker(model), chips.names, content)[:20]}.safetensors"
    if not file.is_file():
        return extract_features(
            *(model, transform, chips.files),
            out=file,
            names=chips.names,
            full_scale=scale,
            band=band,
            on_error="skip",
            **run,
        )
    names = tuple(json.loads(metadata(file)["names"]))
    lacking = sorted(set(chips.names) - set(names))
    return Features(names, load_file(file)["features"], dict.fromkeys(lacking, "could not be used before"))


def _one_per_image(chips: LabeledImages, infos: Sequence[ModelInfo]) -> LabeledImages:
    """Return the chips, one for the files of an image's polarizations where a model takes several."""
    wanted = max((info.input.bands for info in infos), key=len)
    kept = set(one_per_image(chips.files, wanted))
    rows = [row for row, file in enumerate(chips.files) if file in kept]
    return replace(
        chips,
        files=tuple(chips.files[row] for row in rows),
        names=tuple(chips.names[row] for row in rows),
        labels=chips.labels and tuple(chips.labels[row] for row in rows),
        split=chips.split and tuple(chips.split[row] for row in rows),
    )


def _common_radiometry(infos: Sequence[ModelInfo]) -> str | None:
    said = (image_reading(info).radiometry or info.input.radiometry for info in infos)
    expected = {radiometry for radiometry in said if radiometry is not None}
    if len(expected) > 1:
        raise OptionError(
            f"these models expect different radiometry ({', '.join(sorted(expected))}): say what the images hold with "
            "radiometry=…"
        )
    return next(iter(expected), None)


def _common_scale(infos: Sequence[ModelInfo], radiometry: str | None) -> float | None:
    """Return the value of amplitude 1 in the images that models were fine-tuned on, which is that of all."""
    found = {image_values(info, radiometry=radiometry, full_scale=None)[1] for info in infos} - {None}
    if len(found) > 1:
        raise OptionError(
            f"these models were fine-tuned on images of which {' and '.join(f'{one:g}' for one in sorted(found))} are "  # type: ignore[type-var]
            "amplitude 1: say what that is in these with full_scale=…"
        )
    return next(iter(found), None)


def _view(info: ModelInfo, bands: Sequence[str] | None) -> tuple[dict[str, Any], int | list[int] | None]:
    """Return the options for a model, and the positions (from 1) of the bands that it gets."""
    known = info.input.bands
    if bands is None:
        reading = image_reading(info)
        bands = reading.bands
        if bands is None and reading.band is not None:
            return {}, reading.position
    if len(known) == 1:
        return {}, None if bands is None else 1 + (list(bands).index(known[0]) if known[0] in bands else 0)
    if bands is None:
        return {}, None
    usable = [band for band in known if band in bands]
    if not usable:
        raise OptionError(f"{info.name} takes {', '.join(known)}, the images hold only {', '.join(bands)}")
    return {"bands": usable}, [1 + list(bands).index(band) for band in usable]


def _report(
    chips: LabeledImages,
    rows: Sequence[int],
    features: Mapping[str, np.ndarray],
    skipped: dict[str, str],
    folder: Path,
    seed: int,
    shots: tuple[int, ...],
    draws: int,
) -> Comparison:
    from .figures import chips_figure, comparison_figure

    labels = np.array([chips.labels[row] for row in rows]) if chips.labels is not None else None
    split = np.array([chips.split[row] for row in rows]) if chips.split is not None else None
    protocol, scores, few = "no labels", {}, {}
    if labels is not None:
        protocol = (
            f"trained on {(split == TRAIN).sum()} chips, tested on {(split == TEST).sum()}"
            if split is not None
            else f"cross-validated, {FOLDS} folds at most, stratified by class"
        )
        scores = {name: probe(values, labels, split, seed=seed) for name, values in features.items()}
        few = {
            name: tuple(few_shot(values, labels, split, shots=count, draws=draws, seed=seed) for count in shots)
            for name, values in features.items()
        }
    names = tuple(features)
    comparison = Comparison(
        networks=names,
        images=len(rows),
        classes=tuple(sorted(set(labels.tolist()))) if labels is not None else (),
        protocol=protocol,
        dimensions={name: values.shape[1] for name, values in features.items()},
        scores=scores,
        few=few if shots else {},
        similarity=np.array([[cka(features[a], features[b]) for b in names] for a in names]),
        skipped=skipped,
        files=tuple(folder / name for name in (*_WRITTEN, "leaderboard.csv")),
    )
    write_table(comparison.leaderboard(), comparison.files[3])
    write_text(comparison.files[0], json.dumps(comparison.to_dict(), indent=2) + "\n")
    title = f"{len(rows)} chips, {protocol}"
    figure = comparison_figure(title, features, scores, comparison.similarity, labels)
    save_figure(figure, comparison.files[1], dpi=110)
    save_figure(chips_figure([chips.files[row] for row in rows], labels), comparison.files[2], dpi=110)
    return comparison
