"""The ablation: a recipe for every trial, the report, and that the command goes on."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks.ablation import study
from benchmarks.ablation.report import SCORES, best_pair, effects, markdown, paired, read_rows, write_report
from benchmarks.ablation.study import LOSSES, MAPPINGS, Recipes, trials_of
from benchmarks.convert import convert
from benchmarks.experiments.runner import run_trials
from benchmarks.experiments.training import TrainingExperiment
from sarhub_models.errors import DataError, OptionError


def rows_of(groups: list[tuple[str, str, str, float, float]], seeds: int = 3) -> pd.DataFrame:
    """Rows of network, loss, mapping, validation and test score, whose scores rise with the seed."""
    rows = []
    for (network, loss, mapping, val, test), seed in itertools.product(groups, range(seeds)):
        described = {"network": network, "loss": loss, "mapping": mapping, "seed": seed, "epochs": 8, "size": 128}
        values = {"val": val + 0.01 * seed, "test": test + 0.02 * seed}
        scores = {f"{s}_{name}": v - 0.01 * i for s, v in values.items() for i, name in enumerate(SCORES)}
        rows.append({**described, **scores})
    return pd.DataFrame(rows)


GROUPS = [("CBL", "PTLS", 0.5, 0.7), ("CBL", "log amplitude", 0.6, 0.4), ("mini-CBL", "PTLS", 0.3, 0.2)]
ROWS = rows_of([("mobilenetv3", *group) for group in GROUPS])


def experiment(data: Path, out: Path, *assignments: str) -> TrainingExperiment:
    return TrainingExperiment(out, Recipes(data, 1, (1, 1), (32, 32), assignments))


@pytest.mark.slow
def test_every_trial_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    trials = trials_of("mobilenetv3", itertools.product(LOSSES, MAPPINGS), 3)
    assert len(trials) == 60 and len({trial.folder for trial in trials}) == 60
    assert all(str(trial.folder).isascii() for trial in trials)
    assert {trial.seed for trial in trials[:20]} == {0}
    made = Recipes(tmp_path, 1, (8, 6), (128, 64))
    recipes = set()
    for trial in trials:
        recipe = made(trial)
        assert (recipe.runtime.seed, recipe.optim.epochs, recipe.augment.cutmix) == (trial.seed, 8, 0)
        recipes.add((recipe.loss, recipe.preprocess.operator, recipe.preprocess.draa, recipe.runtime.seed))
    assert len(recipes) == 60
    sizes = {n: made(trials_of(n, [("CBL", "PTLS")], 1)[0]).preprocess.size for n in ("resnet18", "swin_t")}
    assert sizes == {"resnet18": 64, "swin_t": 128}


def test_the_best_pair_is_chosen_on_the_validation_split() -> None:
    assert best_pair(ROWS) == ("CBL", "log amplitude")  # although another has a higher test score


def test_mean_and_deviation_over_the_seeds() -> None:
    table = markdown(ROWS)
    assert "| mobilenetv3, 128 px, 8 epochs | PTLS | CBL | 0.510 ± 0.010 | **0.720 ± 0.020** |" in table
    assert len(table.splitlines()) == 2 + 3


def test_effects_are_differences_of_runs_alike_in_all_else() -> None:
    gains = paired(ROWS, "mapping", "PTLS", "log amplitude", "test_overall_accuracy")
    assert list(gains) == pytest.approx([-0.3] * 3)
    uneven = pd.concat([ROWS[:3], rows_of([("mobilenetv3", "mini-CBL", "PTLS", 0.3, 0.8)], seeds=1)])
    assert list(paired(uneven, "loss", "CBL", "mini-CBL", "test_macro_f1")) == pytest.approx([0.1])
    assert "| log amplitude | PTLS | 3 | -0.300 ± 0.000 | -0.300 ± 0.000 |" in effects(ROWS)
    assert "| mini-CBL | CBL | 3 | -0.500 ± 0.000 | -0.500 ± 0.000 |" in effects(ROWS)


def test_the_report_can_be_made_again_from_its_table(tmp_path: Path) -> None:
    write_report(ROWS, tmp_path)
    pd.testing.assert_frame_equal(read_rows(tmp_path / "ablation.csv"), ROWS)
    assert (tmp_path / "ablation.md").read_text() == markdown(ROWS)
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_the_data_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download_dsn"):
        run_trials(experiment(tmp_path / "nothing", tmp_path / "out"), trials_of("mobilenetv3", [("CBL", "PTLS")], 1))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_goes_on_where_it_was(tiny_dsn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "LOSSES", {"CBL": LOSSES["CBL"]})
    monkeypatch.setattr(study, "MAPPINGS", {"PTLS": MAPPINGS["PTLS"]})
    monkeypatch.setattr(study, "LARGE", ("resnet18",))
    monkeypatch.setattr(study, "SMALLEST", {"resnet18": 48})
    fixed = ["--data", str(tiny_dsn), "--out", str(tmp_path), "--seeds", "2", "--jobs", "0", "optim.batch_size=16"]
    small = ["--epochs", "1", "--size", "32", "--large-epochs", "1", "--large-size", "32"]
    for _ in range(2):
        result = CliRunner().invoke(study.app, [*fixed, *small])
        assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "ablation.csv")
    assert list(rows[["network", "size", "seed"]].itertuples(index=False, name=None)) == [
        ("mobilenetv3", 32, 0),
        ("mobilenetv3", 32, 1),
        ("resnet18", 48, 0),
        ("resnet18", 48, 1),
    ]
    for trial in trials_of("mobilenetv3", [("CBL", "PTLS")], 2):
        assert len(read_metrics(tmp_path / trial.folder)) == 1
        assert json.loads((tmp_path / trial.folder / "run.json").read_text())["recipe"]["loss"]["name"] == "cbl"


def read_metrics(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metrics.csv")


@pytest.mark.slow
def test_a_finished_run_is_not_run_again_and_another_recipe_is_refused(tiny_dsn: Path, tmp_path: Path) -> None:
    trials = trials_of("mobilenetv3", [("CBL", "PTLS")], 1)
    run_trials(experiment(tiny_dsn, tmp_path), trials)
    file = tmp_path / trials[0].folder / "scores.json"
    before = file.stat().st_mtime_ns
    run_trials(experiment(tiny_dsn, tmp_path), trials)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(OptionError, match=r"holds results of other settings \(optim\.ema"):
        run_trials(experiment(tiny_dsn, tmp_path, "optim.ema=0.5"), trials)
    assert file.stat().st_mtime_ns == before, "it is still there"
    as_before = tmp_path / "mobilenetv3-CBL-PTLS-0"
    file.parent.rename(as_before)
    for name in ("scores.json", "provenance.json"):
        (as_before / name).unlink()
    assert convert(tmp_path) == 1
    before = file.stat().st_mtime_ns
    run_trials(experiment(tiny_dsn, tmp_path), trials)
    assert file.stat().st_mtime_ns == before, "a run of an earlier version is finished"
