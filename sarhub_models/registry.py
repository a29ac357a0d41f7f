"""Names become typed entries of ``weights_manifest.json``. Pure Python: importing it loads neither torch nor timm."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import ManifestError, UnknownNameError, closest

__all__ = [
    "Checksum",
    "DatasetInfo",
    "ModelInfo",
    "Preprocessing",
    "list_datasets",
    "list_models",
    "list_networks",
    "load_manifest",
    "model_info",
]

# A model name becomes a folder of the cache: nothing that could climb out of it, hide, or surprise a shell.
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*(\.[a-z0-9][a-z0-9_-]*)?")


@dataclass(frozen=True)
class Preprocessing:
    """How one amplitude chip in [0, 1] becomes the input of a network.

    Attributes:
        operator: dynamic-range operator, ``"reinhard_devlin"``, ``"ptls"`` or ``"log_amplitude"``.
        low: lower end of the operator's parameter in training (DRAA).
        high: upper end of the operator's parameter in training.
        evaluation: the operator's parameter at evaluation.
        mean: subtracted after the operator.
        std: divided by after the mean; the value the weights were trained with, whatever it is called.
        size: side of the square that the chip is resized to, in pixels; ``None`` keeps the chip's size.
        full_scale: amplitude that maps to 1 in the raw data the weights were trained on (digital numbers), or
            ``None`` where that is not known and users bring chips in [0, 1].
        note: what a user must know about these numbers, or ``None``.
    """

    operator: str
    low: float
    high: float
    evaluation: float
    mean: float
    std: float
    size: int | None
    full_scale: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Checksum:
    """What the bytes of a released file must hash to.

    Attributes:
        algorithm: ``"sha256"`` or ``"git-blob"`` (SHA-1 over ``b"blob <size>\\0"`` and the bytes).
        value: lower-case hexadecimal digest.
    """

    algorithm: str
    value: str


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that networks were pre-trained on.

    Attributes:
        name: short name, as in model names (``"ben"``).
        title: what it is called.
        sensor: the radar that took the images.
        num_classes: number of classes.
        class_names: their names by index, or ``None`` where they were never published.
        multilabel: whether a chip carries several labels (sigmoid outputs) or one (softmax).
    """

    name: str
    title: str
    sensor: str
    num_classes: int
    class_names: tuple[str, ...] | None
    multilabel: bool


@dataclass(frozen=True)
class ModelInfo:
    """One set of weights: everything needed to fetch, build, feed and cite it.

    Attributes:
        name: full name, ``<network>_<data>`` with an optional ``.<tag>``.
        network: name of the architecture, one of :func:`list_networks`.
        dataset: the data it was pre-trained on.
        num_classes: outputs of the trained head, or ``None`` where only the file tells.
        class_names: their names, or ``None``.
        params: number of parameters with the trained head, or ``None`` while the head size is unknown.
        preprocessing: how amplitude chips must be prepared.
        sources: where the file is, in the order in which they are tried; each has a ``"type"``.
        checksum: of the released file, or ``None`` where none was published.
        citation: the paper to cite.
        terms: licence or terms of use.
        training: how the weights were made and what they reached, where this project made them.
    """

    name: str
    network: str
    dataset: DatasetInfo
    num_classes: int | None
    class_names: tuple[str, ...] | None
    params: int | None
    preprocessing: Preprocessing
    sources: tuple[Mapping[str, Any], ...]
    checksum: Checksum | None
    citation: str
    terms: str
    training: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data, for :meth:`from_dict`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelInfo:
        """Rebuild an entry from :meth:`to_dict`, after a round trip through JSON or not.

        Raises:
            ManifestError: a field is missing or unknown.
        """
        try:
            dataset, checksum = dict(data["dataset"]), data["checksum"]
            return cls(
                **{
                    **data,
                    "dataset": DatasetInfo(**{**dataset, "class_names": _tuple(dataset["class_names"])}),
                    "class_names": _tuple(data["class_names"]),
                    "preprocessing": Preprocessing(**data["preprocessing"]),
                    "sources": tuple(data["sources"]),
                    "checksum": Checksum(**checksum) if checksum is not None else None,
                }
            )
        except (KeyError, TypeError) as err:
            raise ManifestError(f"not the description of a model: {err}") from err

    @property
    def tag(self) -> str | None:
        """The part of the name behind the dot, or ``None``."""
        return self.name.partition(".")[2] or None


@dataclass(frozen=True)
class Manifest:
    """The parsed manifest.

    Attributes:
        path: file it was read from.
        models: entries by full name.
        networks: title by network name.
        datasets: data sets by short name.
    """

    path: Path
    models: Mapping[str, ModelInfo]
    networks: Mapping[str, str]
    datasets: Mapping[str, DatasetInfo]


def manifest_path() -> Path:
    """Return the manifest in use: ``SARHUB_MANIFEST``, the installed package's, or the clone's."""
    if override := os.environ.get("SARHUB_MANIFEST"):
        return Path(override).expanduser()
    here = Path(__file__).resolve().parent
    packaged = here / "weights_manifest.json"
    return packaged if packaged.exists() else here.parent / "weights_manifest.json"


