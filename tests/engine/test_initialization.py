from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save, save_file
from timm.layers import DropPath
from torch import Tensor, nn

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.engine.initialization import build_network, starting_weights
from sarhub_models.engine.optimizer import parameter_groups
from sarhub_models.engine.sections import Model, Optim
from sarhub_models.engine.trainer import convert_sync_batchnorm
from sarhub_models.errors import CheckpointError, DownloadError, OfflineError, OptionError, UnknownNameError
from sarhub_models.networks import names
from tests.hub_server import HubServer, use_hub

NO_WEIGHTS = Model(network="mobilenetv3", init="none", drop_rate=0, drop_path_rate=0)


def start(init: object, network: str = "mobilenetv3", classes: int = 13, seed: int = 0, size: int = 128) -> nn.Module:
    model = NO_WEIGHTS.model_copy(update={"network": network, "init": str(init)})
    return build_network(model, classes, size, seed)


def body_and_head(model: nn.Module, network: str = "mobilenetv3") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    head = f"{networks.spec(network).head}."
    state = model.state_dict()
    return (
        {key: tensor for key, tensor in state.items() if not key.startswith(head)},
        {key: tensor for key, tensor in state.items() if key.startswith(head)},
    )


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def assert_starts_from(model: nn.Module, given: nn.Module, network: str = "mobilenetv3") -> None:
    """The body is the given one, and the head is the one a network without weights has."""
    body, head = body_and_head(model, network)
    assert_equal(body, body_and_head(given, network)[0])
    classes = head[f"{networks.spec(network).head}.weight"].shape[0]
    assert_equal(head, body_and_head(start("none", network, classes), network)[1])


@pytest.fixture(scope="module")
def given() -> nn.Module:
    """A network of 13 classes that has seen a few batches, so that its statistics are no defaults."""
    model = start("none", seed=42)
    with torch.no_grad():
        for _ in range(2):
            model.train()(torch.rand(4, 3, 64, 64))
    return model.eval()


def test_without_weights_the_seed_decides() -> None:
    first, again, other = (body_and_head(start("none", seed=seed)) for seed in (0, 0, 1))
    for one, same, different in zip(first, again, other, strict=True):
        assert_equal(one, same)
        assert not all(torch.equal(one[key], different[key]) for key in one)


@pytest.mark.slow
def test_a_file_gives_all_but_the_head(given: nn.Module, tmp_path: Path) -> None:
    state = given.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, tmp_path / "w.pth")
    for file in ("w.safetensors", "w.pth"):
        assert_starts_from(start(tmp_path / file), given)
        assert_starts_from(start(tmp_path / file, classes=3), given)


def test_a_registered_name_gives_all_but_the_head() -> None:
    assert_starts_from(start("mobilenetv3_dsn"), sarhub.create_model("mobilenetv3_dsn", pretrained=True))


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(start("none", "resnet18").state_dict(), tmp_path / "resnet18.safetensors")
    with pytest.raises(OptionError, match="holds a resnet18, the recipe trains a mobilenetv3"):
        start(tmp_path / "resnet18.safetensors")
    with pytest.raises(OptionError, match="resnet18_tsx is a resnet18, the recipe trains a mobilenetv3"):
        start("resnet18_tsx")
    with pytest.raises(OptionError, match="mobilenetv3_dsn is a mobilenetv3, the recipe trains a resnet18"):
        start("mobilenetv3_dsn", "resnet18")


@pytest.mark.slow
def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no known network"):
        start(tmp_path / "other.safetensors")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        start(tmp_path / "text.pth")
    with pytest.raises(UnknownNameError, match="did you mean 'mobilenetv3_dsn'"):
        start("mobilenetv3_dsm")
    with pytest.raises(UnknownNameError, match="none, imagenet, a file or run that is there"):
        start(tmp_path / "missing.pth")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        use_hub(monkeypatch, server.url, tmp_path / "hub")
        yield server


