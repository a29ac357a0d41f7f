"""The networks of the public weights: options, channels, sizes, and what files of them may look like."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import CheckpointError, OptionError
from tests.outputs import assert_same_output

from .released import value

VIT = "vit_small_patch16_ssl4eo.mae"
RESNET = "resnet50_ssl4eo.moco"
SWIN = "swin_v2_b_satlas.mi"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stand-ins for released files, with random numbers."""
    folder = tmp_path_factory.mktemp("released")
    result = {}
    for name, network in ((VIT, "vit_small_patch16"), (RESNET, "resnet50")):
        result[name] = folder / f"{network}.pth"
        layout = networks.tensor_layout(network, num_classes=0, in_chans=2)
        torch.save({key: value("dev", key, shape) for key, (shape, _) in layout.items()}, result[name])
    return result


def image(channels: int, side: int = 224) -> torch.Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(1))


def features(name: str, file: Path, x: torch.Tensor, **options) -> torch.Tensor:
    with torch.inference_mode():
        return sarhub.create_model(name, checkpoint_path=file, **options).eval()(x)


@pytest.mark.slow
@pytest.mark.parametrize("name", [VIT, RESNET])
def test_channels_are_bands_by_name_and_missing_ones_count_as_zero(name: str, files: dict[str, Path]) -> None:
    x = image(2, 224 if name == VIT else 64)
    vv, vh = x[:, :1], x[:, 1:]
    nothing = torch.zeros_like(vv)
    whole = features(name, files[name], x)
    assert_same_output(features(name, files[name], x, in_chans=2), whole)
    only_vv = features(name, files[name], torch.cat([vv, nothing], 1))
    only_vh = features(name, files[name], torch.cat([nothing, vh], 1))
    torch.testing.assert_close(features(name, files[name], vv, in_chans=1), only_vv)
    torch.testing.assert_close(features(name, files[name], vv, bands=("VV",)), only_vv)
    torch.testing.assert_close(features(name, files[name], vh, bands="VH"), only_vh)
    torch.testing.assert_close(features(name, files[name], x.flip(1), bands=("VH", "VV")), whole)
    assert not torch.allclose(only_vv, only_vh)


@pytest.mark.parametrize(
    "options",
    [{"in_chans": 3}, {"bands": ("HH",)}, {"bands": ("VV", "VV")}, {"bands": ()}, {"bands": ("VV",), "in_chans": 2}],
)
def test_channels_that_the_weights_never_saw_are_refused(options: dict) -> None:
    with pytest.raises(OptionError, match=r"VV|VH"):
        sarhub.create_model(RESNET, **options)
    with pytest.raises(OptionError, match=r"VV|VH"):
        sarhub.create_transform(RESNET, **options)


def test_the_first_band_of_satlas_is_vh() -> None:
    assert sarhub.model_info(SWIN).input.bands[0] == "VH"
    assert sarhub.create_transform(SWIN, in_chans=1).bands == ("VH",)


def test_bands_of_one_band_weights() -> None:
    assert sarhub.create_model("mobilenetv3_ben", bands=("VV",)).pretrained_cfg["input_size"][0] == 3
    assert sarhub.create_model("mobilenetv3_tsx", bands=("HH",)).pretrained_cfg["input_size"][0] == 3
    for name, bands in (("mobilenetv3_ben", ("VH",)), ("mobilenetv3_tsx", ("VV", "VH"))):
        with pytest.raises(OptionError, match="takes one band"):
            sarhub.create_model(name, bands=bands)


@pytest.mark.slow
def test_encoders_give_features_and_take_new_heads(files: dict[str, Path]) -> None:
    x = image(2)
    encoder = sarhub.create_model(VIT, checkpoint_path=files[VIT])
    assert encoder.num_classes == 0
    assert encoder.pretrained_cfg["mean"] == pytest.approx((-23.06242707, -32.01538968))
    assert features(VIT, files[VIT], x).shape == (1, 384)
    assert features(VIT, files[VIT], x, num_classes=5).shape == (1, 5)


