from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sarhub_models.engine.augment import DRAWS, cutmix, draw, make_transform
from sarhub_models.engine.sections import Augment, Preprocess
from sarhub_models.engine.seeds import generator, key
from sarhub_models.transforms import OPERATORS
from training.recipes import load_recipe

MEAN, STD = 0.3, 0.1


def preprocess(operator: str = "ptls", draa: bool = True, size: int = 24) -> Preprocess:
    values = [f"preprocess.operator={operator}", f"preprocess.draa={draa}", f"preprocess.size={size}"]
    return load_recipe("resnet18_osu", values).preprocess


def numbers(count: int, step: int = 0) -> Tensor:
    return draw(0, step, count, rank=0, world=1)


@pytest.mark.parametrize("operator", ["ptls", "reinhard_devlin", "log_amplitude"])
def test_draa_draws_the_parameter_of_each_sample_from_the_range(operator: str) -> None:
    recipe = preprocess(operator)
    chips = torch.rand(3, 1, 24, 24, generator=generator(1, "chips"))
    transform = make_transform(recipe, MEAN, STD, augment=Augment(geometry="none"))
    drawn = torch.zeros(DRAWS, 3)
    drawn[0] = torch.tensor([0.0, 0.5, 0.999])
    made = transform(chips, numbers=drawn)
    limits = recipe.range
    for chip, number, result in zip(chips, drawn[0], made, strict=True):
        parameter = limits.low + (limits.high - limits.low) * number.item()
        expected = (OPERATORS[operator](chip, parameter) - MEAN) / STD
        torch.testing.assert_close(result, expected.expand(3, -1, -1), rtol=1e-4, atol=1e-4)
    assert not torch.equal(made[0], transform(chips[:1], numbers=drawn[:, 2:])[0])


@pytest.mark.parametrize("operator", ["ptls", "reinhard_devlin", "log_amplitude"])
def test_without_anything_random_training_sees_what_evaluation_sees(operator: str) -> None:
    recipe = preprocess(operator, draa=False, size=32)
    chips = torch.rand(5, 1, 24, 40, generator=generator(2, "chips"))
    made = make_transform(recipe, MEAN, STD, augment=Augment(geometry="none"))(chips, numbers=numbers(5))
    assert made.shape == (5, 3, 32, 32) and made.dtype == torch.float32
    torch.testing.assert_close(made, make_transform(recipe, MEAN, STD)(chips))


def test_training_and_evaluation_cut_out_the_same_middle() -> None:
    values = ["preprocess.crop=16", "preprocess.operator=none", "preprocess.size=16"]
    recipe = load_recipe("resnet18_folder", values).preprocess
    chips = torch.rand(2, 1, 24, 40, generator=generator(4, "chips"))
    expected = ((chips[:, :, 4:20, 12:28] - MEAN) / STD).expand(-1, 3, -1, -1)
    torch.testing.assert_close(make_transform(recipe, MEAN, STD)(chips), expected)
    torch.testing.assert_close(
        make_transform(recipe, MEAN, STD, augment=Augment(geometry="none"))(chips, numbers=numbers(2)), expected
    )


def test_evaluation_uses_the_parameter_of_the_recipe() -> None:
    recipe = load_recipe("resnet18_osu", ["preprocess.size=24"]).preprocess
    chips = torch.rand(2, 1, 24, 24, generator=generator(3, "chips"))
    expected = (OPERATORS["ptls"](chips, 1.5) - MEAN) / STD
    torch.testing.assert_close(make_transform(recipe, MEAN, STD)(chips), expected.expand(-1, 3, -1, -1))


def test_images_of_several_sizes_keep_their_places_and_their_numbers() -> None:
    transform = make_transform(preprocess(), MEAN, STD, augment=Augment(geometry="flip"))
    shapes = [(20, 20), (30, 20), (20, 20), (24, 24), (30, 20)]
    chips = [torch.rand(1, *shape, generator=generator(4, index)) for index, shape in enumerate(shapes)]
    drawn = numbers(len(chips))
    together = transform(chips, numbers=drawn)
    for index, chip in enumerate(chips):
        alone = transform(chip[None], numbers=drawn[:, index : index + 1])[0]
        torch.testing.assert_close(together[index], alone)


def test_the_draws_of_a_step_do_not_depend_on_the_number_of_processes() -> None:
    whole = draw(7, 3, batch_size=12, rank=0, world=1)
    for world in (2, 3, 4):
        parts = [draw(7, 3, batch_size=12 // world, rank=rank, world=world) for rank in range(world)]
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=0)
    assert whole.shape == (DRAWS, 12) and whole.min() >= 0 and whole.max() < 1
    assert not torch.equal(whole, draw(7, 4, 12, 0, 1)) and not torch.equal(whole, draw(8, 3, 12, 0, 1))


def test_keys_tell_purposes_apart() -> None:
    found = {key(seed, purpose, step) for seed in range(5) for purpose in ("order", "augment") for step in range(50)}
    assert len(found) == 500 and all(0 <= value < 2**63 for value in found)
    assert key(1, "order", 23) != key(1, "order", 2, 3) and key(0, "order", 1) == key(0, "order", 1)


def test_cutmix_keeps_the_stated_share_of_each_image() -> None:
    rng = generator(0, "cutmix")
    x = torch.arange(8.0)[:, None, None, None].expand(8, 1, 20, 20)
    labels = torch.arange(8)
    shares = []
    for _ in range(50):
        mixed, pasted, kept = cutmix(x, labels, 1.0, rng)
        shares.append(kept)
        for image, own, other in zip(mixed, labels, pasted, strict=True):
            assert set(image.unique().tolist()) <= {float(own), float(other)}
            if own != other:
                assert (image == own).float().mean().item() == pytest.approx(kept)
    assert min(shares) < 0.2 and max(shares) > 0.8
    assert torch.equal(x[:, 0, 0, 0], torch.arange(8.0))  # the batch itself stays as it is


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.5, 30, 70), (1.0, 95, 100)])
def test_cutmix_is_done_as_often_as_asked(probability: float, low: int, high: int) -> None:
    x, labels = torch.rand(4, 1, 16, 16), torch.eye(4)
    shares = [cutmix(x, labels, probability, generator(1, step))[2] for step in range(100)]
    assert low <= sum(kept < 1 for kept in shares) <= high  # the smallest boxes hold no pixel


def test_cutmix_is_alike_for_batches_of_one_size() -> None:
    """All processes must take the same decision, whatever they hold: their losses are computed together."""
    first, second = (torch.rand(4, 1, 16, 16) for _ in range(2))
    labels = torch.arange(4)
    a, b = (cutmix(x, labels, 0.5, generator(2, "cutmix", 0)) for x in (first, second))
    assert a[2] == b[2] and torch.equal(a[1], b[1])


def test_the_area_that_cutmix_keeps_is_uniform() -> None:
    """As Beta(1, 1) says: without the square root of the box's side, three quarters of the images would stay whole."""
    rng, x = generator(3, "cutmix"), torch.zeros(1, 1, 200, 200)
    kept = torch.tensor([cutmix(x, torch.zeros(1), 1.0, rng)[2] for _ in range(400)])
    torch.testing.assert_close(
        kept.quantile(torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])),
        torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]),
        atol=0.08,
        rtol=0,
    )
