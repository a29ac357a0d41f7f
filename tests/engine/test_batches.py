from __future__ import annotations

from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarhub_models.engine.batches import Batch, Files, Plan, Rank, StepSampler, class_weights, steps_per_epoch
from sarhub_models.engine.readers import open_split, stratified
from sarhub_models.engine.sections import Data, Optim
from sarhub_models.engine.splits import mean_std, open_source, open_training
from sarhub_models.errors import DataError, InputError, OptionError
from sarhub_models.transforms import OPERATORS
from training.recipes import load_recipe

from .conftest import write_images


def settings(root: Path | None, *assignments: str, recipe: str = "resnet18_folder") -> Data:
    where = [] if root is None else [f"data.root={root}"]
    return load_recipe(recipe, [*where, "data.workers=0", *assignments]).data


def files(data: Data, split: str = "train") -> Files:
    source = open_source(data, split)
    assert isinstance(source, Files)
    return source


def names(batches: list[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.names]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten images of class a and six of class b."""
    return write_images(tmp_path / "images", {"a": 10, "b": 6})


def damage(root: Path, name: str, how: str) -> None:
    file = root / name
    if how == "nan":
        image = np.load(file)
        image[3, 3] = np.nan
        np.save(file, image)
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[:200])
    else:
        file.unlink()


def test_a_batch_holds_amplitudes_labels_and_names(root: Path) -> None:
    (batch,) = files(settings(root)).evaluation(16)
    assert batch.images.shape == (16, 1, 40, 40) and batch.images.dtype == torch.float32
    np.testing.assert_array_equal(batch.images[12, 0], np.load(root / "b" / "2.npy"))
    assert batch.labels.tolist() == [0] * 10 + [1] * 6 and batch.labels.dtype == torch.int64
    assert batch.names[12] == "b/2.npy" and batch.skipped == []


def test_full_scale_decides_what_is_amplitude_one(root: Path) -> None:
    (batch,) = files(settings(root, "data.full_scale=0.25")).evaluation(16)
    np.testing.assert_allclose(batch.images[0, 0], np.load(root / "a" / "0.npy") / 0.25, rtol=1e-6)
    assert batch.images[10:].max() == 1


@pytest.mark.parametrize("start", [0, 3])
def test_any_number_of_processes_sees_the_same_global_batches(root: Path, start: int) -> None:
    source = files(settings(root))

    def run(world: int) -> list[set[str]]:
        plans = [Plan(2, 3, 8 // world, seed=5, process=Rank(rank, world), start=start) for rank in range(world)]
        shares = [list(source.training(plan)) for plan in plans]
        assert all(len(batch.names) == 8 // world for share in shares for batch in share)
        return [set(names(list(parts))) for parts in zip(*shares, strict=True)]

    alone = run(1)
    assert len(alone) == 6 - start and all(len(step) == 8 for step in alone)
    assert run(2) == alone and run(4) == alone


def test_an_epoch_sees_each_sample_once_in_an_order_of_its_own() -> None:
    plan = Plan(steps=4, epochs=2, batch_size=4, seed=0)
    epochs = np.array(list(StepSampler(16, plan))).reshape(2, 16)
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(16))
    assert epochs[0].tolist() != epochs[1].tolist()
    other = np.array(list(StepSampler(16, Plan(steps=4, epochs=2, batch_size=4, seed=1))))
    assert other.reshape(2, 16).tolist() != epochs.tolist()


def test_shares_of_the_evaluation_make_up_the_split(root: Path) -> None:
    source = files(settings(root))
    shares = [names(list(source.evaluation(2, process=Rank(rank, 3)))) for rank in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(source.scenes.names)
    assert {len(share) for share in shares} == {5, 6}


def test_images_of_several_sizes_come_as_a_list(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", {"a": 4, "b": 4}, sizes=((40, 40), (30, 50)))
    (batch,) = files(settings(root)).evaluation(8)
    assert isinstance(batch.images, list)
    assert [tuple(image.shape) for image in batch.images] == [(1, 40, 40), (1, 30, 50)] * 4
    assert isinstance(batch.to(torch.device("cpu")).images, list)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["nan", "truncated", "missing"])
def test_a_damaged_sample_stops_with_its_name_in_one_line(root: Path, how: str, workers: int) -> None:
    source = files(settings(root, f"data.workers={workers}"))
    damage(root, "a/3.npy", how)
    with pytest.raises(DataError, match=r"sample a/3\.npy: .*data\.on_error=skip") as caught:
        list(source.training(Plan(4, 1, 4, 0)))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"sample a/3\.npy: "):
        list(source.evaluation(4))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_samples_are_replaced_in_training_and_left_out_of_scores(root: Path, workers: int) -> None:
    source = files(settings(root, "data.on_error=skip", f"data.workers={workers}"))
    damage(root, "a/3.npy", "nan")
    damage(root, "a/4.npy", "truncated")
    training = list(source.training(Plan(4, 1, 4, 0)))
    assert [len(batch.names) for batch in training] == [4] * 4
    good = [name for name in source.scenes.names if name not in ("a/3.npy", "a/4.npy")]
    assert sorted(names(training)) == sorted([*good, "a/5.npy", "a/5.npy"])
    assert sorted(name for batch in training for name in batch.skipped) == ["a/3.npy", "a/4.npy", "a/4.npy"]
    scored = list(source.evaluation(4))
    assert names(scored) == good
    assert [batch.skipped for batch in scored] == [["a/3.npy"], ["a/4.npy"], [], []]
    assert [len(batch.images) for batch in scored] == [len(batch.labels) for batch in scored] == [3, 3, 4, 4]


def test_a_batch_may_be_left_empty_but_a_split_without_any_sample_stops(root: Path) -> None:
    source = files(settings(root, "data.on_error=skip"))
    for index in range(10):
        damage(root, f"a/{index}.npy", "nan")
    sizes = [len(batch.names) for batch in source.evaluation(5)]
    assert sizes == [0, 0, 5, 1]
    for index in range(6):
        damage(root, f"b/{index}.npy", "missing")
    with pytest.raises(DataError, match="none of the 16 samples can be read"):
        next(iter(source.training(Plan(4, 1, 4, 0))))


def optim(accumulate: int, *assignments: str) -> Optim:
    return load_recipe("resnet18_folder", ["optim.batch_size=10", f"optim.accumulate={accumulate}", *assignments]).optim


def test_steps_of_an_epoch() -> None:
    assert steps_per_epoch(100, optim(1), world=1) == 10
    assert steps_per_epoch(109, optim(1), world=2) == 5
    assert steps_per_epoch(109, optim(4), world=1) == 8
    assert steps_per_epoch(3, optim(4, "optim.epoch_steps=12"), world=2) == 12
    with pytest.raises(InputError, match=r"39 samples .* optim.batch_size=10 × 2 .* optim.accumulate=2"):
        steps_per_epoch(39, optim(2), world=2)


def test_an_epoch_longer_than_the_split_goes_through_it_again_in_another_order() -> None:
    steps = np.array(list(StepSampler(6, Plan(steps=5, epochs=1, batch_size=3, seed=0)))).ravel()
    passes = [steps[:6], steps[6:12], steps[12:]]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(6)) and len(set(passes[2])) == 3
    assert passes[0].tolist() != passes[1].tolist()
    short = np.array(list(StepSampler(6, Plan(steps=2, epochs=1, batch_size=3, seed=0)))).ravel()
    np.testing.assert_array_equal(short, passes[0])


@pytest.mark.parametrize("start", [0, 20])
def test_a_balanced_draw_shows_all_classes_equally_often_and_the_same_to_any_number_of_processes(start: int) -> None:
    weights = torch.tensor([1 / 90] * 90 + [1 / 10] * 10, dtype=torch.float64)

    def run(world: int) -> list[list[int]]:
        plans = [Plan(20, 2, 32 // world, seed=3, process=Rank(rank, world), start=start) for rank in range(world)]
        shares = [list(StepSampler(100, plan, weights=weights)) for plan in plans]
        return [list(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)]

    drawn = run(1)
    assert len(drawn) == 40 - start and drawn == run(2) == run(4)
    share = np.mean(np.array(drawn) >= 90)
    assert share == pytest.approx(0.5, abs=0.06)  # three standard deviations of 640 draws
    if start == 0:
        assert drawn[:20] != drawn[20:]


@pytest.mark.slow
def test_the_balanced_draw_follows_the_counts_of_the_classes(root: Path) -> None:
    plan = Plan(steps=100, epochs=1, batch_size=16, seed=0)
    shares = []
    for balanced in (False, True):
        source = files(settings(root, f"data.balanced={balanced}"))
        labels = torch.cat([batch.labels for batch in source.training(plan)])
        shares.append(labels.float().mean().item())
    assert shares == pytest.approx([6 / 16, 0.5], abs=0.04)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 3))
def test_a_fraction_is_one_of_every_class_and_part_of_a_larger_one(
    classes: list[int], small: float, large: float, seed: int
) -> None:
    small, large = sorted((small, large))
    labels = np.array(classes, dtype=np.int64)
    chosen = stratified(labels, small, seed)
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(stratified(labels, large, seed))
    assert stratified(labels, 1.0, seed).tolist() == list(range(len(labels)))
    for label in set(classes):
        there, taken = (labels == label).sum(), (labels[chosen] == label).sum()
        assert taken >= 1 and abs(taken - small * there) <= max(0.5, 1 - small * there)


def test_fractions_of_several_seeds_differ_and_are_what_is_trained_on(root: Path) -> None:
    data = settings(root, "data.fraction=0.5")
    chosen = [open_training(data, seed) for seed in (0, 1, 0)]
    assert [source.counts.tolist() for source in chosen] == [[5, 3]] * 3
    first, other, again = (names(list(source.evaluation(16))) for source in chosen)
    assert first == again != other
    assert set(first) < set(files(data).scenes.names)
    (batch,) = chosen[0].evaluation(16)
    np.testing.assert_array_equal(batch.images[-1, 0], np.load(root / batch.names[-1]))
    assert batch.labels[-1] == 1 and batch.names[-1].startswith("b/")


def test_the_split_to_train_on_can_be_another(root: Path) -> None:
    (root / "train_10.txt").write_text("a/1.npy 0\nb/2.npy 1\n")
    assert len(open_training(settings(root, "data.train=train_10"), 0)) == 2


def test_shards_are_neither_divided_nor_drawn_from(root: Path) -> None:
    for assignment in ("data.fraction=0.5", "data.balanced=true"):
        with pytest.raises(OptionError, match=r"need single files, data\.root=FOLDER"):
            open_training(settings(root, "data.shards=shards", assignment), 0)


def test_balance_needs_one_label_a_sample() -> None:
    with pytest.raises(OptionError, match="one label a sample"):
        class_weights(SimpleNamespace(multilabel=True))  # type: ignore[arg-type]


def test_mean_and_std_are_those_of_the_middle_where_it_is_cut_out(root: Path) -> None:
    values = [f"data.root={root}", "data.workers=0", "preprocess.crop=8", "preprocess.operator=none"]
    recipe = load_recipe("resnet18_folder", values)
    source = files(recipe.data)
    middle = np.stack([source.scenes[index].image[16:24, 16:24] for index in range(16)]).astype(np.float64)
    assert mean_std(source, recipe.preprocess) == pytest.approx((middle.mean(), middle.std()))


def test_what_is_wrong_with_the_data_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"data\.root=FOLDER"):
        open_source(settings(None), "train")
    with pytest.raises(OptionError, match="'band'"):
        open_split(settings(root, "data.options.band=VV"), "train")
    with pytest.raises(DataError, match="nowhere"):
        open_split(settings(tmp_path / "nowhere"), "train")
    (root / "val.txt").write_text("")
    with pytest.raises(DataError, match="val"):
        open_split(settings(root), "val")


def test_lists_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("b/1.npy 1\na/7.npy 0\n")
    assert open_split(settings(root, f"data.lists={lists}"), "train").names == ("b/1.npy", "a/7.npy")


@pytest.mark.parametrize("sizes", [((40, 40),), ((40, 40), (30, 50))])
def test_mean_and_std_of_the_pixels_after_the_operator(tmp_path: Path, sizes: tuple[tuple[int, int], ...]) -> None:
    root = write_images(tmp_path / "images", {"a": 4, "b": 3}, sizes)
    recipe = load_recipe("resnet18_folder", [f"data.root={root}", "data.workers=0"])
    source = files(recipe.data)
    operator = OPERATORS["ptls"]
    images = [torch.from_numpy(source.scenes[index].image)[None] for index in range(7)]
    pixels = torch.cat([operator(image, 1.0).flatten() for image in images]).double()
    mean, std = mean_std(source, recipe.preprocess)
    assert (mean, std) == pytest.approx((pixels.mean().item(), pixels.std(correction=0).item()))
    given = recipe.preprocess.model_copy(update={"mean": 0.25})
    assert mean_std(source, given) == (0.25, std)
    assert mean_std(source, given.model_copy(update={"std": 2.0})) == (0.25, 2.0)


def test_images_without_any_structure_have_no_std(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", {"a": 2, "b": 2}, sizes=((1, 1),))
    recipe = load_recipe("resnet18_folder", [f"data.root={root}", "data.workers=0"])
    with pytest.raises(DataError, match="alike after ptls"):
        mean_std(files(recipe.data), recipe.preprocess)
