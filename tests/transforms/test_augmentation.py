from __future__ import annotations

import math

import pytest
import torch

from sarhub_models.errors import OptionError
from sarhub_models.transforms import DRAA, Geometry, Normalize, Pipeline, Repeat, Speckle, ToRadiometry, Window


def test_a_window_of_full_scale_is_a_part_of_the_image() -> None:
    image = torch.arange(40.0 * 50).reshape(1, 1, 40, 50)
    cut = Window(16).train()(image.repeat(5, 1, 1, 1), numbers=torch.rand(3, 5))
    assert cut.shape == (5, 1, 16, 16)
    for part in cut[:, 0]:
        row, column = divmod(int(part[0, 0]), 50)
        assert torch.equal(part, image[0, 0, row : row + 16, column : column + 16])


@pytest.mark.parametrize("numbers", [0.0, 1 - 2**-24])
def test_windows_reach_every_edge(numbers: float) -> None:
    image = torch.arange(20.0 * 30).reshape(1, 1, 20, 30)
    cut = Window(8).train()(image, numbers=torch.full((3, 1), numbers))
    assert cut[0, 0, 0, 0] == 0 if numbers == 0 else cut[0, 0, -1, -1] == 20 * 30 - 1


def test_small_images_and_shares_are_resized_to_the_window() -> None:
    small = torch.rand(2, 1, 10, 14)
    assert Window(32, scale=0.5).train()(small).shape == (2, 1, 32, 32)
    shrunk = Window(32, scale=0.5).train()(torch.ones(1, 1, 64, 64), numbers=torch.tensor([[0.0], [0.5], [0.5]]))
    assert torch.equal(shrunk, torch.ones(1, 1, 32, 32))


def test_speckle_has_the_statistics_of_its_looks() -> None:
    ones = torch.full((1, 1, 400, 400), 0.1)
    for number, looks in ((0.0, 2.0), (0.5, 8.0)):
        seen = Speckle(2).train()(ones, numbers=torch.tensor([[number], [0.3]]))
        intensity = (seen / 0.1) ** 2
        assert intensity.mean().item() == pytest.approx(1, abs=0.01)
        assert intensity.var().item() == pytest.approx(1 / looks, rel=0.05)


def test_the_speckle_of_a_sample_does_not_depend_on_its_batch() -> None:
    images, numbers, speckle = torch.rand(3, 1, 16, 16) / 4, torch.rand(2, 3), Speckle(1).train()
    together = speckle(images, numbers=numbers)
    for index in range(3):
        chosen = slice(index, index + 1)
        assert torch.equal(speckle(images[chosen], numbers=numbers[:, chosen])[0], together[index])
    assert not torch.equal(together, images) and together.min() >= 0 and together.max() <= 1


def test_nothing_changes_in_evaluation_mode() -> None:
    image = torch.rand(2, 1, 20, 20)
    assert Window(8).eval()(image) is image and Speckle(1).eval()(image) is image


@pytest.mark.parametrize("make", [lambda: Window(0), lambda: Window(8, scale=0), lambda: Window(8, scale=1.5)])
def test_impossible_windows_are_refused(make: type[Window]) -> None:
    with pytest.raises(OptionError, match="expected a size"):
        make()


@pytest.mark.parametrize("looks", [0, -1, math.inf, math.nan])
def test_impossible_looks_are_refused(looks: float) -> None:
    with pytest.raises(OptionError, match="number of looks"):
        Speckle(looks)


def test_in_a_chain_each_step_takes_its_own_numbers() -> None:
    steps = [ToRadiometry(["VV"], "amplitude", (0, 1), validate=False), Window(16, scale=0.5), Speckle(2)]
    steps += [DRAA("ptls", 0, 2), Normalize(0.0, 1.0), Geometry("dihedral"), Repeat(3)]
    chain, images = (
        Pipeline(steps, training=True),
        [torch.rand(1, 30, 20), torch.rand(1, 24, 24), torch.rand(1, 30, 20)],
    )
    numbers = torch.rand(9, 3)
    whole = chain(images, numbers=numbers)
    assert whole.shape == (3, 3, 16, 16)
    for index, image in enumerate(images):
        torch.testing.assert_close(chain(image[None], numbers=numbers[:, index : index + 1])[0], whole[index])
    for row in range(9):
        other = numbers.clone()
        other[row] = (other[row] + 0.5) % 1
        assert not torch.equal(chain(images, numbers=other), whole), row
