"""Class-activation maps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sarhub_models.errors import InputError, OptionError, UnknownNameError
from sarhub_models.explain import CAM_METHODS, class_activation_maps
from sarhub_models.networks import build


class Halves(nn.Module):
    """Class 0 is evidence on the left, class 1 on the right; an in-place layer follows the maps."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        self.maps, self.after = nn.Identity(), nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.ones(1))
        self.output_fmt = "NHWC" if last else "NCHW"

    def forward(self, x: Tensor) -> Tensor:
        side = torch.zeros(2, 1, 1, x.shape[-1])
        side[0, ..., : x.shape[-1] // 2] = 1
        side[1, ..., x.shape[-1] // 2 :] = 1
        maps = (x * self.scale) * side[:, 0][None]
        if self.output_fmt == "NHWC":
            maps = maps.permute(0, 2, 3, 1)
        maps = self.after(self.maps(maps))
        return maps.mean(dim=(1, 2) if self.output_fmt == "NHWC" else (2, 3))


def ramp() -> Tensor:
    return torch.linspace(0.1, 1, 16).repeat(2, 1, 8, 1)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("method", [m for m in CAM_METHODS if m != "eigencam"])
def test_evidence_lies_where_the_class_is_read(method: str, last: bool) -> None:
    maps = class_activation_maps(Halves(last), ramp(), method=method, layer="maps", classes=[0, 1], progress=False)
    assert maps.shape == (2, 8, 16)
    assert maps.dtype == np.float32
    assert maps[0, :, 8:].max() == 0
    assert maps[0, :, :8].max() == pytest.approx(1)
    assert maps[1, :, :8].max() == 0


def test_default_class_is_the_one_that_the_network_gives() -> None:
    predicted = class_activation_maps(Halves(), ramp(), layer="maps")
    wanted = class_activation_maps(Halves(), ramp(), layer="maps", classes=[1, 1])
    assert np.array_equal(predicted, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mobilenetv3", "swin_t"])
def test_networks_are_explained_and_left_as_they_were(network: str) -> None:
    torch.set_num_threads(1)
    model = build(network, num_classes=3).train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    before = copy.deepcopy(model.state_dict())
    maps = class_activation_maps(model, torch.rand(3, 3, 128, 128), chunk=2, mean=0.5, std=0.2)
    assert maps.shape == (3, 128, 128)
    assert 0 <= maps.min() <= maps.max() <= 1
    assert torch.equal(first.grad, torch.ones_like(first))
    assert model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_wrong_arguments_say_what_is_right() -> None:
    with pytest.raises(UnknownNameError, match="gradcam"):
        class_activation_maps(Halves(), ramp(), method="gradcamm", layer="maps")
    with pytest.raises(InputError, match="0 to 1"):
        class_activation_maps(Halves(), ramp(), layer="maps", classes=[0, 2])
    with pytest.raises(InputError, match="2 classes"):
        class_activation_maps(Halves(), ramp(), layer="maps", classes=[0])
    flat = nn.Sequential(nn.Flatten(), nn.Linear(128, 2))
    with pytest.raises(OptionError, match="four axes"):
        class_activation_maps(flat, ramp(), layer="0")
    with pytest.raises(OptionError, match="classifier"):
        class_activation_maps(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Identity()), ramp(), layer="0")
