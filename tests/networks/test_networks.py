import ast
import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models import networks
from sarhub_models.errors import CheckpointError, OptionError, UnknownNameError
from sarhub_models.zoo.manifest import list_networks
from tests.outputs import assert_same_output

from .released import checkpoint, image, released_shapes

NETWORKS = ["resnet18", "resnet50", "resnet101", "senet50", "mobilenetv3", "densenet121", "swin_t", "swin_b"]
# First three logits of both images, and the largest of all, of the original networks filled by `checkpoint`.
LOGITS = {
    "resnet18": ([[0.0862691, 0.1133459, 0.0908829], [0.0893762, 0.1180727, 0.0902183]], 0.1847383),
    "resnet50": ([[0.2858056, 0.1392041, -0.1317198], [0.2863811, 0.1386676, -0.1317151]], 0.3016200),
    "resnet101": ([[0.3331692, 0.2067805, -0.1297328], [0.3334710, 0.2063908, -0.1299340]], 0.3763714),
    "senet50": ([[0.1167292, 0.0523451, -0.0315764], [0.1167706, 0.0516789, -0.0313392]], 0.2462195),
    "mobilenetv3": ([[-0.0090306, 0.0907299, -0.0030314], [-0.0090306, 0.0907299, -0.0030313]], 0.1365097),
    "densenet121": ([[0.0502421, 0.0004280, -0.1302326], [0.0502152, 0.0004451, -0.1301893]], 0.1602045),
    "swin_t": ([[0.4586519, 0.7775810, -0.3152745], [0.5857001, 0.7895837, -0.3665172]], 1.0966509),
    "swin_b": ([[0.4213317, 0.2804917, 0.1080077], [0.4944075, 0.3017252, 0.2196633]], 0.8731265),
}
PARAMETERS = {
    "resnet18": 11.2,
    "resnet50": 23.6,
    "resnet101": 42.6,
    "senet50": 26.1,
    "mobilenetv3": 1.55,
    "densenet121": 7.0,
    "swin_t": 27.5,
    "swin_b": 86.7,
}


def loaded(network: str, **options) -> torch.nn.Module:
    with networks.on_meta_device():
        model = networks.build(network, num_classes=32, **options)
    networks.assign(model, networks.rename_checkpoint(network, checkpoint(network)))
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_logits_are_those_of_the_original_network(network):
    expected, largest = LOGITS[network]
    with torch.inference_mode():
        logits = loaded(network)(image()).numpy()
    assert np.abs(logits[:, :3] - expected).max() <= 1e-5 * largest + 5e-8  # the excerpt has seven digits
    assert np.abs(logits).max() == pytest.approx(largest, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_all_logits_against_the_reference_vectors(network, test_data):
    reference = json.loads((test_data / "vectors" / "logits.json").read_text())["logits"]
    expected = np.array(reference[network])
    with torch.inference_mode():
        logits = loaded(network)(image()).numpy()
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("network", NETWORKS)
def test_stand_in_has_the_tensors_of_the_released_file(network, test_data):
    released = json.loads((test_data / "vectors" / "checkpoint_keys.json").read_text())[network]
    stored = {name: tuple(shape) for name, shape, _ in released}
    derived = {name for name in stored if name.endswith(("relative_position_index", "attn_mask"))}
    assert released_shapes(network) == {name: stored[name] for name in stored.keys() - derived}


@pytest.mark.parametrize("network", NETWORKS)
def test_number_of_parameters(network):
    with networks.on_meta_device():
        parameters = sum(p.numel() for p in networks.build(network, num_classes=32).parameters())
    assert parameters / 1e6 == pytest.approx(PARAMETERS[network], rel=0.01)


@pytest.mark.parametrize("network", NETWORKS)
def test_renaming_our_own_names_changes_nothing(network):
    ours = networks.rename_checkpoint(network, checkpoint(network))
    again = networks.rename_checkpoint(network, ours)
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[name], ours[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_built_without_numbers_equals_the_ordinary_network(network):
    with networks.on_meta_device():
        model = networks.build(network, num_classes=32)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    networks.assign(model, networks.rename_checkpoint(network, checkpoint(network)))
    ordinary = networks.build(network, num_classes=32)
    ordinary.load_state_dict(networks.rename_checkpoint(network, checkpoint(network)))
    with torch.inference_mode():
        assert_same_output(model.eval()(image()), ordinary.eval()(image()))


def test_random_state_is_left_alone_by_an_empty_build():
    before = torch.get_rng_state()
    with networks.on_meta_device():
        networks.build("swin_t", num_classes=32)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "senet50", "mobilenetv3", "densenet121", "swin_t"])
