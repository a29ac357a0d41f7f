"""Exported files: the same numbers, any batch, complete or absent."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.torch_version import TorchVersion

from sarhub_models import Predictor, create_model, create_transform, networks
from sarhub_models.cli import main
from sarhub_models.errors import ExportError, MissingDependencyError, OptionError
from sarhub_models.models import export
from sarhub_models.zoo.manifest import list_networks, model_info


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Toy(nn.Module):
    """A network that is exported in no time; (B, 3, 8, 8) → (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(), nn.Flatten(), nn.Linear(180, 4)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


# The blocks of a stage compute alike: one or two of them show what a whole network's export takes minutes to show.
SHALLOW: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "resnet50": {"layers": (1, 1, 1, 1)},
    "resnet101": {"layers": (1, 1, 2, 1)},
    "senet50": {"layers": (1, 1, 1, 1)},
    "mobilenetv3": {},
    "densenet121": {"block_config": (2, 2, 2, 2)},
    "swin_t": {"depths": (2, 1, 1, 1)},
    "swin_b": {"depths": (2, 1, 1, 1)},
    "swin_v2_b": {"depths": (2, 1, 1, 1)},
    "vit_small_patch16": {"depth": 1, "img_size": 64},
    "vit_base_patch16": {"depth": 1, "img_size": 64},
    "vit_large_patch16": {"depth": 1, "img_size": 64},
    "vit_huge_patch14": {"depth": 1, "img_size": 56},
    "vit_small_patch14_dinov2": {"depth": 1, "img_size": 56},
    "vit_base_patch14_dinov2": {"depth": 1, "img_size": 56},
    "vit_base_patch8": {"depth": 1, "img_size": 64},
    "vit_small_patch16_dinov3": {"depth": 1, "img_size": 64},
    "vit_base_patch16_dinov3": {"depth": 1, "img_size": 64},
    "alexnet": {},
    "efficientnet_lite0": {},
    "convnextv2_base": {"depths": (1, 1, 1, 1)},
    "hivit_base": {"depth": 1, "img_size": 64},
    "mixmim_base": {"depths": (1, 1, 1, 1)},
    "dofa_base": {"depth": 1, "img_size": 64},
    "dofa_large": {"depth": 1, "img_size": 64},
    "copernicusfm_base": {"depth": 1, "img_size": 64},
    "croma_base": {"depth": 1, "img_size": 64},
    "croma_large": {"depth": 1, "img_size": 64},
    "panopticon_base": {"depth": 1, "img_size": 56},
    **{f"olmoearth_{size}": {"depth": 1, "img_size": 64} for size in ("nano", "tiny", "base", "large")},
    **{name: {"depth": 1, "img_size": 64} for name in list_networks() if name.startswith("terramind_")},
}
_SIDES = {"swin_t": 128, "swin_b": 128, "swin_v2_b": 128, "alexnet": 128, "mixmim_base": 128}


