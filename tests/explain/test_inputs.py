"""Chips for explanations: what noise disturbs, and the picture that is shown of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from sarhub_models import model_info
from sarhub_models.errors import ImageError, OptionError, UnknownNameError
from sarhub_models.explain import Direct, KnowledgePoints, band_index, prepare, prepare_chips, read_chips
from sarhub_models.transforms import Pipeline

ONE, TWO = "mobilenetv3_dsn", "resnet18_reben"


def chain(name: str, **changes: Any) -> Pipeline:
    fields = model_info(name).to_dict()
    return Pipeline.from_dict({**fields, "preprocessing": fields["preprocessing"] | changes})


def decibels(size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).uniform(-25, -5, (2, size, size)).astype(np.float32)


def write_tiff(file: Path, planes: np.ndarray, names: tuple[str, ...]) -> Path:
    profile = {"driver": "GTiff", "height": planes.shape[1], "width": planes.shape[2], "count": len(planes)}
    with rasterio.open(file, "w", dtype="float32", transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as dataset:
        dataset.write(planes)
        dataset.descriptions = names
    return file


def test_amplitude_is_disturbed_before_the_mean_and_all_else_as_the_network_sees_it() -> None:
    chip, pair = np.random.default_rng(0).random((40, 40), dtype=np.float32), decibels()
    one, two = chain(ONE), chain(TWO)
    batch = prepare_chips([chip], ["a"], one, full_scale=1)
    assert torch.equal(batch.values[0], prepare(one, chip)) and (batch.mean, batch.std) == (one.mean, one.std)
    torch.testing.assert_close((batch.values[0] - batch.mean) / batch.std, one(chip))
    batch = prepare_chips([pair], ["a"], two)
    assert torch.equal(batch.values[0], two(pair)) and (batch.mean, batch.std) == (0, 1)


def test_the_picture_is_the_amplitude_of_the_band_that_is_asked_for() -> None:
    pair, transform = decibels(120), chain(TWO)  # of the network's size: nothing is resized
    for band, index in ((None, 0), ("VV", 0), ("vh", 1)):
        batch = prepare_chips([pair], ["a"], transform, shown=band)
        amplitude = 10 ** (pair[index] / 20)
        np.testing.assert_allclose(batch.amplitude[0], amplitude / amplitude.max(), rtol=1e-5)
        assert batch.channel == index
    with pytest.raises(UnknownNameError, match="takes no band 'HH'; its bands: VV, VH"):
        prepare_chips([pair], ["a"], transform, shown="HH")


def test_the_picture_shows_what_the_network_sees_of_a_chip_that_is_cut() -> None:
    chip = np.zeros((64, 64), np.float32)
    chip[24:40, 24:40] = np.random.default_rng(0).random((16, 16)) / 2 + 0.5
    batch = prepare_chips([chip], ["a"], chain(ONE, crop=16, size=None), full_scale=1)
    np.testing.assert_allclose(batch.amplitude[0], chip[24:40, 24:40])


def test_bands_are_read_by_their_names(tmp_path: Path) -> None:
    pair, transform = decibels(), chain(TWO)
    named = write_tiff(tmp_path / "named.tif", pair[::-1], ("VH", "VV"))
    plain = write_tiff(tmp_path / "plain.tif", pair[::-1], ("", ""))
    expected = prepare_chips([pair], ["a"], transform).values
    assert torch.equal(read_chips([named], transform).values, expected)
    assert torch.equal(read_chips([plain], transform, bands=("VH", "VV")).values, expected)
    with pytest.raises(ImageError, match=r"plain\.tif"):
        read_chips([plain], transform)
    with pytest.raises(OptionError, match="takes the bands VV, VH: they are read by their names"):
        read_chips([named], transform, band=1)


class OfOneBand(nn.Module):
    """A network that reads one of two bands."""

    def __init__(self, band: int) -> None:
        super().__init__()
        self.band, self.convolution = band, nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x[:, self.band : self.band + 1])


def test_noise_in_a_band_that_the_network_does_not_read_may_grow() -> None:
    torch.manual_seed(0)
    transform = chain(TWO)
    chips, largest = prepare_chips([decibels()], ["a"], transform), 10.0
    found = {}
    for band in (None, "VV", "VH"):
        points = KnowledgePoints(
            OfOneBand(1),
            layer="convolution",
            channel=band_index(transform, band),
            estimator=Direct(steps=30, max_sigma=largest),
            progress=False,
        )
        assert points.settings()["channel"] == {None: None, "VV": 0, "VH": 1}[band]
        found[band] = points.explain(chips.values).sigma
    assert (found["VV"] > 0.5 * largest).all()  # the loss has no other end
    assert (found["VH"] < 0.1 * largest).all() and (found[None] < 0.1 * largest).all()


def test_a_channel_that_is_not_there_is_an_error() -> None:
    points = KnowledgePoints(OfOneBand(0), layer="convolution", channel=2, estimator=Direct(steps=1), progress=False)
    with pytest.raises(OptionError, match="expected a channel from 0 to 1, got 2"):
        points.explain(prepare_chips([decibels()], ["a"], chain(TWO)).values)


def test_chips_without_content_are_named() -> None:
    for image, transform in ((np.ones((8, 8)), chain(ONE)), (np.full((2, 8, 8), -9.0, np.float32), chain(TWO))):
        with pytest.raises(ImageError, match="b: all pixels are equal"):
            prepare_chips([image], ["b"], transform)
