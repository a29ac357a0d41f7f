"""Recognition on simulated chips: what is run, what is not run again, and what comes out."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from benchmarks.recognition import __main__ as command
from benchmarks.recognition.benchmark import make_benchmark
from benchmarks.recognition.cells import Frozen, _class_scores, finished
from benchmarks.recognition.grid import METHODS, Cell, Grid, cells_of, own_split
from benchmarks.recognition.starts import Start, parse_start, starts_of
from benchmarks.results import read_results
from sarhub_models.datasets import FolderDataset
from sarhub_models.errors import DataError, OptionError, SarHubError, UnknownNameError
from sarhub_models.probe import classifiers
from sarhub_models.simulate import simulate_chips
from tests.datasets.chips import write_chip
from tests.training.conftest import CHILDREN, write_part
from training.data import open_training
from training.network import build_network
from training.recipe import load_recipe
from training.run import load_run

CLASSES = ("forest", "ship", "urban")
SMALL = ("preprocess.size=32", "optim.batch_size=8", "runtime.precision=fp32")
runner = CliRunner()


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of three classes, 12 chips of 32 pixels each."""
    root = tmp_path_factory.mktemp("data") / "chips"
    images, labels, names = simulate_chips(12, 32)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        if names[label] in CLASSES:
            (root / names[label]).mkdir(parents=True, exist_ok=True)
            np.save(root / names[label] / f"chip {index}.npy", image)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the user's own: random weights of another seed."""
    file = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    network = build_network(load_recipe("mobilenetv3_folder").model, 4, 32, seed=9)
    save_file(network.state_dict(), file)
    return file


