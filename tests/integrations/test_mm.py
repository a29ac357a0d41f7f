import copy
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import sarhub_models as sarhub
from sarhub_models.errors import ImageError, OptionError, UnknownNameError
from sarhub_models.models.export import export_named
from sarhub_models.transforms import ptls
from sarhub_models.zoo.manifest import list_models
from tests.models.test_create import release
from tests.networks.released import image

pytest.importorskip("mmcv", reason="the MM stack is not installed: make test-mm sets it up", exc_type=ImportError)
mmengine_registry = pytest.importorskip("mmengine.registry")
mm = pytest.importorskip("sarhub_models.integrations.mm")

CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "resnet101": (256, 512, 1024, 2048),
    "senet50": (256, 512, 1024, 2048),
    "mobilenetv3": (16, 24, 48, 576),
    "densenet121": (256, 512, 1024, 1024),
    "swin_t": (96, 192, 384, 768),
    "swin_b": (128, 256, 512, 1024),
}
NETWORKS = list(CHANNELS)
DILATING = [name for name in NETWORKS if not name.startswith("swin")]
SMALL = ["resnet18", "senet50", "mobilenetv3", "densenet121", "swin_t"]
# The first module or modules of the stem, and of the first stage.
STEM = {"mobilenetv3": ("model.conv_stem", "model.bn1"), "densenet121": ("features_conv0", "features_norm0")}
STEM |= dict.fromkeys(("swin_t", "swin_b"), ("patch_embed",))
FIRST_STAGE = {"mobilenetv3": "model.blocks.0", "densenet121": "features_denseblock1", "swin_t": "layers_0"}
SIZE = (2, 3, 128, 160)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Stand-ins for the released files, written when they are first asked for."""
    folder, written = tmp_path_factory.mktemp("released"), {}

    def file(network):
        if network not in written:
            written[network] = release(folder, network)
        return written[network]

    return file


def build(network, pretrained=False, **options):
    return mmengine_registry.MODELS.build(
        {"type": "SARHubBackbone", "name": f"{network}_tsx", "pretrained": pretrained, **options}
    )


def same_place(*models):
    """Put tensors where convolutions round alike: files are mapped into memory at odd addresses."""
    return [copy.deepcopy(model).eval() for model in models]


def plain_maps(network, file, x, **options):
    model = sarhub.create_model(f"{network}_tsx", file, features_only=True, **options)
    (model,) = same_place(model)
    with torch.inference_mode():
        maps = model(x)
    maps = [m.permute(0, 3, 1, 2) for m in maps] if network.startswith("swin") else maps
    return maps[-4:]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_maps_equal_those_of_create_model_to_the_bit(files, network):
    (backbone,) = same_place(build(network, files(network)))
    x = image()
    with torch.inference_mode():
        maps = backbone(x)
    expected = plain_maps(network, files(network), x)
    assert isinstance(maps, tuple) and all(m.is_contiguous() for m in maps)
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    assert backbone.channels == CHANNELS[network] == tuple(mm.backbone_channels(f"{network}_tsx"))
    assert tuple(m.shape[1] for m in maps) == CHANNELS[network]
    assert backbone.strides == (4, 8, 16, 32) == tuple(128 // m.shape[2] for m in maps)


@pytest.mark.slow
@pytest.mark.parametrize("network", SMALL)
def test_chosen_stages_and_nothing_behind_them(files, network):
    whole, part = same_place(
        build(network, files(network)), build(network, files(network), out_indices=(1, 2), frozen_stages=4)
    )
    with torch.inference_mode():
        maps, expected = part(image()), whole(image())[1:3]
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    assert (part.channels, part.strides) == (CHANNELS[network][1:3], (8, 16))
    assert mm.backbone_channels(f"{network}_tsx", (1, 2)) == list(part.channels)
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("size", [(160, 192), (128, 256)])
def test_swin_at_other_sizes_is_the_network_built_for_them(files, size):
    x = image("size", (1, 3, *size))
    (backbone,) = same_place(build("swin_t", files("swin_t")))
    expected = plain_maps("swin_t", files("swin_t"), x, img_size=size)
    with torch.inference_mode():
        backbone(image())  # the masks of one size must not stay for the next
        maps = backbone(x)
        again = backbone(image())
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again, plain_maps("swin_t", files("swin_t"), image()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("network", SMALL)
@pytest.mark.parametrize("size", [(130, 201), (64, 96), (37, 300)])
def test_any_size(files, network, size):
    (backbone,) = same_place(build(network, files(network)))
    with torch.inference_mode():
        maps = backbone(image("odd", (1, 3, *size)))
    for m, stride in zip(maps, (4, 8, 16, 32), strict=True):
        assert m.isfinite().all()
        exact = [side / stride for side in size]
        if network == "densenet121":  # average pooling leaves an odd last row out
            assert all(side - 1 < got <= side + 1 for got, side in zip(m.shape[2:], exact, strict=True))
        else:
            assert all(got == np.ceil(side) for got, side in zip(m.shape[2:], exact, strict=True))


@pytest.mark.slow
def test_small_images_for_swin_are_filled_up(files):
    (backbone,) = same_place(build("swin_t", files("swin_t")))
    x = image("small", (1, 3, 96, 112))
    with torch.inference_mode():
        maps = backbone(x)
        filled = backbone(nn.functional.pad(x, (0, 16, 0, 32)))
    for small, whole in zip(maps, filled, strict=True):
        assert torch.equal(small, whole[..., : small.shape[2], : small.shape[3]])


def without_gates(model):
    """Take out squeeze-and-excitation, whose mean over the map depends on the density of the map."""
    for module in model.modules():
        if isinstance(getattr(module, "se", None), nn.Module):
            module.se = getattr(module.se, "act2", nn.Identity())
    return model


@pytest.mark.slow
@pytest.mark.parametrize("network", DILATING)
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilation_keeps_what_the_network_computes(files, network, output_stride):
    """Of the denser map, every second or fourth value is the one that the network gives without dilation."""
    backbones = build(network, files(network)), build(network, files(network), output_stride=output_stride)
    plain, dense = map(without_gates, same_place(*backbones))
    x = image("dilated", (1, 3, 96, 128))
    with torch.inference_mode():
        maps, denser = plain(x), dense(x)
    assert plain.state_dict().keys() == dense.state_dict().keys()
    assert dense.strides == tuple(min(stride, output_stride) for stride in plain.strides)
    for coarse, fine, stride in zip(maps, denser, dense.strides, strict=True):
        assert fine.shape[2:] == (96 // stride, 128 // stride)
        step = fine.shape[2] // coarse.shape[2]
        torch.testing.assert_close(fine[..., ::step, ::step], coarse, rtol=1e-4, atol=1e-5 * coarse.abs().max().item())
    assert torch.equal(maps[0], denser[0]) and torch.equal(maps[1], denser[1])


@pytest.mark.slow
@pytest.mark.parametrize("network", SMALL)
def test_frozen_parts(files, network):
    stem, first = STEM.get(network, ("conv1", "bn1")), FIRST_STAGE.get(network, "layer1")
    starts = {-1: (), 0: stem, 1: (*stem, first)}
    for frozen, names in starts.items():
        backbone = build(network, files(network), frozen_stages=frozen).train()
        still = {name for name, p in backbone.network.named_parameters() if not p.requires_grad}
        expected = {
            name for name, _ in backbone.network.named_parameters() if name.startswith(tuple(f"{n}." for n in names))
        }
        assert still == expected
        training = {
            name for name, m in backbone.network.named_modules() if m.training and name.startswith(names or "-")
        }
        assert not training
    everything = build(network, frozen_stages=4)
    assert not any(p.requires_grad for p in everything.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "densenet121", "mobilenetv3"])
def test_batch_norm_keeps_its_statistics(files, network):
    backbone = build(network, files(network), norm_eval=True, norm_requires_grad=False).train()
    before = copy.deepcopy(dict(backbone.named_buffers()))
    backbone(image())
    assert all(torch.equal(before[name], buffer) for name, buffer in backbone.named_buffers())
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    assert len(norms) > 10
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert any(p.requires_grad for p in backbone.parameters())

    moving = build(network, files(network)).train()
    moving(image())
    assert not all(torch.equal(before[name], buffer) for name, buffer in moving.named_buffers())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "densenet121", "mobilenetv3"])
def test_synchronized_batch_norm_computes_the_same(files, network):
    """MMEngine converts the whole model (sync_bn="torch") when it trains in several processes."""
    (backbone,) = same_place(build(network, files(network)))
    with torch.inference_mode():
        expected = backbone(image())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
    converted.eval()
    with torch.inference_mode():
        for a, b in zip(converted(image()), expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "senet50", "mobilenetv3", "densenet121", "swin_t"])
def test_checkpointing_gives_the_same_gradients_and_keeps_less(files, network):
    options = {"norm_eval": True, "frozen_stages": 1, "drop_path_rate": 0.0 if network == "swin_t" else None}
    gradients, kept = [], []
    for with_cp in (False, True):
        backbone = copy.deepcopy(build(network, files(network), with_cp=with_cp, **options)).train()
        sizes = []

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = sum(m.square().mean() for m in backbone(image("step", SIZE)))
        kept.append(sum(sizes))
        loss.backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters()})
    plain, again = gradients
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        assert (gradient is None) == (again[name] is None)
        if gradient is not None:
            torch.testing.assert_close(again[name], gradient, rtol=1e-4, atol=1e-6 * gradient.abs().max().item())
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.slow
def test_init_weights_leaves_the_weights_alone(files):
    for network in ("mobilenetv3", "swin_t"):
        backbone = build(network, files(network))
        before = copy.deepcopy(backbone.state_dict())
        wrapper = pytest.importorskip("mmengine.model").BaseModule()
        wrapper.backbone = backbone
        wrapper.init_weights()
        assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())


@pytest.mark.slow
def test_weights_from_the_cache_offline_and_from_a_mirror(files, tmp_path, monkeypatch):
    sarhub.import_checkpoint(files("mobilenetv3"))
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    x = image()
    expected = plain_maps("mobilenetv3", files("mobilenetv3"), x)
    (cached,) = same_place(build("mobilenetv3", True))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(cached(x), expected, strict=True))

    monkeypatch.setenv("SARHUB_MIRROR", os.environ["SARHUB_CACHE"])
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "empty"))
    (mirrored,) = same_place(build("mobilenetv3", True))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(mirrored(x), expected, strict=True))


def test_found_from_the_registries_of_both_frameworks():
    for package in ("mmdet", "mmseg"):
        registry = pytest.importorskip(f"{package}.registry")
        assert registry.MODELS.get("SARHubBackbone") is mm.SARHubBackbone
        assert registry.TRANSFORMS.get("SARHubPreprocess") is mm.SARHubPreprocess


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50_ssl4eo.moco", "swin_v2_b_satlas.si"])
def test_public_backbones_of_several_bands(name):
    backbone = mm.SARHubBackbone(name).eval()
    with torch.inference_mode():
        maps = backbone(image("two", (1, 2, 64, 64)))
    assert [tuple(m.shape[1:]) for m in maps] == [(c, 16 >> i, 16 >> i) for i, c in enumerate(backbone.channels)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_indices": (0, 4)}, "out_indices of 0, 1, 2 and 3"),
        ({"out_indices": (2, 1)}, "rising order"),
        ({"out_indices": ()}, "out_indices"),
        ({"frozen_stages": 5}, "frozen_stages from -1 to 4"),
        ({"output_stride": 4}, "output_stride 32, 16 or 8"),
        ({"name": "swin_t_tsx", "output_stride": 8}, "cannot be dilated"),
        ({"name": "densenet121_tsx", "drop_path_rate": 0.1}, "drop_path_rate"),
        ({"name": "swin_v2_b_satlas.si", "output_stride": 16}, "output_stride"),
        ({"name": "vit_base_patch16_ssl4eo.mae"}, "strides"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(OptionError, match=message):
        mm.SARHubBackbone(**{"name": "resnet18_tsx", **options})


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="resnet50_ben"):
        mm.SARHubBackbone("resnet50_bem")


# ------------------------------------------------------------------------------------------------- preprocessing


def gray(shape=(60, 80), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def prepare(results, **options):
    return mmengine_registry.TRANSFORMS.build({"type": "SARHubPreprocess", **options})(results)


@pytest.mark.parametrize("name", [f"resnet18_{data}" for data in ("tsx", "ben", "osu")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_becomes_what_the_weights_were_trained_on(name, dtype):
    picture = gray((128, 128), dtype)
    prepared = prepare({"img": picture}, name=name)["img"]
    amplitude = picture.astype(np.float32) / np.iinfo(dtype).max
    expected = sarhub.create_transform(name)(amplitude)  # at its own size nothing is resized
    assert prepared.dtype == np.float32 and prepared.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(prepared, expected.permute(1, 2, 0).numpy(), rtol=1e-6)


def test_three_equal_channels_are_one_band_and_the_size_stays():
    picture = gray()
    three = prepare({"img": np.stack([picture] * 3, axis=-1)}, name="resnet18_ben")["img"]
    one = prepare({"img": picture[..., None]}, name="resnet18_ben", in_channels=1)["img"]
    assert three.shape == (60, 80, 3) and one.shape == (60, 80, 1)
    assert np.array_equal(three, np.repeat(one, 3, axis=-1))


def test_the_operator_is_drawn_anew_in_training():
    picture = gray()
    info = sarhub.model_info("resnet18_osu").preprocessing
    torch.manual_seed(1)
    drawn = [prepare({"img": picture}, name="resnet18_osu", training=True)["img"] for _ in range(2)]
    assert not np.array_equal(*drawn)
    torch.manual_seed(1)
    percent = info.low + (info.high - info.low) * torch.rand(1)
    expected = (ptls(picture[None] / np.float32(255), percent.numpy()) - info.mean) / info.std
    np.testing.assert_allclose(drawn[0][..., 0], expected[0], rtol=1e-4, atol=1e-4)


def test_weights_of_several_bands_keep_their_units():
    bands = np.random.default_rng(0).uniform(-25, -5, (40, 50, 2)).astype(np.float32)
    prepared = prepare({"img": bands}, name="resnet50_ssl4eo.moco")["img"]
    info = sarhub.model_info("resnet50_ssl4eo.moco")
    mean, std = info.statistics(range(2))
    assert prepared.shape == (40, 50, 2)
    clip = info.preprocessing.clip
    values = bands if clip is None else bands.clip(*(np.float32(limit) for limit in clip))
    np.testing.assert_allclose(prepared, (values - np.float32(mean)) / np.float32(std), rtol=1e-4, atol=1e-4)


def test_a_color_picture_is_named():
    with pytest.raises(ImageError, match=r"here\.jpg: .*color picture"):
        prepare({"img": gray((60, 80, 3)), "img_path": "here.jpg"}, name="resnet18_ben")


def test_one_preprocessing_serves_all_networks_of_one_pre_training():
    """The shipped configurations name one model for the preprocessing of all networks."""
    for data in ("tsx", "ben", "osu"):
        found = {sarhub.model_info(name).preprocessing for name in list_models(dataset=data) if "." not in name}
        assert len(found) == 1


@pytest.mark.slow
def test_a_file_that_describes_itself_is_backbone_and_preprocessing(tmp_path):
    file = tmp_path / "mine.safetensors"
    export_named("resnet18_tsx", file, format="safetensors", pretrained=False)
    backbone = mmengine_registry.MODELS.build({"type": "SARHubBackbone", "name": str(file), "out_indices": (3,)}).eval()
    with torch.inference_mode():
        (maps,) = backbone(image())
        expected = sarhub.create_model(file, features_only=True).eval()(image())[-1]
    torch.testing.assert_close(maps, expected)
    assert mm.backbone_channels(str(file)) == [64, 128, 256, 512]
    step = mmengine_registry.TRANSFORMS.build({"type": "SARHubPreprocess", "name": str(file)})
    assert repr(step.chain.steps.operator) == repr(sarhub.create_transform("resnet18_tsx").steps.operator)