@pytest.mark.parametrize("size", [(224, 224), (256, 256), (160, 192)])
def test_other_image_sizes(network, size):
    options = {"img_size": size} if network.startswith("swin") else {}
    x = image("size", (1, 3, *size))
    with torch.inference_mode():
        assert loaded(network, **options)(x).isfinite().all()


@pytest.mark.parametrize("size", [(224, 224), (160, 192)])
def test_swin_keeps_its_bias_tables_at_other_sizes(size):
    model, trained = loaded("swin_t", img_size=size), checkpoint("swin_t")
    tables = {name: tensor for name, tensor in model.state_dict().items() if name.endswith("bias_table")}
    assert len(tables) == 12
    assert all(torch.equal(tensor, trained[name]) for name, tensor in tables.items())


def test_swin_at_another_size_is_the_same_function_of_one_window():
    """With one 4x4 window per attention (first block of the first stage), a larger image is just more windows."""
    small, large = loaded("swin_t"), loaded("swin_t", img_size=256)
    x = image("tile", (1, 3, 128, 128))
    tiled = x.repeat(1, 1, 2, 2)
    with torch.inference_mode():
        first = small.layers[0].blocks[0](small.patch_embed(x))
        quarter = large.layers[0].blocks[0](large.patch_embed(tiled))[:, :32, :32]
    assert torch.allclose(first, quarter, atol=1e-5)


@pytest.mark.parametrize("options", [{"img_size": 64}, {"img_size": (128, 130)}, {"window_size": 7}])
def test_swin_refuses_what_the_trained_windows_do_not_fit(options):
    with pytest.raises(OptionError):
        networks.build("swin_b", num_classes=10, **options)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_identify(network):
    assert networks.identify(checkpoint(network)) == network
    assert networks.identify(networks.rename_checkpoint(network, checkpoint(network))) == network


@pytest.mark.slow
def test_identify_says_what_is_nearest():
    tensors = checkpoint("resnet18")
    tensors["layer1.0.conv1.weight"] = torch.zeros(64, 64, 5, 5)
    with pytest.raises(CheckpointError, match=r"nearest is resnet18, where 1 .*layer1\.0\.conv1\.weight"):
        networks.identify(tensors)
    with pytest.raises(CheckpointError, match="no known network"):
        networks.identify({})


def test_the_list_of_weights_names_the_networks_that_have_a_file():
    assert networks.names() == tuple(list_networks())


@pytest.mark.slow
def test_private_names_of_timm_that_are_used():
    """MobileNetV3's gate and blocks are in no public module of timm: what is relied on of them."""
    private = {}
    for file in Path(networks.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timm.") and "._" in node.module:
                private.setdefault(node.module, set()).update(alias.name for alias in node.names)
    assert private == {
        "timm.models._efficientnet_blocks": {"InvertedResidual", "SqueezeExcite"},
        "timm.models._efficientnet_builder": {"decode_arch_def", "resolve_act_layer", "round_channels"},
    }
    blocks = importlib.import_module("timm.models._efficientnet_blocks")
    assert {"act_layer", "gate_layer", "force_act_layer", "rd_round_fn"} <= set(
        inspect.signature(blocks.SqueezeExcite).parameters
    )
    assert hasattr(networks.build("mobilenetv3", num_classes=0).blocks[1][0].bn2, "act")


def test_unknown_network():
    with pytest.raises(UnknownNameError, match="swin_t"):
        networks.build("swint", num_classes=3)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["senet50", "mobilenetv3"])