@pytest.mark.slow
def test_imagenet_weights_come_from_the_hub_and_are_kept(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    published = timm.create_model("resnet18", pretrained=False)
    hub.commit("timm/resnet18.a1_in1k", {"model.safetensors": save(published.state_dict())})
    assert_starts_from(start("imagenet", "resnet18"), published, "resnet18")
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    asked = len(hub.log)
    assert_starts_from(start("imagenet", "resnet18", classes=4), published, "resnet18")
    assert len(hub.log) == asked


@pytest.mark.slow
def test_imagenet_weights_fit_the_windows_of_swin(hub: HubServer) -> None:
    published = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    hub.commit("timm/swin_tiny_patch4_window7_224.ms_in1k", {"model.safetensors": save(published.state_dict())})
    state = start("imagenet", "swin_t").state_dict()
    name = "layers.0.blocks.0.mlp.fc1.weight"
    assert torch.equal(state[name], published.state_dict()[name])
    assert state["layers.0.blocks.0.attn.relative_position_bias_table"].shape == (49, 3)


def test_imagenet_weights_that_cannot_be_had_say_what_to_do(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match=r"cannot fetch .*hf download timm/resnet18\.a1_in1k"):
        start("imagenet", "resnet18")  # no such repository
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    asked = len(hub.log)
    with pytest.raises(OfflineError, match=r"SARHUB_OFFLINE.*hf download timm/resnet18\.a1_in1k"):
        start("imagenet", "resnet18")
    assert len(hub.log) == asked


@pytest.mark.parametrize("network", ["senet50", "mobilenetv3"])
def test_networks_without_imagenet_weights_say_so(network: str) -> None:
    with pytest.raises(OptionError, match=f"no ImageNet weights for {network}"):
        start("imagenet", network)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["swin_t", "resnet18"])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_paths_are_dropped_as_often_as_the_recipe_says(network: str, rate: float) -> None:
    model = NO_WEIGHTS.model_copy(update={"network": network, "drop_path_rate": rate})
    rates = [m.drop_prob for m in build_network(model, 3, 128, 0).modules() if isinstance(m, DropPath)]
    assert max(rates, default=0.0) == pytest.approx(rate)


def test_densenet_has_no_paths_to_drop() -> None:
    start("none", "densenet121")
    model = NO_WEIGHTS.model_copy(update={"network": "densenet121", "drop_path_rate": 0.1})
    with pytest.raises(OptionError, match="densenet121 has no paths to drop"):
        build_network(model, 3, 64, 0)


@pytest.mark.slow
def test_swin_takes_the_size_of_the_recipe() -> None:
    assert start("none", "swin_t", size=160).eval()(torch.zeros(1, 3, 160, 160)).shape == (1, 13)
    with pytest.raises(OptionError, match="img_size 64x64 is too small"):
        start("none", "swin_t", size=64)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_every_parameter_is_in_one_group_and_vectors_are_decayed_on_request(decay_vectors: bool) -> None:
    model = start("none")
    matrices, vectors = parameter_groups(model, Optim(weight_decay=0.05, decay_vectors=decay_vectors))
    assert {id(p) for group in (matrices, vectors) for p in group["params"]} == {id(p) for p in model.parameters()}
    assert all(p.ndim == 1 for p in vectors["params"]) and all(p.ndim > 1 for p in matrices["params"])
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.05, 0.05 if decay_vectors else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in names() if not name.startswith(("vit", "swin_v2"))])  # have none
def test_synchronized_batch_norms_compute_the_same(network: str) -> None:
    torch.manual_seed(0)
    side = 112 if network == "panopticon_base" else 128  # a whole number of its patches
    model = start("none", network, size=side).eval()
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        expected = model(images)
        converted = convert_sync_batchnorm(model)
        torch.testing.assert_close(converted(images), expected)


def test_imagenet_weights_of_an_installed_package_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    there = networks.build("efficientnet_lite0", num_classes=1000).state_dict()
    file = tmp_path / "weights.pth"
    torch.save(there, file)
    spec = replace(networks.spec("efficientnet_lite0"), imagenet=lambda: file)
    monkeypatch.setattr(networks, "spec", lambda name: spec)
    found = starting_weights("efficientnet_lite0", "imagenet")
    assert found.keys() == there.keys() and all(torch.equal(found[name], there[name]) for name in there)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mobilenetv3", "resnet18", "vit_small_patch16"])
def test_weights_of_other_channels_answer_alike_bands_as_before(network: str, tmp_path: Path) -> None:
    given = networks.build(network, num_classes=13)
    save_file({key: tensor.contiguous() for key, tensor in given.state_dict().items()}, tmp_path / "w.safetensors")
    model = NO_WEIGHTS.model_copy(update={"network": network, "init": str(tmp_path / "w.safetensors")})
    with pytest.warns(UserWarning, match="takes 3 channels: its filters are spread over 2"):
        two = build_network(model, 13, 224, 0, in_chans=2)
    image = torch.randn(2, 1, 224, 224)
    given, two = given.eval(), two.eval()
    expected = given.forward_features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(two.forward_features(image.expand(-1, 2, -1, -1)), expected, rtol=1e-3, atol=1e-4)
