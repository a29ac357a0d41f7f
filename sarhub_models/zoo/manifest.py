"""Names become typed entries of ``weights_manifest.json``. Pure Python: importing it loads neither torch nor timm."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ManifestError, UnknownNameError, closest
from .description import require_description, weights_file
from .entries import Checksum, DatasetInfo, Input, ModelInfo, Preprocessing, dataset_from, with_tuples

__all__ = [
    "DEFAULT",
    "Checksum",
    "DatasetInfo",
    "Input",
    "ModelInfo",
    "Preprocessing",
    "list_datasets",
    "list_models",
    "list_networks",
    "load_manifest",
    "model_info",
    "own_file",
]

DEFAULT = "efficientnet_lite0_sar"
"""The weights that commands take where none are named: bundled, and made for amplitude on any scale."""
# A model name becomes a folder of the cache: nothing that could climb out of it, hide, or surprise a shell.
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*(\.[a-z0-9][a-z0-9_-]*)?")


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
    here = Path(__file__).resolve().parents[1]
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
            raise ManifestError(f"it has schema_version {data['schema_version']}; this package reads version 1")
        networks = {name: fields["title"] for name, fields in data["networks"].items()}
        datasets = {name: _dataset(name, fields) for name, fields in data["datasets"].items()}
        models = {name: _model(name, fields, data, datasets) for name, fields in data["models"].items()}
    except ManifestError as err:
        raise ManifestError(f"{path}: {err}") from err
    except (ValueError, RecursionError) as err:
        raise ManifestError(f"{path} is not JSON: {err}") from err
    except OSError as err:
        raise ManifestError(f"cannot read the list of weights {path}: {err.strerror}") from err
    except KeyError as err:
        raise ManifestError(f"{path}: missing or unknown {err}") from err
    except (TypeError, AttributeError) as err:
        raise ManifestError(f"{path}: {err}") from err
    return Manifest(path, models, networks, datasets)


def _dataset(name: str, fields: Mapping[str, Any]) -> DatasetInfo:
    kept = ("title", "sensor", "num_classes", "class_names", "multilabel")
    return dataset_from(
        {"name": name, "other_sensors": fields.get("other_sensors", {}), **{k: fields[k] for k in kept}}
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
    own = {"variants": {}, **data["datasets"][dataset.name], **fields}
    num_classes = fields.get("num_classes", dataset.num_classes)
    checksum = fields["checksum"]
    return ModelInfo(
        name=name,
        network=fields["network"],
        dataset=dataset,
        num_classes=num_classes,
        class_names=dataset.class_names if num_classes == dataset.num_classes else None,
        params=fields["params"],
        preprocessing=Preprocessing(**with_tuples(own["preprocessing"])),
        sources=tuple(fields["sources"]),
        checksum=Checksum(**checksum) if checksum is not None else None,
        citation=data["citations"][fields["citation"]],
        license_text=data["licenses"][fields["license"]],
        training=fields.get("training"),
        input=Input(**with_tuples({"input": {}, **own}["input"])),
        method=fields.get("method", "supervised"),
        variants={tag: Preprocessing(**with_tuples(variant)) for tag, variant in own["variants"].items()},
        code_license=fields.get("code_license"),
        file_size=fields.get("file_size"),
        unverified=fields.get("unverified"),
        access=fields.get("access"),
        tensors_only=fields.get("tensors_only", False),
        answers=fields.get("answers"),
    )


def list_models(
    pattern: str = "*",
    *,
    network: str | None = None,
    dataset: str | None = None,
    sensor: str | None = None,
    bands: str | Sequence[str] | None = None,
    radiometry: str | None = None,
    size: int | None = None,
    license: str | None = None,
    method: str | None = None,
) -> list[str]:
    """Return the sorted names of the models that match every filter.

    Args:
        pattern: shell-style wildcards over the full name, case-insensitive.
        network: keep only this architecture.
        dataset: keep only this pre-training data set.
        sensor: keep only weights trained on images of this radar.
        bands: keep only weights that take exactly these polarizations, in any order: ``"VV"``, ``("VV", "VH")``, or
            ``"single"`` where the release names none.
        radiometry: keep only weights that expect this of the pixels: ``"amplitude"``, ``"db"``, …
        size: keep only weights whose preprocessing makes images of so many pixels a side, or leaves their size alone.
        license: keep only this license; ``"none"`` keeps the weights without one.
        method: keep only weights pre-trained with this method.

    Raises:
        UnknownNameError: nothing in the list has that network, data set, sensor, band, radiometry, license or method.

    >>> list_models("resnet*", dataset="ben")
    ['resnet101_ben', 'resnet18_ben', 'resnet50_ben']
    >>> list_models(bands=("VV", "VH"), license="ODC-BY")
    ['swin_v2_b_satlas.mi', 'swin_v2_b_satlas.si']
    """
    manifest = load_manifest()
    infos = manifest.models.values()
    wanted = None if bands is None else frozenset((bands,) if isinstance(bands, str) else bands)
    if network is not None:
        _check("network", network, manifest.networks)
    if dataset is not None:
        _check("data set", dataset, manifest.datasets)
    if sensor is not None:
        _check("sensor", sensor, {name for info in infos for name in info.dataset.sensors})
    for band in wanted or ():
        _check("band", band, {name for info in infos for name in info.input.bands})
    if radiometry is not None:
        _check("radiometry", radiometry, {info.input.radiometry for info in infos if info.input.radiometry is not None})
    if license is not None:
        _check("license", license, {info.license or "none" for info in infos})
    if method is not None:
        _check("method", method, {info.method for info in infos})
    return sorted(
        info.name
        for info in infos
        if fnmatch.fnmatchcase(info.name, pattern.lower())
        and network in (None, info.network)
        and dataset in (None, info.dataset.name)
        and (sensor is None or sensor in info.dataset.sensors)
        and wanted in (None, frozenset(info.input.bands))
        and radiometry in (None, info.input.radiometry)
        and (size is None or info.preprocessing.side in (None, size))
        and license in (None, info.license or "none")
        and method in (None, info.method)
    )


def model_info(name: str | os.PathLike[str]) -> ModelInfo:
    """Return everything known about one set of weights.

    Args:
        name: full name, as :func:`list_models` gives it; or a file of weights that describes itself, or the folder of
            a run, whose best weights do.

    Raises:
        UnknownNameError: there is no such model; the message names the closest ones.
        FileNotFoundError: there is no such file.
        CheckpointError: the file does not describe itself, or the folder holds no weights.

    >>> model_info("resnet50_ben").preprocessing.operator
    'ptls'
    """
    if (file := own_file(name)) is not None:
        return require_description(file)
    models = load_manifest().models
    if name not in models:
        raise UnknownNameError(f"no model is called {name!r}{closest(str(name), models)} ('sarhub list' shows all)")
    return models[str(name)]


def own_file(name: str | os.PathLike[str]) -> Path | None:
    """Return the file of weights that a path or a run's folder stands for, or ``None`` for a name.

    A registered name is one, whatever file or folder is called alike.

    Raises:
        FileNotFoundError: it can only be a path, and nothing is there.
        CheckpointError: it is a folder without weights.
    """
    return None if isinstance(name, str) and name in load_manifest().models else weights_file(name)


def list_networks() -> list[str]:
    """Return the sorted names of the architectures.

    >>> "resnet50" in list_networks()
    True
    """
    return sorted(load_manifest().networks)


def list_datasets() -> list[str]:
    """Return the sorted short names of the pre-training data sets.

    >>> "tsx" in list_datasets()
    True
    """
    return sorted(load_manifest().datasets)


def _check(kind: str, name: str, known: Iterable[str]) -> None:
    known = sorted(known)
    if name not in known:
        raise UnknownNameError(f"no {kind} is called {name!r}{closest(name, known)}; known: {', '.join(known)}")
