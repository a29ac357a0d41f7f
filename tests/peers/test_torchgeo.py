"""The public Sentinel-1 weights, as torchgeo lists, loads and feeds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sarhub_models as sarhub
from sarhub_models import networks

from . import torchgeo as peers

NAMES = peers.names()
# Transformers of timm are shortened to this many blocks: their blocks compute alike, and the names and shapes of all
# of them are compared below.
BLOCKS = 2


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_there_are_nineteen() -> None:
    assert len(NAMES) == 19


@pytest.mark.parametrize("name", NAMES)
def test_the_list_says_what_torchgeo_says(name: str) -> None:
    info, entry = sarhub.model_info(name), peers.peer(name)[1]
    assert info.input.bands == tuple(entry.meta["bands"])
    assert info.input.channels == entry.meta["in_chans"]
    assert entry.meta["publication"] in info.citation
    assert entry.meta["dataset"] in info.dataset.title
    method = entry.meta.get("ssl_method", info.method).replace("-", "")
    assert info.method == method
    assert networks.spec(info.network).timm_name in (entry.meta["model"], f"sarhub_{entry.meta['model']}")
    stated = Path(str(entry.url)).stem.rpartition("-")[2]
    if info.checksum is not None:
        assert (info.checksum.algorithm, info.checksum.value) == ("sha256-prefix", stated)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_torchgeo(name: str, tmp_path: Path) -> None:
    assert peers.difference(name, BLOCKS, tmp_path) <= 1e-5


@pytest.mark.parametrize("leave_out", [("head.",), ("head.", "norm."), ("norm.",)])
def test_files_that_lack_the_head_or_the_final_norm(leave_out: tuple[str, ...], tmp_path: Path) -> None:
    assert peers.difference("vit_small_patch16_ssl4eo.mae", BLOCKS, tmp_path, leave_out) <= 1e-5


@pytest.mark.slow
def test_a_residual_network_without_a_head(tmp_path: Path) -> None:
    assert peers.difference("resnet50_ssl4eo.moco", BLOCKS, tmp_path, ("fc.",)) <= 1e-5


@pytest.mark.parametrize("network", sorted({sarhub.model_info(name).network for name in NAMES} - {"swin_v2_b"}))
def test_the_whole_network_has_the_tensors_of_torchgeo(network: str) -> None:
    name = next(name for name in NAMES if sarhub.model_info(name).network == network)
    builder, entry = peers.peer(name)
    size = {"img_size": entry.meta["img_size"]} if "img_size" in entry.meta else {}
    with networks.on_meta_device():
        model = builder(in_chans=2, num_classes=0, **size)
    expected = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in model.state_dict().items()}
    assert networks.tensor_layout(network, num_classes=0, in_chans=2) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 300, 280), (2, 200, 264)])
def test_the_same_image_becomes_the_same_input(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    if sarhub.model_info(name).input.radiometry == "dn":
        image = rng.integers(0, 256, shape).astype(np.float32)
    else:
        image = rng.normal(-15, 5, shape).astype(np.float32)
    expected = peers.peer(name)[1].transforms(torch.from_numpy(image.copy()))
    variant = "torchgeo" if sarhub.model_info(name).variants else None
    found = sarhub.create_transform(name, variant=variant)(image)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5
