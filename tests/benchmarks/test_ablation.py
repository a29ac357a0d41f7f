from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.ablation import study
from benchmarks.ablation.report import Row, best_pair, effects, group, markdown, paired, read_rows, write_report
from benchmarks.ablation.study import LOSSES, MAPPINGS, Cell, Experiment, grid
from sarhub_models.errors import DataError, OptionError
from training.recipes import load_recipe


def row(network: str, loss: str, mapping: str, seed: int, val: float, test: float) -> Row:
    scores = {"class_average": test - 0.01, "macro_f1": test - 0.02}
    return Row(
        network, loss, mapping, seed, 8, 128, {"overall_accuracy": val, **scores}, {"overall_accuracy": test, **scores}
    )


ROWS = [
    row("mobilenetv3", loss, mapping, seed, val + 0.01 * seed, test + 0.02 * seed)
    for (loss, mapping, val, test), seed in itertools.product(
        [("CBL", "PTLS", 0.5, 0.7), ("CBL", "log amplitude", 0.6, 0.4), ("mini-CBL", "PTLS", 0.3, 0.2)], range(3)
    )
]


def test_every_cell_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    cells = grid(["mobilenetv3"], itertools.product(LOSSES, MAPPINGS), seeds=3)
    assert len(cells) == 60 and len({cell.folder for cell in cells}) == 60
    assert all(cell.folder.isascii() for cell in cells)
    assert {cell.seed for cell in cells[:20]} == {0}
    experiment = Experiment(tmp_path, tmp_path, jobs=1, threads=1)
    recipes = set()
    for cell in cells:
        arguments = experiment.command(cell, epochs=8, size=128)
        recipe = load_recipe(arguments[3], arguments[4 : arguments.index("--out")])
        assert (recipe.runtime.seed, recipe.optim.epochs, recipe.augment.cutmix) == (cell.seed, 8, 0)
        recipes.add((recipe.loss, recipe.preprocess.operator, recipe.preprocess.draa, recipe.runtime.seed))
    assert len(recipes) == 60


def test_the_best_pair_is_chosen_on_the_validation_split() -> None:
    assert best_pair(ROWS, "mobilenetv3") == ("CBL", "log amplitude")  # although another has a higher test score


def test_mean_and_deviation_over_the_seeds() -> None:
    first = group(ROWS)[0]
    assert first.spread(lambda r: r.test["overall_accuracy"]) == pytest.approx((0.72, 0.02))
    table = markdown(ROWS)
    assert "| mobilenetv3, 128 px, 8 epochs | PTLS | CBL | 0.510 ± 0.010 | **0.720 ± 0.020** |" in table
    assert len(table.splitlines()) == 2 + 3


def test_effects_are_differences_of_runs_alike_in_all_else() -> None:
    assert paired(ROWS, "mapping", "PTLS", "log amplitude", "overall_accuracy") == pytest.approx([-0.3] * 3)
    uneven = [*ROWS[:3], row("mobilenetv3", "mini-CBL", "PTLS", 0, 0.3, 0.8)]
    assert paired(uneven, "loss", "CBL", "mini-CBL", "macro_f1") == pytest.approx([0.1])  # the seed that both have
    assert "| log amplitude | PTLS | 3 | -0.300 ± 0.000 | -0.300 ± 0.000 |" in effects(ROWS)
    assert "| mini-CBL | CBL | 3 | -0.500 ± 0.000 | -0.500 ± 0.000 |" in effects(ROWS)


def test_the_report_can_be_made_again_from_its_table(tmp_path: Path) -> None:
    write_report(ROWS, tmp_path)
    again = read_rows(tmp_path / "ablation.csv")
    assert [(r.network, r.loss, r.mapping, r.seed, r.epochs, r.size) for r in again] == [
        (r.network, r.loss, r.mapping, r.seed, r.epochs, r.size) for r in ROWS
    ]
    assert [r.test for r in again] == [pytest.approx(r.test) for r in ROWS]
    assert [r.val for r in again] == [pytest.approx(r.val) for r in ROWS]
    assert (tmp_path / "ablation.md").read_text() == markdown(ROWS)
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_a_failing_run_is_named_with_its_output(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path / "nothing", tmp_path / "out", jobs=1, threads=1)
    cell = Cell("mobilenetv3", "CBL", "PTLS", 0)
    with pytest.raises(DataError, match="1 of 1 runs failed"):
        experiment.train([cell], epochs=1, size=32, title="test")
    assert "download_dsn" in (tmp_path / "out" / cell.folder / "log.txt").read_text()


def test_the_command_goes_on_where_it_was(tiny_dsn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "LOSSES", {"CBL": LOSSES["CBL"]})
    monkeypatch.setattr(study, "MAPPINGS", {"PTLS": MAPPINGS["PTLS"]})
    monkeypatch.setattr(study, "LARGE", ("resnet18",))
    monkeypatch.setattr(study, "SMALLEST", {"resnet18": 48})
    small = (
        "--data",
        str(tiny_dsn),
        "--out",
        str(tmp_path),
        "--epochs",
        "1",
        "--large-epochs",
        "1",
        "--large-size",
        "32",
        "--seeds",
        "2",
        "--size",
        "32",
    )
    monkeypatch.setattr(Experiment, "command", with_assignments(Experiment.command, "optim.batch_size=16"))
    for _ in range(2):
        result = CliRunner().invoke(study.app, [*small, "--jobs", "2"])
        assert result.exit_code == 0, result.output
    with (tmp_path / "ablation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["network"], r["size"], r["seed"]) for r in rows] == [
        ("mobilenetv3", "32", "0"),
        ("mobilenetv3", "32", "1"),
        ("resnet18", "48", "0"),
        ("resnet18", "48", "1"),
    ]
    assert {(r["loss"], r["mapping"]) for r in rows} == {("CBL", "PTLS")}
    for cell in grid(["mobilenetv3"], [("CBL", "PTLS")], 2):
        assert (tmp_path / cell.folder / "log.txt").read_text().count("epoch 1/1") == 1  # trained once
        assert json.loads((tmp_path / cell.folder / "run.json").read_text())["recipe"]["loss"]["name"] == "cbl"


def test_a_run_of_another_recipe_is_refused(tiny_dsn: Path, tmp_path: Path) -> None:
    experiment, cell = Experiment(tiny_dsn, tmp_path, jobs=1, threads=1), Cell("mobilenetv3", "CBL", "PTLS", 0)
    experiment.train([cell], epochs=1, size=32, title="test")
    experiment.train([cell], epochs=1, size=32, title="test")
    log = tmp_path / cell.folder / "log.txt"
    assert log.read_text().count("epoch 1/1") == 1
    changed = with_assignments(Experiment.command, "optim.ema=0.5")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OptionError, match=r"another run \(optim.ema"):
        patch.setattr(Experiment, "command", changed)
        experiment.train([cell], epochs=1, size=32, title="test")
    assert experiment.row(cell).epochs == 1, "it is still there"


def with_assignments(command: object, *assignments: str) -> object:
    def changed(self: Experiment, cell: Cell, epochs: int, size: int) -> list[str]:
        made: list[str] = command(self, cell, epochs, size)  # type: ignore[operator]
        return [*made[:4], *assignments, *made[4:]]

    return changed