def arguments(chips: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--data", str(chips), "--networks", "mobilenetv3", "--seeds", "2", "--out", str(out), *SMALL]
    usual = {"--fractions": "0.5,1", "--steps": "5"}
    return [*fixed, *(part for option in usual.items() if option[0] not in more for part in option), *more]


def run(chips: Path, out: Path, *more: str) -> Any:
    return runner.invoke(command.app, arguments(chips, out, *more))


@pytest.fixture(scope="module")
def done(chips: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark; to be copied by those who change it."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    result = run(chips, out, "--init", "none", "--init", f"mine={weights}")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "out"))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def times(out: Path) -> dict[str, int]:
    """When each result was written."""
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in out.glob("cells/*/*/scores.json")}


def test_every_cell_is_scored_and_all_is_left_that_is_promised(done: Path) -> None:
    results = read_results(done / "results.csv")
    assert len(results) == 3 * 2 * 2 * 2 * 3  # methods, starts, fractions, seeds, scores
    assert {r.task for r in results} == set(METHODS.values())
    assert {(r.init, r.fraction, r.seed) for r in results} == {
        (init, fraction, seed) for init in ("none", "mine") for fraction in (0.5, 1.0) for seed in (0, 1)
    }
    assert {r.dataset for r in results} == {"chips"} and all(0 <= r.value <= 1 for r in results)
    text = (done / "results.md").read_text(encoding="utf-8")
    assert "### recognition, linear probe, chips: overall accuracy" in text
    assert "| network | init | 50 % | 100 % |" in text and "| mobilenetv3 | 50 % | mine | none |" in text
    pictures = [*(done / f"accuracy_{method}.png" for method in METHODS), *(done / "confusion").iterdir()]
    assert len(pictures) == 3 + 3 * 2 * 2
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_predictions_are_those_that_were_scored(done: Path, chips: Path) -> None:
    test = FolderDataset(chips, "test", lists=done / "split")
    expected = {name: CLASSES[label] for name, label in zip(test.names, test.labels, strict=True)}
    for folder in done.glob("cells/*/*/"):
        stored = json.loads((folder / "scores.json").read_text())
        rows = rows_of(folder / "predictions.csv")
        assert {row["name"]: row["label"] for row in rows} == expected
        right = [row["label"] == row["prediction"] for row in rows]
        assert stored["scores"]["overall_accuracy"] == pytest.approx(np.mean(right))
        for row in rows:
            scores = {name: float(row[f"score: {name}"]) for name in CLASSES}
            assert max(scores, key=lambda name: scores[name]) == row["prediction"]
            if folder.name != "probe":
                assert sum(scores.values()) == pytest.approx(1, abs=1e-4)


def test_frozen_features_tell_simulated_scenes_apart(done: Path) -> None:
    values = [r.value for r in read_results(done / "results.csv") if "probe" in r.task and r.fraction == 1]
    assert np.mean(values) > 0.6


def test_starts_matter_and_so_do_seeds(done: Path) -> None:
    def bodies(start: str) -> list[torch.Tensor]:
        files = [done / "cells" / f"mobilenetv3-{start}-100-{seed}" / "finetune" for seed in (0, 1)]
        assert not any((file / "last.pt").exists() for file in files), "it is of no use any more"
        return [load_file(file / "best.safetensors")["blocks.0.0.conv_dw.weight"] for file in files]

    none, mine = bodies("none"), bodies("mine")
    assert (mine[0] - mine[1]).abs().mean() < 0.3 * (none[0] - none[1]).abs().mean()
    assert not torch.equal(mine[0], mine[1])


def test_what_is_finished_is_not_run_again(copy: Path, chips: Path, weights: Path) -> None:
    before = times(copy)
    shutil.rmtree(copy / "confusion")
    result = run(chips, copy, "--init", "none", "--init", f"mine={weights}", "--threads", "2")
    assert result.exit_code == 0 and times(copy) == before
    assert (copy / "confusion").is_dir(), "the report is made again"


def damage(copy: Path) -> set[str]:
    """Damage some results, each in another way; return which."""
    cells = copy / "cells"
    scores = [cells / "mobilenetv3-mine-50-1" / method / "scores.json" for method in METHODS]
    for file in scores:
        file.write_bytes(file.read_bytes()[:40])
    scores.append(cells / "mobilenetv3-mine-100-0" / "probe" / "scores.json")
    scores[-1].write_text("[1, 2]")
    scores.append(cells / "mobilenetv3-none-50-0" / "finetune" / "scores.json")
    (scores[-1].parent / "predictions.csv").unlink()
    scores.append(cells / "mobilenetv3-none-100-1" / "finetune" / "scores.json")
    (scores[-1].parent / "best.safetensors").unlink()  # has to be trained again
    scores[-1].unlink()
    return {str(file.relative_to(copy)) for file in scores}


def test_a_damaged_cell_is_run_again_and_no_other(copy: Path, chips: Path, weights: Path) -> None:
    before = times(copy)
    whole = {file: file.read_bytes() for file in copy.glob("cells/*/*/predictions.csv")}
    damaged = damage(copy)
    result = run(chips, copy, "--init", "none", "--init", f"mine={weights}")
    assert result.exit_code == 0, result.output
    assert {name for name, when in times(copy).items() if before[name] != when} == damaged
    assert {file: file.read_bytes() for file in whole} == whole


def test_a_failed_cell_is_named_with_its_log_and_the_others_go_on(chips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "cells" / "mobilenetv3-none-100-0" / "finetune"
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(b"damaged")
    result = run(chips, tmp_path / "out", "--init", "none", "--methods", "finetune")
    assert result.exit_code == 1
    assert f"mobilenetv3-none-100-0, finetune: status 1, see {folder / 'log.txt'}" in result.output
    assert "last.pt cannot be read" in (folder / "log.txt").read_text()
    assert len(times(tmp_path / "out")) == 3
    results = read_results(tmp_path / "out" / "results.csv")
    assert {(r.fraction, r.seed) for r in results} == {(0.5, 0), (0.5, 1), (1.0, 1)}
    (folder / "last.pt").unlink()
    assert run(chips, tmp_path / "out", "--init", "none", "--methods", "finetune").exit_code == 0


def test_other_settings_in_the_same_folder_are_refused(copy: Path, chips: Path, weights: Path) -> None:
    before = times(copy)
    for change in (("--steps", "20"), ("optim.max_lr=0.5",)):
        result = run(chips, copy, "--init", "none", "--init", f"mine={weights}", *change)
        assert result.exit_code == 1
        assert "holds results of other settings (optim." in result.output and "delete it" in result.output
    assert times(copy) == before


def test_weights_may_be_discarded(chips: Path, tmp_path: Path) -> None:
    cut = ("--init", "none", "--methods", "finetune", "--seeds", "1", "--fractions", "1", "--no-keep-weights")
    assert run(chips, tmp_path / "out", *cut).exit_code == 0
    (folder,) = tmp_path.glob("out/cells/*/finetune")
    assert not (folder / "best.safetensors").exists() and (folder / "scores.json").exists()
    before = times(tmp_path / "out")
    assert run(chips, tmp_path / "out", *cut).exit_code == 0 and times(tmp_path / "out") == before


# ------------------------------------------------------------------------------------------------ stop and go on


def start(chips: Path, out: Path) -> BaseProcess:
    more = ("--init", "none", "--methods", "finetune", "--jobs", "1", "--steps", "50", "--fractions", "1")
    child = CHILDREN.Process(target=command.app, kwargs={"args": arguments(chips, out, *more)})
    child.start()
    return child


def wait_for(files: Callable[[], Iterable[Path]], child: BaseProcess, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while child.is_alive() and not list(files()):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_benchmark_goes_on_where_it_was(number: int, chips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = start(chips, out)
    wait_for(lambda: out.glob("cells/*-0/finetune/scores.json"), child)
    wait_for(lambda: out.glob("cells/*-1/finetune/last.pt"), child)
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join(120)
    assert child.exitcode == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    second = out / "cells" / "mobilenetv3-none-100-1" / "finetune"
    until = time.monotonic() + 60
    while not (second / "interrupted").exists():  # the run ends with its parent
        assert time.monotonic() < until and not (second / "scores.json").exists()
        time.sleep(0.05)
    before = times(out)
    child = start(chips, out)
    child.join(240)
    assert child.exitcode == 0
    after = times(out)
    assert len(after) == 2 and {name: after[name] for name in before} == before
    assert "stopped" in (second / "log.txt").read_text(), "it went on with the same run"


def test_two_commands_in_one_folder_are_refused(copy: Path, chips: Path) -> None:
    from filelock import FileLock

    with FileLock(copy / ".lock"):
        result = run(chips, copy, "--init", "none")
    assert result.exit_code == 1 and "another command works in" in result.output


# --------------------------------------------------------------------------------------------- grid and recipes


def grid(data: Path, dataset: str = "folder", steps: int | None = 100, *assignments: str) -> Grid:
    return Grid(dataset, data, None, steps, 1, assignments)


def cell(network: str = "mobilenetv3", fraction: float = 1.0, seed: int = 0) -> Cell:
    return Cell(network, Start("none", "none"), fraction, seed)


def test_the_recipe_of_a_cell(tmp_path: Path) -> None:
    recipe = grid(tmp_path, "folder", 100, "resnet18:preprocess.size=64", "optim.max_lr=0.1").recipe(
        cell("resnet18", 0.3, 4)
    )
    assert (recipe.model.init, recipe.runtime.seed, recipe.data.fraction) == ("none", 4, 0.3)
    assert (recipe.preprocess.size, recipe.optim.max_lr, recipe.optim.name) == (64, 0.1, "sgd")
    assert (recipe.optim.epochs, recipe.optim.step_epochs) == (5, 1)
    other = grid(tmp_path, "folder", 100, "resnet18:preprocess.size=64").recipe(cell())
    assert other.preprocess.size == 128


@pytest.mark.parametrize(("fraction", "steps"), [(1.0, 100), (0.25, 50), (0.01, 10), (0.0001, 5)])
def test_few_labels_get_fewer_steps_but_more_passes(fraction: float, steps: int, tmp_path: Path) -> None:
    optim = grid(tmp_path).recipe(cell(fraction=fraction)).optim
    assert optim.epoch_steps is not None and optim.epoch_steps * optim.epochs == steps


def test_without_a_budget_it_is_the_paper(tmp_path: Path) -> None:
    optim = grid(tmp_path, "mstar", None).recipe(cell(fraction=0.1)).optim
    assert (optim.epochs, optim.step_epochs, optim.epoch_steps) == (500, 100, None)


def test_a_published_list_of_a_fraction_is_taken(tmp_path: Path) -> None:
    (tmp_path / "train_10.txt").touch()
    made = grid(tmp_path, "mstar", None)
    assert made.recipe(cell(fraction=0.1)).data.train == "train_10"
    assert made.recipe(cell(fraction=0.1)).data.fraction == 1
    assert (made.recipe(cell(fraction=0.3)).data.train, made.recipe(cell(fraction=0.3)).data.fraction) == ("train", 0.3)
    elsewhere = replace(made, lists=tmp_path, data=tmp_path / "other")
    assert elsewhere.recipe(cell(fraction=0.1)).data.train == "train_10"


def test_fractions_are_stratified_and_nested(chips: Path, done: Path) -> None:
    lists = done / "split"
    names: list[set[str]] = []
    for fraction in (0.25, 0.5, 1.0):
        recipe = replace(grid(chips), lists=lists).recipe(cell(fraction=fraction))
        source = open_training(recipe.data, recipe.runtime.seed)
        assert source.counts.tolist() == [round(8 * fraction)] * 3
        names.append({name for batch in source.evaluation(100) for name in batch.names})
    assert names[0] < names[1] < names[2]


def test_ones_own_chips_are_split_once_by_class(chips: Path, tmp_path: Path) -> None:
    folder = own_split(chips, tmp_path, 0.25)
    parts = [FolderDataset(chips, split, lists=folder) for split in ("train", "test")]
    assert [part.counts().tolist() for part in parts] == [[9, 9, 9], [3, 3, 3]]
    assert not set(parts[0].names) & set(parts[1].names)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert own_split(chips, tmp_path, 0.5) == folder
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_ones_own_lists_come_first(chips: Path, tmp_path: Path) -> None:
    root = shutil.copytree(chips, tmp_path / "chips")
    (root / "train.txt").touch()
    assert own_split(root, tmp_path / "out", 0.3) == root and not (tmp_path / "out").exists()


def test_a_class_of_one_chip_cannot_be_split(tmp_path: Path) -> None:
    for name, count in (("a", 2), ("b", 1)):
        (tmp_path / name).mkdir()
        for index in range(count):
            np.save(tmp_path / name / f"{index}.npy", np.zeros((4, 4), np.float32))
    with pytest.raises(OptionError, match="b holds one chip"):
        own_split(tmp_path, tmp_path / "out", 0.3)


# ------------------------------------------------------------------------------------------------------- starts


def test_starts_are_read_with_label_and_network(weights: Path) -> None:
    assert parse_start("none") == Start("none", "none")
    assert parse_start("imagenet") == Start("imagenet", "imagenet")
    assert parse_start("mobilenetv3_dsn") == Start("mobilenetv3_dsn", "mobilenetv3_dsn", "mobilenetv3")
    assert parse_start("SAR=mobilenetv3_dsn") == Start("SAR", "mobilenetv3_dsn", "mobilenetv3")
    assert parse_start(str(weights)) == Start("mine", str(weights))
    assert parse_start(f"resnet18:my own={weights}") == Start("my own", str(weights), "resnet18")


def test_the_folder_of_a_run_brings_network_and_preprocessing(done: Path) -> None:
    folder = done / "cells" / "mobilenetv3-none-100-0" / "finetune"
    read = parse_start(f"SAR={folder}")
    assert (read.network, read.init) == ("mobilenetv3", str(folder / "best.safetensors"))
    transform: Any = read.transform()
    assert (transform.mean, transform.size) == (load_run(folder).mean, 32)
    registered: Any = parse_start("mobilenetv3_dsn").transform()
    assert registered.size == 128
    assert parse_start("none").transform() is None


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("mobilenetv3_dns", UnknownNameError, "did you mean 'mobilenetv3_dsn'"),
        ("SAR=", OptionError, "LABEL="),
        ("=none", OptionError, "LABEL="),
        ("resnet18:mobilenetv3_dsn", OptionError, "weights of mobilenetv3, not of resnet18"),
        (".", DataError, "expected a finished run"),
    ],
)
def test_a_start_that_is_none_is_named(text: str, error: type[SarHubError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_start(text)


def test_starts_go_to_the_networks_that_they_fit() -> None:
    starts = [parse_start(text) for text in ("none", "mobilenetv3_dsn", "resnet18:SAR=resnet18_tsx")]
    found = starts_of(starts, ["mobilenetv3", "resnet18"])
    assert {n: [s.label for s in found[n]] for n in found} == {
        "mobilenetv3": ["none", "mobilenetv3_dsn"],
        "resnet18": ["none", "SAR"],
    }
    with pytest.raises(OptionError, match="SAR holds weights of resnet18, which is not among --networks mobilenetv3"):
        starts_of(starts, ["mobilenetv3"])
    with pytest.raises(OptionError, match="swin_t has nothing to start from"):
        starts_of(starts[1:], ["mobilenetv3", "resnet18", "swin_t"])
    with pytest.raises(OptionError, match="two initialisations called 'none'"):
        starts_of([starts[0], starts[0]], ["resnet18"])


def test_labels_must_give_folders_of_their_own() -> None:
    starts = {"resnet18": [Start("a b", "none"), Start("a/b", "none")]}
    with pytest.raises(OptionError, match="labels must differ"):
        cells_of(starts, [1.0], 1)


def test_cells_come_seed_by_seed() -> None:
    cells = cells_of({"resnet18": [Start("none", "none")]}, [1.0, 0.1], 2)
    assert [c.name for c in cells] == [f"resnet18-none-{p}-{s}" for s in (0, 1) for p in ("10", "100")]


# -------------------------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize("method", ["linear", "neighbours"])
def test_scores_of_classes_that_were_not_learnt_are_missing(method: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 10)
    features = rng.normal(size=(20, 4)) + labels[:, None]
    scores = _class_scores(classifiers(20)[method].fit(features, labels), features, 4)
    assert scores.shape == (20, 4) and np.isnan(scores[:, [1, 3]]).all()
    np.testing.assert_array_equal(
        np.nanargmax(scores, axis=1), classifiers(20)[method].fit(features, labels).predict(features)
    )


def test_weights_that_do_not_fit_are_known_before_anything_runs(chips: Path, done: Path, weights: Path) -> None:
    cells = [Cell("resnet18", Start("mine", str(weights)), 1.0, 0)]
    benchmark = make_benchmark(replace(grid(chips), lists=done / "split"), cells, ["finetune"], done / "other", True)
    with pytest.raises(OptionError, match="holds a mobilenetv3, the recipe trains a resnet18"):
        benchmark.jobs()


def test_frozen_features_of_dsn_patches(tmp_path: Path) -> None:
    write_part(tmp_path / "opensarship.npz", ["Cargo", "Tanker"], per_split=6, seed=0)
    made = grid(tmp_path, "dsn", 10, "data.options.parts=[opensarship]")
    start = parse_start("SAR=mobilenetv3_dsn")
    cells = [Cell("mobilenetv3", start, fraction, 0) for fraction in (0.5, 1.0)]
    benchmark = make_benchmark(made, cells, ["probe", "neighbours"], tmp_path / "out", True)
    ((job, _),) = benchmark.jobs()
    assert isinstance(job, Frozen) and len(job.cells) == 2
    job.run()
    assert len(benchmark.results()) == 4 and benchmark.jobs() == []
    found = finished(tmp_path / "out" / "cells" / cells[1].name / "probe", made.recipe(cells[1]))
    assert found is not None and found.scores["overall_accuracy"] == 1.0  # stripes are easily told apart
    assert command.title(benchmark) == "dsn opensarship"


def write_mstar(root: Path) -> None:
    """Phoenix files, 150 pixels and more, of two vehicles at both angles."""
    for number, (target, depression) in enumerate(itertools.product(("2s1_gun", "d7_bulldozer"), (17, 15))):
        for chip in range(4):
            file, seed = root / f"{depression}_DEG" / f"HB{number}000{chip}.000", 10 * number + chip
            write_chip(file, seed, (150 + number, 160), target=target, depression=depression)


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
    cells = [replace(cell(), fraction=fraction) for fraction in (0.5, 1.0)]
    benchmark = make_benchmark(made, cells, ["finetune", "probe"], tmp_path / "out", True)
    for job, _ in benchmark.jobs():
        job.run()
    results = benchmark.results()
    assert len(results) == 4 and command.title(benchmark) == title
    assert {len(found.classes) for found in results.values()} == {classes}
    assert all(len(rows_of(found.predictions)) == 8 for found in results.values())
    state = load_run(tmp_path / "out" / "cells" / cells[0].name / "finetune").recipe
    assert state.data.fraction == 0.5 and state.data.balanced == (dataset != "mstar")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dataset", "mstr"], "did you mean 'mstar'"),
        (["--networks", "resnet81"], "did you mean 'resnet18'"),
        (["--methods", "probes"], "did you mean 'probe'"),
        (["--fractions", "0"], "expected --fractions above 0"),
        (["--fractions", "10%"], "expected --fractions above 0"),
        (["--init", "none", "optim.max_l=1"], "did you mean 'optim.max_lr'"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(more: list[str], words: str, chips: Path, tmp_path: Path) -> None:
    result = run(chips, tmp_path / "out", *more)
    assert result.exit_code == 1 and words in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out" / "cells").exists()


def test_no_such_folder(tmp_path: Path) -> None:
    result = run(tmp_path / "absent", tmp_path / "out", "--init", "none")
    assert result.exit_code == 1 and "no such folder" in result.output
