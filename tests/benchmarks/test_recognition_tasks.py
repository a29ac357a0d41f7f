"""Recognition on small data in the formats of the target tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import center_crop

import sarhub_models as sarhub
from benchmarks.experiments.initializations import parse_initialization
from benchmarks.experiments.results import read_results
from benchmarks.experiments.runner import finished, run_trials
from benchmarks.recognition import __main__ as command
from benchmarks.recognition.methods import Recognition
from sarhub_models.datasets import MSTAR
from sarhub_models.engine.run import load_run
from sarhub_models.features.probe import classifiers
from tests.datasets.chips import write_chip
from tests.engine.conftest import write_part

from .recognition import SMALL, grid, rows_of, runner, trial


@pytest.mark.slow
def test_frozen_features_of_dsn_patches(tmp_path: Path) -> None:
    write_part(tmp_path / "opensarship.npz", ["Cargo", "Tanker"], per_split=6, seed=0)
    made = grid(tmp_path, "dsn", 10, "data.options.parts=[opensarship]")
    start = parse_initialization("SAR=mobilenetv3_dsn")
    trials = [
        replace(trial(fraction=fraction, variant=method), initialization=start)
        for fraction in (0.5, 1.0)
        for method in ("probe", "knn")
    ]
    experiment = Recognition(tmp_path / "out", made, True)
    assert len({experiment.process(one) for one in trials}) == 1, "the features are computed once"
    run_trials(experiment, trials)
    scores = finished(experiment, trials)
    assert list(scores) == trials
    assert scores[trials[2]]["overall_accuracy"] == 1.0  # stripes are easily told apart
    assert command.title(made, trials[0]) == "dsn opensarship"


def write_mstar(root: Path) -> None:
    """Phoenix files, 150 pixels and more, of two vehicles at both angles."""
    for number, (target, depression) in enumerate(itertools.product(("2s1_gun", "d7_bulldozer"), (17, 15))):
        for chip in range(4):
            file, seed = root / f"{depression}_DEG" / f"HB{number}000{chip}.000", 10 * number + chip
            write_chip(file, seed, (150 + number, 160), target=target, depression=depression)


@pytest.mark.slow
def test_frozen_features_see_the_middle_of_mstar_chips_also_with_weights_that_resize(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_mstar(root)
    one = replace(trial(variant="probe"), initialization=parse_initialization("SAR=mobilenetv3_sar"))
    experiment = Recognition(tmp_path / "out", grid(root, "mstar", 5), True)
    run_trials(experiment, [one])

    model = sarhub.create_model("mobilenetv3_sar", pretrained=True, num_classes=0).eval()
    transform = sarhub.create_transform("mobilenetv3_sar")

    def middles(chips: MSTAR) -> np.ndarray:
        cut = [center_crop(torch.as_tensor(chip.image)[None], [128, 128]) for chip in chips]
        with torch.inference_mode():
            return model(torch.stack([transform(image) for image in cut])).numpy()

    learnt, tested = MSTAR(root, "train"), MSTAR(root, "test")
    fitted = classifiers(len(learnt))["linear"].fit(middles(learnt), learnt.labels)
    wanted = dict(zip(tested.names, fitted.decision_function(middles(tested)), strict=True))
    rows = rows_of(tmp_path / "out" / one.folder / "predictions.csv")
    label = tested.class_names[fitted.classes_[1]]
    assert {row["name"]: float(row[f"score: {label}"]) for row in rows} == pytest.approx(wanted, rel=1e-2, abs=1e-3)


def test_frozen_features_do_not_depend_on_the_training_but_on_the_part_of_the_chips(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_mstar(root)
    usual, longer, smaller = (
        Recognition(tmp_path / "out", grid(root, "mstar", 5, *more), True)
        for more in ((), ("optim.max_lr=0.5",), ("preprocess.crop=64",))
    )
    tuned, frozen = trial(), trial(variant="probe")
    assert usual.provenance(tuned) != longer.provenance(tuned)
    assert usual.provenance(frozen) == longer.provenance(frozen) != smaller.provenance(frozen)


def write_ships(root: Path, lists: Sequence[str], classes: dict[str, int], size: int) -> None:
    """8-bit chips in a folder for each class, and lists of all of them."""
    lines = []
    for name, label in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng([label, number]).rayleigh(20 + label, (size, size)).clip(0, 255)
            file = f"{name}/{name}{number}_{number}_50_10_vv.png"
            Image.fromarray(pixels.astype(np.uint8)).save(root / file)
            lines.append(f"{file} {label}\n")
    for split in lists:
        (root / f"{split}.txt").write_text("".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "assignments", "title", "classes"),
    [
        ("mstar", (), "mstar", 10),
        ("opensarship", (), "opensarship large", 2),
        ("opensarship", ("data.train=low_train",), "opensarship low", 2),
        ("fusar", (), "fusar", 6),
    ],
)
def test_target_tasks_in_their_own_formats(
    dataset: str, assignments: tuple[str, ...], title: str, classes: int, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    if dataset == "mstar":
        write_mstar(root)
    elif dataset == "fusar":
        write_ships(root, ("FuSAR_train6", "FuSAR_test6"), {"Cargo": 0, "Tug": 5}, 140)
    else:
        lists = [f"{size}_{part}" for size in ("large", "low") for part in ("train", "test")]
        write_ships(root, lists, {"Cargo": 11, "Tanker": 12}, 40)
    made = grid(root, dataset, 5, "optim.batch_size=4", "runtime.precision=fp32", *assignments)
    trials = [trial(fraction=fraction, variant=method) for fraction in (0.5, 1.0) for method in ("finetune", "probe")]
    experiment = Recognition(tmp_path / "out", made, True)
    run_trials(experiment, trials)
    assert set(finished(experiment, trials)) == set(trials) and command.title(made, trials[0]) == title
    predictions = [rows_of(tmp_path / "out" / one.folder / "predictions.csv") for one in trials]
    assert all(len(rows) == 8 and len(rows[0]) == 3 + classes for rows in predictions)
    state = load_run(tmp_path / "out" / trials[0].folder).recipe
    assert state.data.fraction == 0.5 and state.data.balanced == (dataset != "mstar")


def run_mstar(root: Path, out: Path, *more: str) -> str:
    """Run 10 and 100 % of the labels; return what was printed."""
    fixed = ["--dataset", "mstar", "--networks", "mobilenetv3", "--init", "none", "--steps", "5", "--seeds", "2"]
    given = ["--data", str(root), "--out", str(out), "--fractions", "0.1,1", *fixed, *more, *SMALL]
    result = runner.invoke(command.app, given)
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.mark.slow
def test_mstar_with_the_list_of_ten_percent_and_without(tmp_path: Path) -> None:
    root, lists, out = tmp_path / "data", tmp_path / "lists", tmp_path / "out"
    write_mstar(root)
    lists.mkdir()
    for split, few in (("train", False), ("test", False), ("train_10", True)):
        chips = MSTAR(root, split.removesuffix("_10"))
        lines = [f"{name} {label}\n" for name, label in zip(chips.names, chips.labels, strict=True)]
        (lists / f"{split}.txt").write_text("".join(lines[1::4] if few else lines))
    printed = run_mstar(root, out, "--lists", str(lists))
    assert "drawn at random" not in printed + (out / "results.md").read_text(encoding="utf-8")
    data = load_run(out / "trials" / "mstar" / "mobilenetv3" / "none-10-1" / "finetune").recipe.data
    assert (data.train, data.fraction) == ("train_10", 1.0)
    assert set(read_results(out / "results.csv")["fraction"]) == {0.1, 1.0}
    (lists / "train_10.txt").unlink()
    printed = run_mstar(root, tmp_path / "drawn", "--lists", str(lists), "--methods", "probe")
    note = f"The labels of 10 % were drawn at random, with each seed anew: {lists / 'train_10.txt'} is not there."
    assert note in printed and note in (tmp_path / "drawn" / "results.md").read_text(encoding="utf-8")
