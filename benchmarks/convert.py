"""Results of earlier versions in today's folders: ``python -m benchmarks.convert OUT``.

Folders of trials move below ``OUT/trials`` and get their ``provenance.json``; the command that made them then finds
them finished, or goes on. ``OUT`` is what that command had as ``--out``.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from benchmarks.ablation.study import LOSSES, MAPPINGS, trials_of
from benchmarks.detection.task import TASK as DETECTION
from benchmarks.experiments.command import command, new_app
from benchmarks.experiments.initializations import Initialization
from benchmarks.experiments.provenance import Provenance, RecipeInputs, recipe_settings, write_record
from benchmarks.experiments.runner import SCORES
from benchmarks.experiments.trial import Trial
from benchmarks.mm.run import CONFIG, read_config
from benchmarks.mm.task import settings_of
from benchmarks.recognition.grid import METHODS
from benchmarks.recognition.methods import frozen_settings
from benchmarks.segmentation.task import TASK as SEGMENTATION
from sarhub_models.engine.recipe import Recipe, completed
from sarhub_models.engine.run import SUMMARY
from sarhub_models.errors import DataError
from sarhub_models.io.files import digests
from sarhub_models.zoo.description import BEST

__all__ = ["convert"]

_METHODS = {**dict.fromkeys(METHODS), "neighbours": "knn"}  # new names of methods
# What configurations named for their own use.
_HELPERS = {"channels", "classes", "data", "data_root", "evaluated", "evaluator", "head", "load", "loader"}
_HELPERS |= {"max_epochs", "palette", "prepared", "stopping", "strides"}
app = new_app()


def convert(out: Path) -> int:
    """Move the folders of trials of earlier versions to where they are now, and return their number.

    Raises:
        DataError: one is there already.
    """
    kinds = (_recognition(out), _mm(out), _ablation(out), _explanation(out))
    found = list(itertools.chain(*kinds))
    for folder, trial, provenance, scores in found:
        target = out / trial.folder
        if target.exists():
            raise DataError(f"{folder} would become {target}, which is there: remove one of them")
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        provenance.keep(target)
        (target / SCORES).unlink(missing_ok=True)
        if scores:
            write_record(target / SCORES, {"scores": scores})
    return len(found)


Found = Iterator[tuple[Path, Trial, Provenance, Mapping[str, float] | None]]


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def _trial(folder: str, dataset: str, variant: str = "") -> Trial:
    """Return the trial of a folder ``NETWORK-LABEL-PERCENT-SEED``."""
    network, _, rest = folder.partition("-")
    label, percent, seed = rest.rsplit("-", 2)
    return Trial("", dataset, network, Initialization(label, label), float(percent) / 100, int(seed), variant)


def _recognition(out: Path) -> Found:
    if (out / "split" / "split.json").is_file() and "share" in (record := _read(out / "split" / "split.json")):
        write_record(out / "split" / "split.json", {"test_share": record["share"], "chips": record["chips"]})
    for folder in sorted(out.glob("cells/*/*/")):
        done = _read(folder / SCORES)
        if done:
            settings = _settings(done["settings"])
        else:  # a training that was interrupted
            settings = _settings(yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8")))
        inputs = done.get("inputs") or _read(folder / "inputs.json")
        provenance = Provenance(settings, {name: inputs[name] for name in ("train", "test")}, inputs["weights"])
        (folder / "inputs.json").unlink(missing_ok=True)
        variant = _METHODS[folder.name] or folder.name
        if variant != "finetune" and settings["preprocess"]["crop"] is None:  # others saw other parts of the chips
            provenance = replace(provenance, settings=frozen_settings(settings))
        yield folder, _trial(folder.parent.name, settings["data"]["name"], variant), provenance, done.get("scores")


def _mm(out: Path) -> Found:
    for file in sorted((*out.glob(f"*/*/*/{CONFIG}"), *out.glob(f"runs/*/*/*/{CONFIG}"))):
        folder = file.parent
        dataset, model, (label, _, seed) = folder.parts[-3], folder.parts[-2], folder.name.rpartition("-")
        notes = {name: folder / f"{name}.txt" for name in ("data", "weights")}
        texts = {name: note.read_text(encoding="utf-8").strip() for name, note in notes.items() if note.is_file()}
        settings = {key: value for key, value in settings_of(read_config(file)).items() if key not in _HELPERS}
        scores, task = _read(folder / SCORES), DETECTION if settings.get("default_scope") == "mmdet" else SEGMENTATION
        trial = Trial(task.name, dataset, model, Initialization(label, label), seed=int(seed))
        provenance = Provenance(settings, {"folder": texts.get("data")}, texts.get("weights"))
        yield folder, trial, provenance, task.scores(scores) if scores else None


def _ablation(out: Path) -> Found:
    for pair in itertools.product(LOSSES, MAPPINGS):
        (trial,) = trials_of("", [pair], 1)
        name = re.sub(r"[^\w-]+", "_", "-".join(pair).replace("–", "-"))
        for file in sorted(out.glob(f"*-{name}-*/{SUMMARY}")):
            network, _, seed = file.parent.name.removesuffix(name).partition(f"-{name}-")
            yield file.parent, replace(trial, network=network, seed=int(seed)), *_run(file.parent)


def _explanation(out: Path) -> Found:
    for file in sorted(out.glob(f"runs/*/{SUMMARY}")):
        network, label, seed = file.parent.name.split("-")
        trial = _trial(f"{network}-{label}-100-{seed}", "dsn", "finetune")
        weights = digests(file.parent / BEST).sha256
        yield file.parent, trial, *_run(file.parent)
        for kind in ("kp", "gradcam", "layercam"):
            if facts := _read(out / kind / file.parent.name / "explain.json"):
                steps = facts["settings"].get("estimator", {}).get("steps")
                settings = {"chips": facts["names"], **({"steps": steps} if kind == "kp" else {})}
                maps = replace(trial, variant=kind)
                yield out / kind / file.parent.name, maps, Provenance(settings, weights=weights), None


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    values = json.loads(json.dumps(recipe).replace('"evaluation": ', '"eval_value": '))
    values["evaluation"] = values.pop("eval_value")  # the section
    return recipe_settings(Recipe.model_validate(completed(values)))


def _run(folder: Path) -> tuple[Provenance, Mapping[str, float] | None]:
    """Return provenance and scores of a finished training."""
    summary, test = _read(folder / SUMMARY), _read(folder / "test.json")
    settings = _settings(summary["recipe"])
    data = {name: digest for name, digest in summary["data"].items() if digest is not None}
    if not test:
        return Provenance(settings, data), None
    provenance = Provenance(
        settings, {**data, "test": test["inputs"]["samples"]}, RecipeInputs().weights(settings["model"]["init"])
    )
    scores = {name: value for name, value in test.items() if name not in ("skipped", "inputs")}
    return provenance, {**{f"val_{name}": value for name, value in summary["val"].items()}, **scores}


@command(app)
def main(out: Annotated[Path, typer.Argument(help="Folder of an experiment's output.")]) -> None:
    """Convert the results of earlier versions; again is harmless."""
    typer.echo(f"{convert(out)} trials converted in {out}")


if __name__ == "__main__":
    app()
