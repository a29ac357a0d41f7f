"""Several sources in one run: shares of a step, heads of their own, the contrastive term, exact resume."""

from __future__ import annotations

import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml

from sarhub_models.engine.batches import Plan, Rank
from sarhub_models.engine.checkpoint import check_same
from sarhub_models.engine.objective import SourcesObjective
from sarhub_models.engine.run import load_run, open_splits, train
from sarhub_models.engine.sections import Recipe
from sarhub_models.engine.sources import UNLABELLED, Sources
from sarhub_models.engine.trainer import Trainer, make_accelerator
from sarhub_models.errors import DataError, InputError, ManifestError, OptionError
from training.recipes import load_recipe

from .conftest import fit, read_rows, write_images
from .test_distributed import free_port, run_rank
from .test_resume import CHILDREN, assert_same, end, last, run_command, wait_for_change

SMALL: dict[str, Any] = {
    "model": {"network": "mobilenetv3"},
    "preprocess": {"size": 32, "operator": "ptls"},
    "augment": {"geometry": "dihedral", "window": 32, "window_scale": 0.7, "looks": 2},
    "contrast": {"weight": 0.5, "width": 16},
    "optim": {"epochs": 2, "epoch_steps": 3, "batch_size": 10, "ema": 0.9},
    "evaluation": {"split": None},
    "runtime": {"precision": "fp32", "threads": 1},
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Three folder data sets, one of images of several sizes."""
    folder = tmp_path_factory.mktemp("sources")
    counts = {"ships": {"cargo": 9, "tanker": 6}, "land": {"field": 8, "forest": 8, "town": 8}, "sea": {"scene": 12}}
    for name, classes in counts.items():
        write_images(folder / name, classes, ((40, 40), (30, 52)) if name == "land" else ((40, 40),))
    return {name: str(folder / name) for name in counts}


def sources(roots: dict[str, str], **changes: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "ships": {"name": "folder", "root": roots["ships"], "weight": 3, "geometry": "flip"},
        "land": {"name": "folder", "root": roots["land"], "weight": 5, "train": "all", "loss": {"name": "mini_cbl"}},
        "sea": {"name": "folder", "root": roots["sea"], "weight": 2, "loss": None},
    }
    return {name: section | changes.get(name, {}) for name, section in given.items()}


@pytest.fixture
def file(tmp_path: Path, roots: dict[str, str]) -> Path:
    """A recipe in a file."""
    path = tmp_path / "mobilenetv3_mixed.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"data": {"name": "mixed", "sources": sources(roots)}}, sort_keys=False))
    return path


def opened(file: Path, *assignments: str) -> tuple[Recipe, Sources]:
    recipe = load_recipe(str(file), assignments)
    train_split = open_splits(recipe)[0]
    assert isinstance(train_split, Sources)
    return recipe, train_split


def test_every_step_takes_the_share_of_each_source(file: Path) -> None:
    _, data = opened(file)
    assert data.class_names == ("ships/cargo", "ships/tanker", "land/field", "land/forest", "land/town")
    assert data.counts.tolist() == [9, 6, 8, 8, 8] and len(data) == 15 + 24 + 12
    batches = list(data.training(Plan(steps=4, epochs=2, batch_size=10, seed=0)))
    assert len(batches) == 8
    for batch in batches:
        ships, land, sea = batch.labels[:3], batch.labels[3:8], batch.labels[8:]
        assert set(ships.tolist()) <= {0, 1} and set(land.tolist()) <= {2, 3, 4}
        assert sea.tolist() == [UNLABELLED] * 2
        assert [name.partition("/")[0] for name in batch.names] == ["ships"] * 3 + ["land"] * 5 + ["sea"] * 2
    seen = [name for batch in batches[:4] for name in batch.names if name.startswith("land/")]
    assert len(set(seen)) == 20  # all are shown before any comes again


def test_labels_of_a_batch_are_those_of_its_images(file: Path) -> None:
    _, data = opened(file)
    batch = next(iter(data.training(Plan(steps=1, epochs=1, batch_size=10, seed=3))))
    for name, label in zip(batch.names, batch.labels.tolist(), strict=True):
        source, folder, _ = name.split("/")
        assert label == UNLABELLED if source == "sea" else data.class_names[label] == f"{source}/{folder}"


@pytest.mark.parametrize(("size", "expected"), [(10, [3, 5, 2]), (40, [12, 20, 8]), (3, [1, 1, 1]), (11, [3, 6, 2])])
def test_quotas_follow_the_weights_and_leave_no_source_out(file: Path, size: int, expected: list[int]) -> None:
    _, data = opened(file)
    assert data.quotas(size) == expected and sum(expected) == size


def test_fewer_samples_than_sources_are_refused(file: Path) -> None:
    _, data = opened(file)
    with pytest.raises(InputError, match="batch_size=2 is too small for 3 sources"):
        data.quotas(2)


def test_a_source_moves_its_own_head_alone(file: Path) -> None:
    recipe, data = opened(file, "contrast.weight=0", "data.sources.sea.loss={name: ce}")
    objective = SourcesObjective(recipe, data, 0.5, 0.25, Rank())
    batch = next(iter(data.training(Plan(steps=1, epochs=1, batch_size=10, seed=0))))
    logits = torch.randn(10, len(data.class_names), requires_grad=True)
    objective(cast(Any, lambda images: logits), batch, 0).backward()
    assert logits.grad is not None
    for part, rows in zip(data.parts, objective.slices, strict=True):
        own = logits.grad[rows].abs().sum(dim=0) > 0
        inside = torch.zeros(len(own), dtype=torch.bool)
        inside[part.classes] = len(range(*part.classes.indices(len(own)))) > 1  # of one class there is nothing to learn
        assert torch.equal(own, inside)


@pytest.mark.slow
def test_a_run_keeps_the_plain_network_with_all_heads(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(load_recipe(str(file)), out)
    run = load_run(out)
    assert run.class_names[2:] == ("land/field", "land/forest", "land/town")
    model, chip = run.model(), torch.from_numpy(np.random.default_rng(0).random((40, 40), dtype=np.float32))
    with torch.inference_mode():
        assert model(run.transform()(chip)[None]).shape == (1, 5)
    assert not any("projection" in name for name in model.state_dict())


def test_the_contrastive_term_sees_two_views_of_each_sample(file: Path) -> None:
    recipe, data = opened(file)
    objective = SourcesObjective(recipe, data, 0.5, 0.25, Rank())
    batch = next(iter(data.training(Plan(steps=1, epochs=1, batch_size=10, seed=0))))
    seen: list[torch.Tensor] = []

    def model(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(images)
        return torch.zeros(20, 5), images.flatten(1)[:, :16]

    network = cast(Any, model)
    value = objective(network, batch, 0)
    assert torch.equal(value, objective(network, batch, 0)) and torch.equal(*seen)  # the step and the seed decide
    assert seen[0].shape == (20, 3, 32, 32) and not torch.equal(seen[0][:10], seen[0][10:])
    assert not torch.equal(value, objective(network, batch, 1))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"contrast": {"weight": 0}}, "a source without a loss needs contrast.weight"),
        ({"evaluation": {"split": "val"}}, "evaluation.split=null"),
        ({"augment": {"cutmix": 0.5}}, "augment.cutmix=0"),
        (
            {"data": {"name": "mixed", "root": "/x", "sources": {"a": {"name": "dsn"}}}},
            r"data\.root has no effect.*a\.root",
        ),
        (
            {"loss": {"name": "cbl"}},
            r"recipe does not hold: Value error, with data\.sources, loss has no effect.*ships\.loss",
        ),
        ({"data": {"name": "mixed", "sources": {"a": {"name": "nothing"}}}}, "no such name"),
        ({"data": {"name": "mixed"}}, "no such name"),
        ({"data": {"name": "dsn"}}, "contrast.weight needs data.sources"),
    ],
)
def test_recipes_that_cannot_be_run_are_refused(
    file: Path, roots: dict[str, str], changes: dict[str, Any], text: str
) -> None:
    file.write_text(
        yaml.safe_dump(SMALL | {"data": {"name": "mixed", "sources": sources(roots)}} | changes, sort_keys=False)
    )
    with pytest.raises(ManifestError, match=text):
        load_recipe(str(file))


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("data.balanced=true", r"data\.balanced has no effect.*data\.sources\.ships\.balanced"),
        ("data.on_error=skip", r"data\.on_error has no effect"),
        ("data.fraction=0.1", r"data\.fraction has no effect"),
        ("data.full_scale=7", r"data\.full_scale has no effect"),
        ("data.sources.sea.input={bands: [VV, VH]}", r"data\.sources\.sea\.input: all sources have one chain"),
    ],
)
def test_values_without_effect_are_refused(file: Path, assignment: str, text: str) -> None:
    with pytest.raises(ManifestError, match=text):
        load_recipe(str(file), [assignment])


def test_errors_name_the_source_and_its_options(file: Path, tmp_path: Path, roots: dict[str, str]) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(roots["sea"], damaged)
    for image in (file for file in damaged.rglob("*") if file.is_file() and file.suffix != ".txt"):
        image.write_bytes(b"nothing")
    recipe = load_recipe(str(file), ["optim.epochs=1", f"data.sources.sea.root={damaged}"])
    with pytest.raises(DataError, match=r"source sea: sample .*data\.sources\.sea\.on_error=skip leaves"):
        fit(recipe, tmp_path / "run")
    homeless = load_recipe(str(file), ["data.sources.sea.root=null"])
    with pytest.raises(OptionError, match=r"source sea: where .* data\.sources\.sea\.root=FOLDER says it"):
        open_splits(homeless)


def test_the_chain_of_all_sources_is_that_of_each(file: Path, tmp_path: Path, roots: dict[str, str]) -> None:
    """Decibels are taken as such, from every source."""
    rng = np.random.default_rng(0)
    for index in range(12):
        for name in ("a", "b"):
            place = tmp_path / "two" / name / f"{index}.npy"
            place.parent.mkdir(parents=True, exist_ok=True)
            np.save(place, rng.normal(-12, 3, (40, 40)).astype(np.float32))
    source = {"name": "folder", "root": str(tmp_path / "two"), "train": "all"}
    given = {"bands": ["VV"], "radiometry": "db", "range": None, "channels": 1}
    data = {"name": "mixed", "input": given, "sources": {"one": source, "other": source}}
    file.write_text(yaml.safe_dump(SMALL | {"data": data}, sort_keys=False))
    batch = next(iter(opened(file)[1].evaluation(4)))
    assert batch.images[0].shape == (1, 40, 40) and float(batch.images[0].mean()) == pytest.approx(-12, abs=0.5)


def test_shares_that_depend_on_the_number_of_processes_are_said_and_not_mixed(file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(file), ["optim.epochs=1", "optim.batch_size=5"])
    train = open_splits(recipe)[0]
    assert isinstance(train, Sources) and train.shared(recipe.optim, Rank()) == train.quotas(5)
    with pytest.warns(UserWarning, match=r"with 2 processes of optim\.batch_size=5, a step has 4, 4, 2 samples of"):
        assert train.shared(recipe.optim, Rank(0, 2)) == [4, 4, 2] != train.quotas(10)
    same = {"global_batch": 10, "counts": [1], "data": {}, "recipe": recipe.model_dump(mode="json")}
    with pytest.raises(OptionError, match=r"samples per step of each source: \[4, 4, 2\] there, \[3, 5, 2\] now"):
        check_same(tmp_path, {**same, "quotas": [4, 4, 2]}, recipe, {**same, "quotas": [3, 5, 2]})


@pytest.mark.slow
def test_a_source_may_move_but_not_change(file: Path, tmp_path: Path, roots: dict[str, str]) -> None:
    out, moved = tmp_path / "run", tmp_path / "elsewhere"
    fit(load_recipe(str(file), ["optim.epochs=1"]), out)
    shutil.copytree(roots["sea"], moved)
    same = load_recipe(str(file), ["optim.epochs=1", f"data.sources.sea.root={moved}"])
    assert Trainer(same, *open_splits(same), out, make_accelerator(same.runtime, 1)).finished
    other = load_recipe(str(file), ["optim.epochs=1", "data.sources.sea.weight=1"])
    with pytest.raises(OptionError, match=r"\(data\.sources\.sea\.weight: 2\.0 there, 1\.0 now"):
        Trainer(other, *open_splits(other), out, make_accelerator(other.runtime, 1))


def start(file: Path, out: Path, *values: str) -> BaseProcess:
    child = CHILDREN.Process(target=run_command, args=([str(file), *values, "--out", str(out)],))
    child.start()
    return child


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_nothing_had_happened(file: Path, tmp_path: Path) -> None:
    values = ("optim.epochs=3", "runtime.save_minutes=1e-9")
    whole, out, steps = tmp_path / "whole", tmp_path / "killed", []
    assert end(start(file, whole, *values)) == 0
    for pause in (0.0, 0.3):
        child = start(file, out, *values)
        wait_for_change(out / "last.pt", child)
        time.sleep(pause)
        child.kill()
        end(child)
        steps.append(last(out)["step"])
    assert 0 < steps[0] <= steps[1]
    assert end(start(file, out, *values)) == 0
    assert (out / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    for key in ("step", "model", "averaged", "optimizer", "schedule"):
        assert_same(last(out)[key], last(whole)[key], key)


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: Path, roots: dict[str, str]) -> None:
    # With such an eps AdamW's steps grow with the gradients, so that a wrong factor on them would show.
    optim = {"epochs": 2, "epoch_steps": 2, "eps": 1, "max_lr": 0.5, "decay_vectors": False}
    sections = {name: section for name, section in sources(roots).items() if name != "sea"}
    given = SMALL | {"model": {"network": "swin_t"}, "preprocess": {"size": 128}, "optim": optim}
    given["data"] = {"name": "mixed", "sources": {name: section | {"weight": 1} for name, section in sections.items()}}
    given["augment"] = SMALL["augment"] | {"window": 128}
    file, port = tmp_path / "swin_t_mixed.yaml", free_port()
    file.write_text(yaml.safe_dump(given, sort_keys=False))
    halves = [str(file), "optim.batch_size=2", "--out", str(tmp_path / "two")]
    ranks = [CHILDREN.Process(target=run_rank, args=(rank, port, halves, False)) for rank in range(2)]
    for child in ranks:
        child.start()
    assert [end(child) for child in ranks] == [0, 0]
    alone = fit(load_recipe(str(file), ["optim.batch_size=4"]), tmp_path / "one")
    losses = [row["loss"] for row in read_rows(tmp_path / "two")]
    assert losses == pytest.approx([row["loss"] for row in alone.history], abs=1e-4)
    assert losses[0] != pytest.approx(losses[1], abs=1e-3)