def test_own_networks_behave_like_timms(network):
    model = loaded(network)
    x = image()
    with torch.inference_mode():
        logits = model(x)
        features = model.forward_features(x)
        assert torch.allclose(model.forward_head(features), logits, atol=1e-6)
        pooled = model.forward_head(features, pre_logits=True)
        assert torch.allclose(model.get_classifier()(pooled), logits, atol=1e-6)
    assert features.shape == (2, model.num_features, 4, 4)
    assert pooled.shape == (2, model.head_hidden_size)
    model.reset_classifier(5)
    assert model(x).shape == (2, 5)
    model.reset_classifier(0)
    assert model(x).shape == (2, model.head_hidden_size)
    model.set_grad_checkpointing()
    model.train()(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_feature_maps(network):
    with networks.on_meta_device():
        model = networks.build(network, num_classes=32, features_only=True).eval()
        maps = model(torch.empty(2, 3, 128, 128))
    channels_last = network.startswith("swin")
    assert [m.shape[-1 if channels_last else 1] for m in maps] == model.feature_info.channels()
    sides = [m.shape[2] for m in maps]
    assert [128 // side for side in sides] == model.feature_info.reduction()
    assert model.feature_info.reduction()[-1] == 32


@pytest.mark.parametrize("network", ["senet50", "densenet121", "mobilenetv3"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_networks_dilate(network, output_stride):
    model = networks.build(network, num_classes=2, features_only=True, output_stride=output_stride).eval()
    with torch.inference_mode():
        sides = [m.shape[-1] for m in model(image())]
    assert sides[-1] == 128 // output_stride
    assert [128 // side for side in sides] == model.feature_info.reduction()


@pytest.mark.parametrize("network", ["densenet121", "mobilenetv3", "swin_t"])
def test_an_impossible_output_stride(network):
    with pytest.raises(OptionError, match="output_stride"):
        networks.build(network, num_classes=2, output_stride=4)


def test_the_imagenet_package_of_efficientnet_has_the_same_tensors_under_other_names():
    layout = networks.tensor_layout("efficientnet_lite0", num_classes=1000)
    ours = {name: torch.full(shape, float(number)) for number, (name, (shape, _)) in enumerate(layout.items())}
    theirs = dict(zip(_names_of_the_package(), ours.values(), strict=True))  # its file has them in this order
    renamed = networks.rename_checkpoint("efficientnet_lite0", theirs)
    assert renamed.keys() == ours.keys()
    assert all(torch.equal(renamed[name], tensor) for name, tensor in ours.items())


def _names_of_the_package() -> list[str]:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["_conv_stem.weight", *(f"_bn0.{leaf}" for leaf in norm)]
    for block in range(16):
        layers = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        for conv, bn in [("_expand_conv", "_bn0"), *layers] if block else layers:
            names += [f"_blocks.{block}.{conv}.weight", *(f"_blocks.{block}.{bn}.{leaf}" for leaf in norm)]
    return [*names, "_conv_head.weight", *(f"_bn1.{leaf}" for leaf in norm), "_fc.weight", "_fc.bias"]


@pytest.mark.parametrize("network", ["alexnet", "hivit_base", "mixmim_base"])
def test_networks_of_this_package_give_their_maps_each_time(network):
    size = {"img_size": 128} if "img_size" in networks.spec(network).timm_args else {}
    for _ in range(2):  # timm had emptied what the second one was built by
        with networks.on_meta_device():
            model = networks.build(network, num_classes=0, in_chans=1, features_only=True, **size).eval()
            maps = model(torch.empty(1, 1, 128, 128))
        assert [found.shape[1] for found in maps] == model.feature_info.channels()
