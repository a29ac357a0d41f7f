"""Files in the layouts that other groups release, against networks written here from their descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import OptionError
from sarhub_models.models.loading import spec_of
from sarhub_models.weights import load_checkpoint

from ..peers import olmoearth
from .released import value

Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def images(channels: int, side: int) -> torch.Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(3))


def fill(shapes: dict[str, tuple[int, ...]]) -> Tensors:
    return {name: value("dev", name, shape) for name, shape in shapes.items()}


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def loaded(
    name: str, tensors: Tensors | dict[str, Tensors], folder: Path, suffix: str = ".pth", **options: int
) -> nn.Module:
    """Our network with a released file, read, renamed and checked as a download is."""
    info, file = sarhub.model_info(name), folder / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    found = load_checkpoint(file, spec_of(info), tensors_only=info.tensors_only)
    with networks.on_meta_device():
        classes = networks.head_classes(info.network, found)
        model = networks.build(info.network, num_classes=classes, in_chans=info.input.channels, **options)
    networks.assign(model, found)
    return model.eval()


def agree(ours: nn.Module, theirs: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    with torch.inference_mode():
        found, expected = ours(x), theirs(x)
    assert found.shape == expected.shape and expected.abs().max() > 0
    assert (found - expected).abs().max() <= 1e-5 * max(1, float(expected.abs().max()))


@pytest.mark.parametrize(("name", "classes"), [("alexnet_tsx.tgrs2020", 7), ("alexnet_mstar.tgrs2020", 10)])
def test_alexnet(name: str, classes: int, tmp_path: Path) -> None:
    layers = [(0, 1, 96, 11, 1), (4, 96, 256, 5, 2), (8, 256, 384, 3, 1), (11, 384, 384, 3, 2), (14, 384, 256, 3, 2)]
    shapes = {"classifier.0.weight": (512, 2304), "classifier.0.bias": (512,)}
    shapes |= {"classifier.3.weight": (classes, 512), "classifier.3.bias": (classes,)}
    for index, given, width, kernel, groups in layers:
        shapes[f"features.{index}.weight"] = (width, given // groups, kernel, kernel)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"features.{index + 1}.{leaf}"] = (width,)
        shapes |= {f"features.{index}.bias": (width,), f"features.{index + 1}.num_batches_tracked": ()}
    t = fill(shapes)

    def theirs(x: torch.Tensor) -> torch.Tensor:
        for index, _, _, kernel, groups in layers:
            stride, padding = (4, 0) if index == 0 else (1, kernel // 2)
            x = F.conv2d(x, t[f"features.{index}.weight"], t[f"features.{index}.bias"], stride, padding, 1, groups)
            norm = [t[f"features.{index + 1}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")]
            x = F.leaky_relu(F.batch_norm(x, *norm))
            if index in (0, 4, 14):
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = F.leaky_relu(F.linear(x.flatten(1), t["classifier.0.weight"], t["classifier.0.bias"]))
        return F.linear(x, t["classifier.3.weight"], t["classifier.3.bias"])

    agree(loaded(name, t, tmp_path), theirs, images(1, 128))


def test_alexnet_is_a_network_like_timms() -> None:
    model = networks.build("alexnet", num_classes=4, in_chans=1).eval()
    x = images(1, 128)
    with torch.inference_mode():
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        torch.testing.assert_close(model.get_classifier()(pooled), model(x))
        maps = networks.build("alexnet", num_classes=0, in_chans=1, features_only=True)(x)
        assert [tuple(found.shape[1:]) for found in maps] == [(96, 15, 15), (256, 7, 7), (256, 3, 3)]
        model.reset_classifier(0)
        assert torch.equal(model(x), pooled)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18_mstar.grsl2020", "resnet50_s1wv.wvnet"])
def test_residual_networks_of_torchvision(name: str, tmp_path: Path) -> None:
    classes = sarhub.model_info(name).num_classes
    build = torchvision.models.resnet18 if "18" in name else torchvision.models.resnet50
    theirs = build(num_classes=classes or 1000)
    tensors = fill(shapes_of(theirs))
    theirs.load_state_dict(tensors)
    if not classes:
        theirs.fc = nn.Identity()  # type: ignore[assignment]
    agree(loaded(name, tensors, tmp_path), theirs.eval(), images(3, 128))


@pytest.mark.slow
def test_oceansar_in_the_layout_of_transformers(tmp_path: Path) -> None:
    theirs = torchvision.models.resnet50(num_classes=1)
    theirs.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    tensors = fill(shapes_of(theirs))
    theirs.load_state_dict(tensors)
    patterns = (
        (r"^conv1", "embedder.embedder.convolution"),
        (r"^bn1", "embedder.embedder.normalization"),
        (r"^layer(\d)\.(\d+)", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}"),
        (r"\.conv(\d)", lambda m: f".layer.{int(m[1]) - 1}.convolution"),
        (r"\.bn(\d)", lambda m: f".layer.{int(m[1]) - 1}.normalization"),
        (r"downsample\.0", "shortcut.convolution"),
        (r"downsample\.1", "shortcut.normalization"),
    )
    released = {}
    for name, tensor in tensors.items():
        for pattern, replacement in patterns:
            name = re.sub(pattern, replacement, name)
        released[name] = tensor
    agree(loaded("resnet50_oceansar", released, tmp_path, ".safetensors"), theirs.eval(), images(1, 96))


@pytest.mark.parametrize(
    ("name", "timm_name", "options"),
    [
        ("resnet18_reben", "resnet18", {}),
        pytest.param("resnet101_reben", "resnet101", {}, marks=pytest.mark.slow),
        pytest.param("convnextv2_base_reben", "convnextv2_base", {}, marks=pytest.mark.slow),
        pytest.param("vit_base_patch8_reben", "vit_base_patch8_224", {"img_size": 120}, marks=pytest.mark.slow),
    ],
)
def test_reben_in_the_layout_of_its_training_program(name: str, timm_name: str, options: dict, tmp_path: Path) -> None:
    theirs = timm.create_model(timm_name, num_classes=19, in_chans=2, **options)
    tensors = fill(shapes_of(theirs))
    theirs.load_state_dict(tensors)
    released = {f"model.vision_encoder.{key}": tensor for key, tensor in tensors.items()}
    agree(loaded(name, released, tmp_path, ".safetensors"), theirs.eval(), images(2, 120))


@pytest.mark.slow
def test_decur_in_the_layout_of_its_conversion(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_small_patch16_224", num_classes=0, in_chans=2)
    tensors = fill(shapes_of(theirs))
    theirs.load_state_dict(tensors)
    agree(loaded("vit_small_patch16_ssl4eo.decur", tensors, tmp_path), theirs.eval(), images(2, 224))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("dofa_base_fivesensors", ["mask_token", "norm.weight", "norm.bias", "projector.weight", "projector.bias"]),
        ("dofa_large_fivesensors", ["mask_token", "norm.weight", "norm.bias", "projector.weight", "projector.bias"]),
        ("copernicusfm_base_copernicuspretrain", []),
    ],
)
def test_networks_that_make_their_first_convolution(name: str, extra: list[str], tmp_path: Path) -> None:
    torchgeo = pytest.importorskip("torchgeo.models")
    width, depth, heads = (1024, 24, 16) if "large" in name else (768, 12, 12)
    options = {"embed_dim": width, "depth": depth, "num_heads": heads, "num_classes": 0}
    theirs = torchgeo.DOFA(**options) if name.startswith("dofa") else torchgeo.CopernicusFM(**options)
    norm = {"fc_norm.weight": torch.ones(width), "fc_norm.bias": torch.zeros(width)}
    tensors = {key: t for key, t in fill(shapes_of(theirs)).items() if key not in norm}
    theirs.load_state_dict(tensors | norm, assign=True)
    theirs.eval()

    def run(x: torch.Tensor) -> torch.Tensor:
        if name.startswith("dofa"):
            return theirs(x, [3.75, 3.75])
        unknown = torch.full((len(x), 4), float("nan"))
        return theirs(x, unknown, wavelengths=[5e7, 5e7], bandwidths=[1e9, 1e9], kernel_size=16)

    agree(loaded(name, tensors | {key: torch.zeros(1) for key in extra}, tmp_path), run, images(2, 224)[:1])


@pytest.mark.slow
def test_the_head_of_a_fine_tuned_network_of_wavelengths_is_kept(tmp_path: Path) -> None:
    torchgeo = pytest.importorskip("torchgeo.models")
    theirs = torchgeo.DOFA(embed_dim=768, depth=12, num_heads=12, num_classes=7)
    theirs.load_state_dict(fill(shapes_of(theirs)), assign=True)
    torch.save(theirs.state_dict(), tmp_path / "own.pth")
    ours = sarhub.create_model("dofa_base_fivesensors", checkpoint_path=tmp_path / "own.pth").eval()
    assert ours.num_classes == 7
    agree(ours, lambda x: theirs.eval()(x, [3.75, 3.75]), images(2, 224)[:1])


@pytest.mark.slow
@pytest.mark.parametrize("size", ["base", "large"])
def test_croma_with_radar_alone(size: str, tmp_path: Path) -> None:
    torchgeo = pytest.importorskip("torchgeo.models")
    theirs = getattr(torchgeo, f"croma_{size}")(modalities=["sar"])
    parts = {part: fill(shapes_of(getattr(theirs, part))) for part in ("s1_encoder", "s1_GAP_FFN")}
    for part, tensors in parts.items():
        getattr(theirs, part).load_state_dict(tensors, assign=True)
    optical = {part: {"transformer.norm_out.weight": torch.ones(1)} for part in ("s2_encoder", "joint_encoder")}
    model = loaded(f"croma_{size}_ssl4eos1s2", parts | optical, tmp_path)
    theirs.eval()
    agree(model.forward_features, lambda x: theirs(x_sar=x)["sar_encodings"], images(2, 120))  # type: ignore[arg-type]
    agree(model, lambda x: theirs(x_sar=x)["sar_GAP"], images(2, 120))


def test_croma_measures_distances_on_any_grid() -> None:
    torchgeo = pytest.importorskip("torchgeo.models.croma")
    expected = torchgeo.get_2dalibi(16, 25)[0]
    found = networks.build("croma_base", num_classes=0, in_chans=2, img_size=40, depth=1).blocks[0].distances.bias
    torch.testing.assert_close(found, expected)
    wide = networks.build("croma_base", num_classes=0, in_chans=2, img_size=(16, 40), depth=1).blocks[0].distances.bias
    torch.testing.assert_close(wide, expected[:, :10, :10])  # the first two rows of that square


@pytest.mark.slow
def test_panopticon_with_any_of_its_radar_bands(tmp_path: Path) -> None:
    torchgeo = pytest.importorskip("torchgeo.models")
    theirs = torchgeo.Panopticon(img_size=224)
    tensors = fill(shapes_of(theirs.model)) | {"mask_token": torch.zeros(1, 768)}
    tensors["pos_embed"] = fill({"pos_embed": (1, 1 + 37 * 37, 768)})["pos_embed"]
    name, file = "panopticon_base_anysensor", tmp_path / "weights.pth"
    model = loaded(name, tensors, tmp_path)
    # As DINOv2 does it, and with it Panopticon; torchgeo smooths besides.
    grid = tensors["pos_embed"][:, 1:].view(1, 37, 37, 768).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, scale_factor=16.1 / 37, mode="bicubic").permute(0, 2, 3, 1).flatten(1, 2)
    torch.testing.assert_close(model.pos_embed[:, 1:], resized)
    theirs.model.load_state_dict({**tensors, "pos_embed": model.pos_embed}, strict=False, assign=True)
    theirs.eval()

    def run(x: torch.Tensor, channels: tuple[int, ...] = (-1, -2)) -> torch.Tensor:
        return theirs({"imgs": x.clone(), "chn_ids": torch.tensor([channels] * len(x), dtype=torch.float32)})

    x = images(2, 224)
    agree(model, run, x)
    agree(sarhub.create_model(name, file, bands=("VH", "VV")).eval(), lambda x: run(x, (-2, -1)), x.flip(1))
    agree(sarhub.create_model(name, file, bands=("VH",)).eval(), lambda x: run(x, (-2,)), x[:, 1:])


@pytest.mark.parametrize("case", [0, 1])
def test_olmoearth_with_one_radar_image(case: int, tmp_path: Path) -> None:
    options = olmoearth.CASES[case]
    expected = torch.tensor(json.loads(olmoearth.FILE.read_text())[case])
    model = loaded("olmoearth_nano_olmopretrain", olmoearth.tensors(), tmp_path, **options)
    agree(model, lambda _: expected, olmoearth.images(options))


@pytest.mark.parametrize("option", [{"month": 0}, {"month": 13}, {"patch_size": 9}, {"patch_size": 5, "img_size": 64}])
def test_olmoearth_refuses_months_and_patches_that_there_are_not(option: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=r"month|patch"):
        networks.build("olmoearth_nano", num_classes=0, in_chans=2, **option)


def terramind(size: str) -> tuple[Tensors, Callable[[str, torch.Tensor], torch.Tensor]]:
    """A file with the embeddings of three sensors, and the encoder as TerraMind's own code computes it."""
    width, depth, heads, gated = {"tiny": (192, 12, 3, False), "base": (768, 12, 12, True)}[size]
    hidden = int(2 * 4 * width / 3) if gated else 4 * width
    shapes: dict[str, tuple[int, ...]] = {"encoder_norm.weight": (width,), "decoder.0.norm1.weight": (width,)}
    for kind, bands in (("untok_sen1grd@224", 2), ("untok_sen1rtc@224", 2), ("untok_sen2l2a@224", 12)):
        place = f"encoder_embeddings.{kind}."
        shapes |= {f"{place}proj.weight": (width, 256 * bands), f"{place}mod_emb": (1, 1, width)}
        shapes[f"{place}pos_emb"] = (1, 196, width)
    for block in range(depth):
        layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        layers |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)} | (
            {"mlp.fc3": (hidden, width)} if gated else {}
        )
        for layer, shape in layers.items():
            shapes[f"encoder.{block}.{layer}.weight"] = shape
            if not gated:
                shapes[f"encoder.{block}.{layer}.bias"] = shape[:1]
        shapes |= {f"encoder.{block}.norm{n}.weight": (width,) for n in (1, 2)}
    t = fill(shapes)

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))

    def encoder(kind: str, x: torch.Tensor) -> torch.Tensor:
        place, (batch, bands) = f"encoder_embeddings.{kind}", x.shape[:2]
        cut = x.view(batch, bands, 14, 16, 14, 16).permute(0, 2, 4, 3, 5, 1).reshape(batch, 196, -1)
        x = linear(f"{place}.proj", cut) + t[f"{place}.mod_emb"] + t[f"{place}.pos_emb"]
        for block in range(depth):
            name = f"encoder.{block}"
            normed = F.layer_norm(x, (width,), t[f"{name}.norm1.weight"], eps=1e-6)
            q, k, v = linear(f"{name}.attn.qkv", normed).view(batch, 196, 3, heads, -1).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-2, -1) * (width // heads) ** -0.5).softmax(-1)
            x = x + linear(f"{name}.attn.proj", (scores @ v).transpose(1, 2).flatten(2))
            normed = F.layer_norm(x, (width,), t[f"{name}.norm2.weight"], eps=1e-6)
            first = linear(f"{name}.mlp.fc1", normed)
            first = F.silu(first) * linear(f"{name}.mlp.fc3", normed) if gated else F.gelu(first)
            x = x + linear(f"{name}.mlp.fc2", first)
        return F.layer_norm(x, (width,), t["encoder_norm.weight"], eps=1e-6)

    return t, encoder


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_terramind_with_one_kind_of_radar_image(size: str, tmp_path: Path) -> None:
    tensors, encoder = terramind(size)
    for kind, place in (("s1grd", "untok_sen1grd@224"), ("s1rtc", "untok_sen1rtc@224")):
        model = loaded(f"terramind_{size}_{kind}_terramesh", tensors, tmp_path)
        agree(model.forward_features, lambda x, place=place: encoder(place, x), images(2, 224))  # type: ignore[arg-type]
        agree(model, lambda x, place=place: encoder(place, x).mean(1), images(2, 224))
