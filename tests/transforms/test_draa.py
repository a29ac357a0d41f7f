from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarhub_models.errors import UnknownNameError
from sarhub_models.transforms import DRAA, log_amplitude, ptls, reinhard_devlin


@settings(max_examples=25)
@given(st.sampled_from([(6, 6), (5, 6, 6), (5, 1, 6, 6)]), st.booleans())
def test_draa_draws_one_parameter_a_chip(shape: tuple[int, ...], as_array: bool) -> None:
    chip = torch.linspace(0, 1, 36).reshape(6, 6)
    batch = chip.expand(shape).clone()
    draa = DRAA("ptls", 0.0, 20.0).train()
    x = batch.numpy() if as_array else batch
    drawn = torch.as_tensor(draa(x, torch.Generator().manual_seed(3))).reshape(-1, 6, 6)
    again = torch.as_tensor(draa(x, torch.Generator().manual_seed(3))).reshape(-1, 6, 6)
    assert torch.equal(drawn, again)
    # On a ramp the pixel in the middle of the left half tells p: y = (x − p/100)/(1 − 2p/100)
    percents = 100 * (chip[1, 4] - drawn[:, 1, 4]) / (1 - 2 * drawn[:, 1, 4])
    assert ((percents > -1e-3) & (percents < 20.001)).all()
    assert len(percents.unique()) == len(percents)


def test_draa_covers_its_range_and_follows_the_seed() -> None:
    chip = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(2000, 8, 8)
    draa = DRAA("log_amplitude", 2.0, 6.0).train()
    torch.manual_seed(5)
    first = draa(chip)
    torch.manual_seed(5)
    assert torch.equal(first, draa(chip))
    assert not torch.equal(first, draa(chip))
    candidates = torch.linspace(2, 6, 41)
    pixel = log_amplitude(chip[:41], candidates)[:, 0, 0]
    drawn = candidates[(first[:, 0, 0, None] - pixel).abs().argmin(1)]
    assert drawn.min() < 2.15
    assert drawn.max() > 5.85
    assert abs(drawn.mean() - 4.0) < 0.15


def test_draa_evaluates_at_the_middle_unless_told() -> None:
    chip = np.random.default_rng(0).random((9, 9))
    np.testing.assert_array_equal(DRAA("ptls", 0, 3).eval()(chip), ptls(chip, 1.5))
    np.testing.assert_array_equal(DRAA("ptls", 0, 3, eval_value=0.5).eval()(chip), ptls(chip, 0.5))
    assert "low=0.0, high=3.0, eval_value=1.5" in repr(DRAA("ptls", 0, 3))


def test_draa_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ptls'"):
        DRAA("ptsl", 0, 1)
    with pytest.raises(ValueError, match="low <= high"):
        DRAA("ptls", 2, 1)
    with pytest.raises(ValueError, match="finite"):
        DRAA("ptls", 0, float("inf"))


def test_draa_composes_with_torchvision() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    pipeline = v2.Compose([DRAA("reinhard_devlin", 3.5, 4.5).eval(), v2.Resize(8, antialias=True)])
    assert pipeline(torch.rand(1, 16, 16)).shape == (1, 8, 8)


@pytest.mark.parametrize("as_array", [False, True])
def test_draa_of_several_operators_gives_each_chip_one_of_them(as_array: bool) -> None:
    chips = torch.rand(6, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    draa = DRAA("ptls", 0, 2, drawn={"ptls": (0, 2), "log_amplitude": (15, 17), "reinhard_devlin": (4, 4)}).train()
    numbers = torch.tensor([[0.0, 1 / 6, 0.35, 0.6, 0.7, 0.99]])
    found = torch.as_tensor(draa(chips.numpy() if as_array else chips, None, numbers))
    expected = [
        *(ptls(chips[:1], 0.0), ptls(chips[1:2], 1.0)),
        *(log_amplitude(chips[2:3], 15.1), log_amplitude(chips[3:4], 16.6)),
        *(reinhard_devlin(chips[4:5], 4.0), reinhard_devlin(chips[5:], 4.0)),
    ]
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-4, rtol=0)
    assert torch.equal(torch.as_tensor(draa.eval()(chips)), torch.as_tensor(ptls(chips, 1.0)))


def test_draa_of_several_operators_checks_each() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ptls'"):
        DRAA("ptls", 0, 1, drawn={"ptsl": (0, 1)})
    with pytest.raises(ValueError, match="low=2, high=1"):
        DRAA("ptls", 0, 1, drawn={"ptls": (0, 1), "reinhard_devlin": (2, 1)})