@pytest.mark.slow
@pytest.mark.parametrize("network", list_networks())
def test_every_network_becomes_onnx(network: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = networks.build(network, num_classes=3, **SHALLOW[network])
    file = tmp_path / "network.onnx"
    side = SHALLOW[network].get("img_size", _SIDES.get(network, 64))
    written = export.export_model(model, file, format="onnx", input_shape=(3, side, side))
    assert written.difference is not None
    assert written.bytes == file.stat().st_size
    session = onnxruntime.InferenceSession(str(file))
    images = torch.randn(5, 3, side, side)
    with torch.inference_mode():
        expected = model(images)
    (logits,) = session.run(None, {"image": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    assert session.get_inputs()[0].shape == ["batch", 3, side, side]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mobilenetv3", "swin_t"])
def test_networks_become_pt2(network: str, tmp_path: Path) -> None:
    model = networks.build(network, num_classes=3, **SHALLOW[network])
    file = tmp_path / "network.pt2"
    assert export.export_model(model, file, format="pt2").difference == pytest.approx(0, abs=1e-5)
    images = torch.randn(4, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(torch.export.load(file).module()(images), model(images))


@pytest.mark.slow
def test_preprocessing_is_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.onnx"
    arguments = [
        "export",
        "mobilenetv3_ben",
        "--untrained",
        "--in-chans",
        "1",
        "--image-size",
        "64",
        "--num-classes",
        "0",
    ]
    assert main([*arguments, "--out", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_shape"] == [1, 64, 64]
    (entry,) = (p.value for p in onnx.load(file).metadata_props if p.key == "sarhub")
    assert json.loads(entry)["preprocessing"]["std"] == [0.0005743462]

    file = tmp_path / "model.pt2"
    assert main([*arguments, "--out", str(file), "--format", "pt2"]) == 0
    assert "largest difference" in capsys.readouterr().out
    assert facts(file)["name"] == "mobilenetv3_ben"


@pytest.mark.slow
def test_checkpoint_is_what_gets_exported(tmp_path: Path) -> None:
    model = create_model("mobilenetv3_osu").eval()
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    own = {"checkpoint_path": tmp_path / "mine.pth", "preprocessing": "mobilenetv3_osu"}
    export.export_named("mobilenetv3_osu", tmp_path / "m.pt2", format="pt2", **own)
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(torch.export.load(tmp_path / "m.pt2").module()(images), model(images))


def facts(file: Path) -> dict[str, Any]:
    extra = {"sarhub": ""}
    torch.export.load(file, extra_files=extra)
    return json.loads(extra["sarhub"])


@pytest.mark.slow
def test_the_metadata_tells_the_head_that_the_file_has(tmp_path: Path) -> None:
    def exported(**options: Any) -> dict[str, Any]:
        file = tmp_path / "m.pt2"
        export.export_named("mobilenetv3_osu", file, format="pt2", image_size=32, **options)
        return facts(file)

    info = model_info("mobilenetv3_osu")
    own = {"checkpoint_path": tmp_path / "mine.pth", "preprocessing": "mobilenetv3_osu"}
    model = create_model("mobilenetv3_osu")
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    trained = exported(**own)
    assert (trained["num_classes"], trained["class_names"], trained["params"]) == (10, None, info.params)
    assert (trained["sources"], trained["checksum"]) == ([], None)
    features = exported(**own, num_classes=0)
    assert (features["num_classes"], features["class_names"]) == (0, None)
    assert info.params is not None
    assert features["params"] < info.params
    other = exported(pretrained=False, num_classes=4)
    assert (other["num_classes"], other["class_names"]) == (4, None)
    torch.save(create_model("mobilenetv3_osu", num_classes=7).state_dict(), tmp_path / "mine.pth")
    assert exported(**own)["num_classes"] == 7


def test_no_random_head_on_trained_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(create_model("mobilenetv3_osu").state_dict(), tmp_path / "mine.pth")
    for more in (
        {"checkpoint_path": tmp_path / "mine.pth", "pretrained": False, "preprocessing": "mobilenetv3_osu"},
        {},
    ):
        with pytest.raises(OptionError, match="would be random"):
            export.export_named("mobilenetv3_osu", tmp_path / "m.pt2", format="pt2", num_classes=4, **more)
    assert main(["export", "mobilenetv3_osu", "--num-classes", "4", "--out", str(tmp_path / "m.onnx")]) == 2
    assert "would be random" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pth"]


@pytest.mark.slow
def test_a_file_says_the_size_and_the_head_that_it_has(tmp_path: Path) -> None:
    export.export_named("mobilenetv3_dsn", tmp_path / "m.pt2", format="pt2", image_size=64, num_classes=13)
    info = model_info(tmp_path / "m.pt2")
    assert info.preprocessing.side == 64 and info.num_classes == 13 and info.class_names is not None
    image = np.random.default_rng(0).random((90, 80))
    assert create_transform(tmp_path / "m.pt2")(image).shape == (3, 64, 64)
    assert Predictor(tmp_path / "m.pt2").predict(image).label in info.class_names


@pytest.mark.parametrize("version", ["2.4.1+cpu", "2.5.0"])
def test_onnx_needs_a_torch_that_has_the_exporter(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    with pytest.raises(MissingDependencyError, match=rf"torch 2\.6 or newer, found {re.escape(version)}.*pt2"):
        export.export_model(Toy(), tmp_path / "toy.onnx", format="onnx", input_shape=(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", export.FORMATS)
def test_nothing_is_left_of_a_file_that_computes_something_else(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = f"_load_{format}"
    load = getattr(export, loader)
    monkeypatch.setattr(export, loader, lambda file: lambda images: load(file)(images) * 1.01)
    target = tmp_path / f"toy.{format}"
    target.write_text("the last good one")
    with pytest.raises(ExportError, match="differs from the network"):
        export.export_model(Toy(), target, format=format, input_shape=(3, 8, 8))
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "the last good one"


def test_outputs_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    toy = Toy()
    with torch.no_grad():
        toy.layers[0].bias.fill_(torch.nan)
    with pytest.raises(ExportError):
        export.export_model(toy, tmp_path / "toy.pt2", format="pt2", input_shape=(3, 8, 8))


@pytest.mark.slow
def test_without_onnxruntime_the_file_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime")
    written = export.export_model(Toy(), tmp_path / "toy.onnx", format="onnx", input_shape=(3, 8, 8))
    assert written.difference is None
    assert written.file.is_file()


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxscript")
    with pytest.raises(MissingDependencyError, match=r"onnxscript.*sarhub-models\[export\]"):
        export.export_model(Toy(), tmp_path / "toy.onnx", format="onnx", input_shape=(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == package else find_spec(name))


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="known: onnx, pt2"):
        export.export_model(Toy(), tmp_path / "toy.h5", format="h5")


def test_missing_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mobilenetv3_osu", "--untrained", "--out", str(tmp_path / "no" / "m.onnx")]) == 1
    err = capsys.readouterr().err
    assert str(tmp_path / "no") in err
    assert err.count("\n") == 1


def test_untrained_is_untrained_of_a_file_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    export.export_named("mobilenetv3_dsn", mine, format="safetensors")
    export.export_named(str(mine), tmp_path / "random.safetensors", format="safetensors", pretrained=False)
    trained, random = (load_file(file)["conv_stem.weight"] for file in (mine, tmp_path / "random.safetensors"))
    assert not torch.equal(trained, random)
