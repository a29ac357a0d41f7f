"""What is said of weights, runs and features: the list of weights, descriptions, summaries, journals, recipes."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np

from sarhub_models import model_info
from sarhub_models.engine.recipe import load_recipe
from sarhub_models.engine.run import load_run
from sarhub_models.explain.results import read_folder
from sarhub_models.features.journal import Journal, journal_path
from sarhub_models.transforms import Pipeline
from sarhub_models.weights.sources import source_from
from sarhub_models.zoo import text
from sarhub_models.zoo.entries import ModelInfo
from sarhub_models.zoo.manifest import load_manifest, manifest_path

from .mutation import Sample
from .running import Target

_NAMES = ("mobilenetv3_dsn", "resnet50_ssl4eo.moco", "resnet18_tsx.grsl2020")


@functools.cache
def _manifests() -> tuple[Sample, ...]:
    content = json.loads(manifest_path().read_text(encoding="utf-8"))
    content["models"] = {name: content["models"][name] for name in _NAMES}
    used = {entry["dataset"] for entry in content["models"].values()}
    content["datasets"] = {name: content["datasets"][name] for name in used}
    return (Sample((json.dumps(content).encode(),)),)


def _use(info: ModelInfo) -> None:
    """Do with an entry what commands do."""
    sources = [source_from(entry).text() for entry in info.sources]
    list(text.facts(info, here=None, sources=sources))
    text.example(info.name, info)
    Pipeline.from_dict(json.loads(json.dumps(info.to_dict())))


def _read_manifest(file: Path) -> None:
    for info in load_manifest(file).models.values():
        _use(info)


def _entries() -> tuple[Sample, ...]:
    return tuple(Sample((json.dumps(model_info(name).to_dict()).encode(),)) for name in _NAMES)


def _read_entry(file: Path) -> None:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return
    _use(ModelInfo.from_dict(content))


def _summaries() -> tuple[Sample, ...]:
    content = {
        "recipe": {"model": {"network": "mobilenetv3"}, "data": {"name": "folder", "root": "chips"}},
        **{"mean": 0.5, "std": 0.2, "class_names": ["a", "b"], "multilabel": False, "val": {"overall": 0.5}},
    }
    return (Sample((json.dumps(content).encode(),)),)


def _in_folder(file: Path, name: str) -> Path:
    folder = file.with_suffix("")
    folder.mkdir()
    file.rename(folder / name)
    return folder


def _remove(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()


def _read_summary(file: Path) -> None:
    folder = _in_folder(file, "run.json")
    try:
        load_run(folder)
    finally:
        _remove(folder)


def _explanations() -> tuple[Sample, ...]:
    facts = {
        **{"format": "sarhub-explanation-1", "network": "a", "kind": "gradcam", "names": ["x.npy"], "patch": 4},
        **{"thresholds": [], "settings": {}},
    }
    return (Sample((json.dumps(facts).encode(),)),)


def _read_explanation(file: Path) -> None:
    folder = _in_folder(file, "explain.json")
    try:
        (folder / "maps").mkdir()
        plane = np.zeros((8, 8), np.float32)
        maps = {"amplitude": plane, "target": plane > 1, "shadow": plane > 1, "cam": plane}
        np.savez(folder / "maps" / "x.npy.npz", patches=np.zeros((2, 2), np.int8), **maps)
        found = read_folder(folder)
        assert len(found.names) == len(found.maps)
    finally:
        _remove(folder)


_ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def _journal(out: Path) -> Journal:
    return Journal(out, [Path(__file__)] * 3, ["0", "1", "2"], maker="0" * 64)


@functools.cache
def _journals() -> tuple[Sample, ...]:
    with tempfile.TemporaryDirectory() as folder:
        journal = _journal(Path(folder, "a.safetensors"))
        journal.append(range(3), _ROWS)
        return (Sample(tuple(journal.file.read_bytes().splitlines(keepends=True))),)


def _read_journal(file: Path) -> None:
    out = file.with_suffix(".safetensors")
    file.rename(journal_path(out))
    try:
        for index, row in _journal(out).read().items():
            assert np.array_equal(row, _ROWS[index]), "a changed row was believed"
    finally:
        journal_path(out).unlink()


def _recipes() -> tuple[Sample, ...]:
    text = (
        "model:\n  network: mobilenetv3\ndata:\n  name: folder\n  root: chips\n  workers: 0\n"
        "optim:\n  epochs: 3\n  max_lr: 1.0e-3\n"
    )
    return (Sample((text.encode(),)),)


def _read_recipe(file: Path) -> None:
    load_recipe(str(file))


TARGETS = (
    Target("manifest", ".json", _manifests, _read_manifest),
    Target("entry", ".json", _entries, _read_entry),
    Target("run.json", ".json", _summaries, _read_summary),
    Target("explain.json", ".json", _explanations, _read_explanation),
    Target("journal", ".jsonl", _journals, _read_journal),
    Target("recipe", ".yaml", _recipes, _read_recipe),
)
