"""Exported files: the same numbers, any batch, complete or absent."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from sarhub_models import create_model, export, networks
from sarhub_models.cli import main
from sarhub_models.errors import MissingDependencyError, OptionError
from sarhub_models.registry import list_networks


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
}


@pytest.mark.parametrize("network", list_networks())
def test_every_network_becomes_onnx(network: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = networks.build(network, num_classes=3, **SHALLOW[network])
    file = tmp_path / "network.onnx"
    side = 128 if network.startswith("swin") else 64
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


@pytest.mark.parametrize("network", ["mobilenetv3", "swin_t"])
def test_networks_become_pt2(network: str, tmp_path: Path) -> None:
    model = networks.build(network, num_classes=3, **SHALLOW[network])
    file = tmp_path / "network.pt2"
    assert export.export_model(model, file, format="pt2").difference == pytest.approx(0, abs=1e-5)
    images = torch.randn(4, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(torch.export.load(file).module()(images), model(images))


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
    assert json.loads(entry)["preprocessing"]["std"] == 0.0005743462

    file = tmp_path / "model.pt2"
    assert main([*arguments, "--out", str(file), "--format", "pt2"]) == 0
    assert "largest difference" in capsys.readouterr().out
    extra = {"sarhub": ""}
    torch.export.load(file, extra_files=extra)
    assert json.loads(extra["sarhub"])["name"] == "mobilenetv3_ben"


def test_checkpoint_is_what_gets_exported(tmp_path: Path) -> None:
    model = create_model("mobilenetv3_osu").eval()
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    export.export_named("mobilenetv3_osu", tmp_path / "m.pt2", format="pt2", checkpoint=tmp_path / "mine.pth")
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(torch.export.load(tmp_path / "m.pt2").module()(images), model(images))


@pytest.mark.parametrize("format", export.FORMATS)
def test_nothing_is_left_of_a_file_that_computes_something_else(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = f"_load_{format}"
    load = getattr(export, loader)
    monkeypatch.setattr(export, loader, lambda file: lambda images: load(file)(images) * 1.01)
    target = tmp_path / f"toy.{format}"
    target.write_text("the last good one")
    with pytest.raises(export.ExportError, match="differs from the network"):
        export.export_model(Toy(), target, format=format, input_shape=(3, 8, 8))
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "the last good one"


def test_outputs_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    toy = Toy()
    with torch.no_grad():
        toy.layers[0].bias.fill_(torch.nan)
    with pytest.raises(export.ExportError):
        export.export_model(toy, tmp_path / "toy.pt2", format="pt2", input_shape=(3, 8, 8))


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