@pytest.mark.slow
def test_a_head_that_the_user_trained_is_kept(files: dict[str, Path], tmp_path: Path) -> None:
    model = sarhub.create_model(RESNET, checkpoint_path=files[RESNET], num_classes=4).eval()
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    with torch.inference_mode():
        expected = model(image(2, 64))
    assert_same_output(features(RESNET, tmp_path / "mine.pth", image(2, 64)), expected)


def test_position_embeddings_fit_another_image_size(files: dict[str, Path]) -> None:
    model = sarhub.create_model(VIT, checkpoint_path=files[VIT], img_size=(112, 224))
    assert model.pos_embed.shape == (1, 1 + 7 * 14, 384)
    trained = torch.load(files[VIT])["pos_embed"]
    assert torch.equal(model.pos_embed[:, 0], trained[:, 0])
    assert (model.pos_embed.mean() - trained.mean()).abs() < 1e-3
    assert features(VIT, files[VIT], image(2)[..., :112, :], img_size=(112, 224)).shape == (1, 384)
    with pytest.raises(OptionError, match="multiples of 16"):
        sarhub.create_model(VIT, img_size=100)


@pytest.mark.slow
def test_feature_maps(files: dict[str, Path]) -> None:
    maps = features(VIT, files[VIT], image(2), features_only=True, out_indices=(5, 11))
    assert [tuple(m.shape) for m in maps] == [(1, 384, 14, 14)] * 2
    with networks.on_meta_device():
        swin = networks.build("swin_v2_b", num_classes=0, in_chans=2, features_only=True)
        shapes = [tuple(m.shape) for m in swin(torch.empty(1, 2, 64, 64))]
    assert shapes == [(1, 16, 16, 128), (1, 8, 8, 256), (1, 4, 4, 512), (1, 2, 2, 1024)]
    assert swin.feature_info.channels() == [128, 256, 512, 1024]
    assert swin.feature_info.reduction() == [4, 8, 16, 32]


def test_swin_v2_behaves_like_timms_networks() -> None:
    torch.manual_seed(0)
    model = networks.build("swin_v2_b", num_classes=6, in_chans=2, depths=(1, 1, 1, 1)).eval()
    x = image(2, 80)  # no multiple of the windows
    with torch.inference_mode():
        found = model.forward_features(x)
        assert found.shape == (1, 3, 3, model.num_features)
        assert torch.equal(model.forward_head(found), model(x))
        pooled = model.forward_head(found, pre_logits=True)
        torch.testing.assert_close(model.get_classifier()(pooled), model(x))
        model.reset_classifier(0)
        assert torch.equal(model(x), pooled)
        model.reset_classifier(3)
        assert model(x).shape == (1, 3)
    for options in ({"img_size": 256}, {"global_pool": "max"}):
        with pytest.raises(OptionError):
            networks.build("swin_v2_b", num_classes=0, **options)


@pytest.mark.slow
def test_identify_tells_networks_of_two_channels_with_and_without_heads(files: dict[str, Path]) -> None:
    state = torch.load(files[VIT])
    assert networks.identify(state) == "vit_small_patch16"
    lacking = {key: tensor for key, tensor in state.items() if not key.startswith("norm.")}
    assert networks.identify(lacking) == "vit_small_patch16"
    headed = {**state, "head.weight": torch.zeros(9, 384), "head.bias": torch.zeros(9)}
    assert networks.identify(headed) == "vit_small_patch16"
    assert networks.identify({f"{key}": tensor for key, tensor in torch.load(files[RESNET]).items()}) == "resnet50"
    with pytest.raises(CheckpointError, match="nearest is vit_small_patch16"):
        networks.identify({**state, "decoder.weight": torch.zeros(2)})


@pytest.mark.slow
def test_prefixes_of_wrappers_are_dropped(files: dict[str, Path], tmp_path: Path) -> None:
    state = {f"module.{key}": tensor for key, tensor in torch.load(files[VIT]).items()}
    torch.save({"state_dict": state, "epoch": 99}, tmp_path / "wrapped.pth")
    x = image(2)
    assert_same_output(features(VIT, tmp_path / "wrapped.pth", x), features(VIT, files[VIT], x))
