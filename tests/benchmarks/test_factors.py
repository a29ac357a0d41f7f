"""The study of what matters: a recipe for every trial, the stages of the command, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.experiments.initializations import NONE, Initialization
from benchmarks.experiments.trial import Trial
from benchmarks.factors import study
from benchmarks.factors.report import write_report
from benchmarks.factors.study import ALL, CLASSES, MAPPINGS, OBJECTIVES, USUAL, Factors, trial
from sarhub_models import engine
from training import recipes

SMALL: dict[str, Any] = {
    "model": {"network": "mobilenetv3"},
    "preprocess": {"size": 32, "operator": "ptls", "mean": 0.3, "std": 0.2},
    "augment": {"geometry": "dihedral", "window": 32},
    "contrast": {"weight": 0.5, "width": 8},
    "optim": {"epoch_steps": 1, "batch_size": 12},
    "evaluation": {"split": None},
    "runtime": {"precision": "fp32"},
}


def chips(root: Path, classes: Sequence[str], count: int) -> Path:
    """Write chips of each class, whose brightness tells it, and the same list for all splits."""
    rng, lines = np.random.default_rng(0), []
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            np.save(root / name / f"{index}.npy", (1 + label) / 4 * rng.random((32, 32), dtype=np.float32))
            lines.append(f"{name}/{index}.npy {label}\n")
    for split in ("train", "val", "test"):
        (root / f"{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task; the recipe of any network trains on three small sources."""
    given: dict[str, dict[str, Any]] = {
        "ships": {"name": "folder", "root": str(chips(tmp_path / "ships", "ab", 6)), "balanced": True},
        "sea": {"name": "folder", "root": str(chips(tmp_path / "sea", "c", 6)), "train": "all", "loss": None},
        "targets": {"name": "targets", "root": ".", "full_scale": 1},
    }
    file = tmp_path / "mobilenetv3_sar.yaml"
    file.write_text(yaml.safe_dump(SMALL | {"data": {"name": "sar", "sources": given}}, sort_keys=False))

    def load(name: str, assignments: Sequence[str]) -> engine.Recipe:
        assert name == "mobilenetv3_sar"
        return recipes.load_recipe(str(file), assignments)

    monkeypatch.setattr(study, "load_recipe", load)
    return chips(tmp_path / "task", "xy", 5)


@pytest.mark.slow
def test_every_factor_changes_what_it_names(small: Path, tmp_path: Path) -> None:
    experiment = Factors(tmp_path / "out", (), ())

    def recipe(*factors: str) -> engine.Recipe:
        return experiment.recipe(trial("mobilenetv3", NONE, *factors))

    both = recipe("both", "DRAA-PTLS", ALL, USUAL)
    assert list(both.data.sources) == ["ships", "sea", "targets"] and both.preprocess.draa
    supervised = recipe("supervised", "log", ALL, USUAL)
    assert list(supervised.data.sources) == ["ships", "targets"] and supervised.contrast.weight == 0
    assert supervised.preprocess.operator == "log_amplitude" and not supervised.preprocess.draa
    alone = recipe("self-supervised", "DRAA of three", "ships", USUAL)
    assert {name: source.loss for name, source in alone.data.sources.items()} == {"sea": None, "targets": None}
    assert alone.augment.operators == ("log_amplitude", "reinhard_devlin", "ptls")
    balanced = recipe("both", "PTLS", ALL, "mini-CBL").data.sources
    assert not balanced["ships"].balanced and balanced["ships"].loss is not None
    assert balanced["ships"].loss.name == "mini_cbl" and balanced["targets"].loss == both.data.sources["targets"].loss
    seen = {recipe(*factors, ALL, USUAL).to_yaml() for factors in [(o, m) for o in OBJECTIVES for m in MAPPINGS]}
    assert len(seen) == len(OBJECTIVES) * len(MAPPINGS)


@pytest.mark.slow
def test_the_command_goes_from_the_grid_to_the_finalists(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "OBJECTIVES", ("both",))
    monkeypatch.setattr(study, "CLASSES", {name: CLASSES[name] for name in (USUAL, "mini-CBL")})
    monkeypatch.setattr(study, "MAPPINGS", {name: MAPPINGS[name] for name in ("log", "DRAA of three")})
    monkeypatch.setattr(study, "IMAGENET", Initialization("DSN", "mobilenetv3_dsn"))
    arguments = ["--data", f"folder:brightness={small}", "--network", "mobilenetv3", "--epochs", "1", "--seeds", "2"]
    arguments += ["--jobs", "0", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(study.app, arguments)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out/factors.csv")
    grid = table[(table["left out"] == ALL) & (table.classes == USUAL) & (table.seed == 0)]
    assert len(grid) == 2 * 2
    best = grid.sort_values("mean").iloc[-1]
    without = table[table["left out"] != ALL]
    assert set(without["left out"]) <= {"ships", "sea", "targets"} and (without.mapping == best.mapping).all()
    finalists = table[(table.objective == "both") & (table.mapping == best.mapping) & (table.start == best.start)]
    finalists = finalists[finalists["left out"] == ALL]
    assert finalists.groupby("classes").seed.apply(sorted).to_dict() == {USUAL: [0, 1], "mini-CBL": [0, 1]}
    assert table["brightness knn"].between(0, 1).all()
    lines = table.drop_duplicates(["start", "objective", "mapping", "left out", "classes"])
    assert result.output.count("both | ") == len(lines)

    def refuse(*_: Any) -> bool:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(study, "train", refuse)
    report = (tmp_path / "out/factors.md").read_text()
    again = CliRunner().invoke(study.app, arguments)
    assert again.exit_code == 0 and report in result.output and report in again.output


def test_the_table_is_ordered_and_has_means_over_seeds(tmp_path: Path) -> None:
    def one(mapping: str, seed: int) -> Trial:
        return trial("mobilenetv3", NONE, "both", mapping, ALL, USUAL, seed=seed)

    found = {one("log", 0): {"a knn": 0.2, "a probe": 0.4}, one("PTLS", 0): {"a knn": 0.5, "a probe": 0.7}}
    found[one("PTLS", 1)] = {"a knn": 0.7, "a probe": 0.7}
    lines = write_report(found, tmp_path).splitlines()
    assert "PTLS" in lines[2] and "0.600 ± 0.141" in lines[2] and "0.650 ± 0.071" in lines[2]
    assert "log" in lines[3] and lines[3].count("±") == 0 and "0.300" in lines[3]
    assert len(pd.read_csv(tmp_path / "factors.csv")) == 3
