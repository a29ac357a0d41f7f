"""Trials of recognition: recipes, labels, starting weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.experiments.initializations import (
    Initialization,
    initializations_of,
    parse_initialization,
    usual_initializations,
)
from benchmarks.experiments.provenance import RecipeInputs
from benchmarks.experiments.runner import run_trials
from benchmarks.experiments.trial import check_folders
from benchmarks.recognition.grid import own_split, trials_of
from benchmarks.recognition.methods import Recognition
from sarhub_models.datasets import FolderDataset
from sarhub_models.engine.recipe import override
from sarhub_models.engine.run import load_run
from sarhub_models.engine.splits import open_training
from sarhub_models.errors import DataError, OptionError, SarHubError, UnknownNameError
from sarhub_models.zoo.manifest import manifest_path

from .recognition import grid, trial


def test_the_recipe_of_a_trial(tmp_path: Path) -> None:
    recipe = grid(tmp_path, "folder", 100, "resnet18:preprocess.size=64", "optim.max_lr=0.1").recipe(
        trial("resnet18", 0.3, 4)
    )
    assert (recipe.model.init, recipe.runtime.seed, recipe.data.fraction) == ("none", 4, 0.3)
    assert (recipe.preprocess.size, recipe.optim.max_lr, recipe.optim.name) == (64, 0.1, "sgd")
    assert (recipe.optim.epochs, recipe.optim.step_epochs) == (5, 1)
    other = grid(tmp_path, "folder", 100, "resnet18:preprocess.size=64").recipe(trial())
    assert other.preprocess.size == 128


@pytest.mark.parametrize(("fraction", "steps"), [(1.0, 100), (0.25, 50), (0.01, 10), (0.0001, 5)])
def test_few_labels_get_fewer_steps_but_more_passes(fraction: float, steps: int, tmp_path: Path) -> None:
    optim = grid(tmp_path).recipe(trial(fraction=fraction)).optim
    assert optim.epoch_steps is not None and optim.epoch_steps * optim.epochs == steps


def test_without_a_budget_it_is_the_paper(tmp_path: Path) -> None:
    optim = grid(tmp_path, "mstar", None).recipe(trial(fraction=0.1)).optim
    assert (optim.epochs, optim.step_epochs, optim.epoch_steps) == (500, 100, None)


@pytest.mark.slow
def test_a_published_list_of_a_fraction_is_taken(tmp_path: Path) -> None:
    (tmp_path / "train_10.txt").touch()
    made = grid(tmp_path, "mstar", None)
    assert made.recipe(trial(fraction=0.1)).data.train == "train_10"
    assert made.recipe(trial(fraction=0.1)).data.fraction == 1
    assert (made.recipe(trial(fraction=0.3)).data.train, made.recipe(trial(fraction=0.3)).data.fraction) == (
        "train",
        0.3,
    )
    elsewhere = replace(made, lists=tmp_path, data=tmp_path / "other")
    assert elsewhere.recipe(trial(fraction=0.1)).data.train == "train_10"


@pytest.mark.slow
def test_the_list_of_a_part_of_the_split_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "medium_train_10.txt").touch()
    made = grid(tmp_path, "opensarship", None, "data.train=medium_train")
    part, whole = made.recipe(trial(fraction=0.1)), made.recipe(trial())
    assert (part.data.train, part.data.fraction) == ("medium_train_10", 1.0)
    assert part.preprocess == whole.preprocess and whole.preprocess.size == 96
    assert part.data.model_copy(update={"train": "medium_train"}) == whole.data
    assert made.recipe(trial(fraction=0.3)).data.fraction == 0.3


@pytest.mark.parametrize("text", ["model.init=imagenet", "mobilenetv3:runtime.seed=7", "data.fraction=0.5"])
def test_what_trials_differ_in_is_no_assignment(text: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"the same in all trials: --(init|seeds|fractions)"):
        grid(tmp_path, "folder", 100, text).recipe(trial())


def test_weights_with_a_name_are_known_by_the_list(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = grid(chips)
    recipe = override(made.recipe(trial()).model_dump(mode="json"), ["model.init=mobilenetv3_dsn"])
    reader = RecipeInputs()
    monkeypatch.setattr(reader, "_split", lambda *_: "")
    manifest = json.loads(manifest_path().read_text())
    monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
    found = []
    for value in ("0" * 64, "1" * 64, "0" * 64):
        manifest["models"]["mobilenetv3_dsn"]["checksum"]["value"] = value
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        reader._known.clear()
        found.append(reader.read(recipe).weights)
    assert found[0] == found[2] != found[1]


@pytest.mark.slow
def test_labels_drawn_in_place_of_a_published_list_are_told(tmp_path: Path) -> None:
    (tmp_path / "train_30.txt").touch()
    made = grid(tmp_path, "mstar", None)
    trials = [trial(fraction=fraction, seed=seed) for seed in (0, 1) for fraction in (0.1, 0.3, 0.5, 1.0)]
    (note,) = made.notes(trials)
    assert note.startswith(f"The labels of 10 % were drawn at random, with each seed anew: {tmp_path / 'train_10.txt'}")
    assert "python -m training.splits mstar" in note
    assert grid(tmp_path).notes(trials) == [], "nothing was published of one's own chips"


def test_fractions_are_stratified_and_nested(chips: Path, done: Path) -> None:
    lists = done / "split"
    names: list[set[str]] = []
    for fraction in (0.25, 0.5, 1.0):
        recipe = replace(grid(chips), lists=lists).recipe(trial(fraction=fraction))
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
    assert own_split(chips, tmp_path, 0.25) == folder
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_the_split_of_other_chips_or_of_another_share_is_refused(chips: Path, tmp_path: Path) -> None:
    folder = own_split(chips, tmp_path / "out", 0.25)
    with pytest.raises(OptionError, match=r"test_share: 0\.25 there, 0\.5 now.*take another folder"):
        own_split(chips, tmp_path / "out", 0.5)
    moved = shutil.copytree(chips, tmp_path / "moved")
    assert own_split(moved, tmp_path / "out", 0.25) == folder
    shutil.copy(next((moved / "ship").iterdir()), moved / "ship" / "new.npy")
    with pytest.raises(OptionError, match=r"holds results of other settings \(chips: SHA-256"):
        own_split(moved, tmp_path / "out", 0.25)
    (folder / "split.json").unlink()
    with pytest.raises(OptionError, match="does not say what"):
        own_split(chips, tmp_path / "out", 0.25)


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


def test_labels_must_give_folders_of_their_own() -> None:
    found = {"resnet18": [Initialization("a b", "none"), Initialization("a/b", "none")]}
    with pytest.raises(OptionError, match="labels that differ in letters"):
        check_folders(trials_of("folder", found, [1.0], 1, ["probe"]))


def test_trials_come_seed_by_seed_and_frozen_features_first() -> None:
    found = {"resnet18": [Initialization("none", "none")]}
    trials = trials_of("folder", found, [1.0, 0.1], 2, ["finetune", "knn"])
    assert [str(one.folder) for one in trials] == [
        f"trials/folder/resnet18/none-{p}-{s}/{m}" for m in ("knn", "finetune") for s in (0, 1) for p in ("10", "100")
    ]


# ----------------------------------------------------------------------------------------------- initializations


def test_initializations_are_read_with_label_and_network(weights: Path) -> None:
    assert parse_initialization("none") == Initialization("none", "none")
    assert parse_initialization("imagenet") == Initialization("imagenet", "imagenet")
    assert parse_initialization("mobilenetv3_dsn") == Initialization(
        "mobilenetv3_dsn", "mobilenetv3_dsn", "mobilenetv3"
    )
    assert parse_initialization("SAR=mobilenetv3_dsn") == Initialization("SAR", "mobilenetv3_dsn", "mobilenetv3")
    assert parse_initialization(str(weights)) == Initialization("mine", str(weights))
    assert parse_initialization(f"resnet18:my own={weights}") == Initialization("my own", str(weights), "resnet18")


def test_the_folder_of_a_run_brings_network_and_preprocessing(done: Path) -> None:
    folder = done / "trials" / "folder" / "mobilenetv3" / "none-100-0" / "finetune"
    read = parse_initialization(f"SAR={folder}")
    assert (read.network, read.init) == ("mobilenetv3", str(folder / "best.safetensors"))
    transform: Any = read.transform()
    assert (transform.mean, transform.size) == (load_run(folder).mean, 32)
    registered: Any = parse_initialization("mobilenetv3_dsn").transform()
    assert registered.size == 128
    assert parse_initialization("none").transform() is None


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
def test_an_initialization_that_is_none_is_named(text: str, error: type[SarHubError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_initialization(text)


def test_weights_that_take_no_amplitude_are_refused_for_chips_of_it() -> None:
    assert parse_initialization("resnet50_tsx").transform() is not None
    with pytest.raises(OptionError, match="resnet50_oceansar does not take amplitude"):
        parse_initialization("resnet50_oceansar").transform()


def test_initializations_go_to_the_networks_that_they_fit() -> None:
    given = [parse_initialization(text) for text in ("none", "mobilenetv3_dsn", "resnet18:SAR=resnet18_tsx")]
    found = initializations_of(given, ["mobilenetv3", "resnet18"])
    assert {n: [one.label for one in found[n]] for n in found} == {
        "mobilenetv3": ["none", "mobilenetv3_dsn"],
        "resnet18": ["none", "SAR"],
    }
    with pytest.raises(OptionError, match="SAR holds weights of resnet18, which is not among --networks mobilenetv3"):
        initializations_of(given, ["mobilenetv3"])
    with pytest.raises(OptionError, match="swin_t has nothing to start from"):
        initializations_of(given[1:], ["mobilenetv3", "resnet18", "swin_t"])
    with pytest.raises(OptionError, match="two initializations called 'none'"):
        initializations_of([given[0], given[0]], ["resnet18"])


def test_imagenet_is_for_networks_that_have_such_weights() -> None:
    usual = initializations_of(
        usual_initializations(["mobilenetv3", "senet50", "resnet18"]), ["mobilenetv3", "senet50", "resnet18"]
    )
    assert {name: [one.label for one in found] for name, found in usual.items()} == {
        "mobilenetv3": ["none"],
        "senet50": ["none"],
        "resnet18": ["none", "imagenet"],
    }
    with pytest.raises(OptionError, match="--init imagenet: timm has no ImageNet weights for senet50; --init NETWORK:"):
        initializations_of([parse_initialization("imagenet")], ["senet50", "resnet18"])
    initializations_of(
        [parse_initialization("none"), parse_initialization("resnet18:imagenet")], ["senet50", "resnet18"]
    )


def test_weights_that_do_not_fit_are_known_before_anything_runs(chips: Path, done: Path, weights: Path) -> None:
    one = replace(trial("resnet18"), initialization=Initialization("mine", str(weights)))
    experiment = Recognition(done / "other", replace(grid(chips), lists=done / "split"), True)
    with pytest.raises(OptionError, match="holds a mobilenetv3, the recipe trains a resnet18"):
        run_trials(experiment, [one])
    assert not (done / "other").exists()