def load_manifest(path: str | os.PathLike[str] | None = None) -> Manifest:
    """Read and check a manifest.

    Args:
        path: the JSON file; by default the one of :func:`manifest_path`.

    Returns:
        The parsed manifest; the same object for the same unchanged file.

    Raises:
        ManifestError: the file is missing, is not JSON, lacks a field, or holds an unsafe name.
    """
    file = Path(path) if path is not None else manifest_path()
    try:
        modified = file.stat().st_mtime_ns
    except OSError as err:
        raise ManifestError(f"cannot read the list of weights {file}: {err.strerror}") from err
    return _parse(file, modified)


@lru_cache(maxsize=8)
def _parse(path: Path, modified: int) -> Manifest:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema_version"] != 1:
            raise ManifestError(f"{path} has schema_version {data['schema_version']}; this package reads version 1")
        networks = {name: fields["title"] for name, fields in data["networks"].items()}
        datasets = {name: _dataset(name, fields) for name, fields in data["datasets"].items()}
        models = {name: _model(name, fields, data, datasets) for name, fields in data["models"].items()}
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise ManifestError(f"{path} is not JSON: {err}") from err
    except OSError as err:
        raise ManifestError(f"cannot read the list of weights {path}: {err.strerror}") from err
    except KeyError as err:
        raise ManifestError(f"{path}: missing or unknown {err}") from err
    except (TypeError, AttributeError) as err:
        raise ManifestError(f"{path}: {err}") from err
    return Manifest(path, models, networks, datasets)


def _tuple(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return tuple(names) if names is not None else None


def _dataset(name: str, fields: Mapping[str, Any]) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        title=fields["title"],
        sensor=fields["sensor"],
        num_classes=fields["num_classes"],
        class_names=_tuple(fields["class_names"]),
        multilabel=fields["multilabel"],
    )


def _model(
    name: str, fields: Mapping[str, Any], data: Mapping[str, Any], datasets: Mapping[str, DatasetInfo]
) -> ModelInfo:
    if not _NAME.fullmatch(name):
        raise ManifestError(
            f"{name!r} is not a model name: expected lower-case letters, digits and underscores, "
            "and at most one tag after a dot"
        )
    dataset = datasets[fields["dataset"]]
    if fields["network"] not in data["networks"]:
        raise ManifestError(f"{name}: no network is called {fields['network']!r}")
    num_classes = fields.get("num_classes", dataset.num_classes)
    checksum = fields["checksum"]
    return ModelInfo(
        name=name,
        network=fields["network"],
        dataset=dataset,
        num_classes=num_classes,
        class_names=dataset.class_names if num_classes == dataset.num_classes else None,
        params=fields["params"],
        preprocessing=Preprocessing(**fields.get("preprocessing", data["datasets"][dataset.name]["preprocessing"])),
        sources=tuple(fields["sources"]),
        checksum=Checksum(**checksum) if checksum is not None else None,
        citation=data["citations"][fields["citation"]],
        terms=data["terms"][fields["terms"]],
        training=fields.get("training"),
    )


def list_models(pattern: str = "*", *, network: str | None = None, dataset: str | None = None) -> list[str]:
    """Return the sorted names of the models that match.

    Args:
        pattern: shell-style wildcards over the full name, case-insensitive.
        network: keep only this architecture.
        dataset: keep only this pre-training data set.

    Raises:
        UnknownNameError: no network or data set has that name.

    >>> list_models("resnet*", dataset="ben")
    ['resnet101_ben', 'resnet18_ben', 'resnet50_ben']
    """
    manifest = load_manifest()
    if network is not None:
        _check("network", network, manifest.networks)
    if dataset is not None:
        _check("data set", dataset, manifest.datasets)
    return sorted(
        name
        for name, info in manifest.models.items()
        if fnmatch.fnmatchcase(name, pattern.lower())
        and network in (None, info.network)
        and dataset in (None, info.dataset.name)
    )


def model_info(name: str) -> ModelInfo:
    """Return everything known about one set of weights.

    Args:
        name: full name, as :func:`list_models` gives it.

    Raises:
        UnknownNameError: there is no such model; the message names the closest ones.

    >>> model_info("resnet50_ben").preprocessing.operator
    'ptls'
    """
    models = load_manifest().models
    if name not in models:
        raise UnknownNameError(f"no model is called {name!r}{closest(name, models)} ('sarhub list' shows all)")
    return models[name]


def list_networks() -> list[str]:
    """Return the sorted names of the architectures.

    >>> list_networks()[:3]
    ['densenet121', 'mobilenetv3', 'resnet101']
    """
    return sorted(load_manifest().networks)


def list_datasets() -> list[str]:
    """Return the sorted short names of the pre-training data sets.

    >>> "tsx" in list_datasets()
    True
    """
    return sorted(load_manifest().datasets)


def _check(kind: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise UnknownNameError(f"no {kind} is called {name!r}{closest(name, known)}; known: {', '.join(sorted(known))}")
