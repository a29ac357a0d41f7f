"""Files with the preprocessing in them give what our own chain, network and scores give, on pixels of any size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sarhub_models import create_transform
from sarhub_models.cli import main
from sarhub_models.errors import ExportError, ImageError, OptionError
from sarhub_models.features.predict import Predictor
from sarhub_models.models import export
from sarhub_models.models.whole import Whole, made_up_pixels
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.transforms import OPERATORS, Crop, Pipeline, ToRadiometry, register_operator
from sarhub_models.zoo.entries import Input, ModelInfo, Preprocessing
from sarhub_models.zoo.manifest import model_info

# One entry for each kind of chain in the list of weights: operators, clips, crops before and behind, interpolations.
CHAINS = (
    "mobilenetv3_dsn",
    "efficientnet_lite0_sar",
    "alexnet_tsx.tgrs2020",
    "resnet18_mstar.grsl2020",
    "resnet50_s1wv.wvnet",
    "mobilenetv3_tsx",
    "vit_base_patch16_sar1m.sarmae",
    "resnet50_oceansar",
    "convnextv2_base_reben",
    "copernicusfm_base_copernicuspretrain",
    "vit_base_patch16_smarties",
    "resnet50_ssl4eo.moco",
    "dofa_base_fivesensors",
    "swin_v2_b_satlas.si",
    "resnet50_crisislandmark.closp",
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def toy(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, 3))


def entry(name: str, **changes: object) -> ModelInfo:
    """Return an entry of three classes that is labeled like one of the list."""
    info = model_info(name)
    classes = {"num_classes": 3, "class_names": ("a", "b", "c"), "sources": (), "checksum": None}
    return dataclasses.replace(info, **{**classes, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CHAINS)
def test_every_kind_of_chain_computes_alike_in_traceable_steps(name: str) -> None:
    chain = create_transform(name)
    whole = Whole(chain, nn.Identity()).eval()
    for pixels in made_up_pixels(chain, side=64):
        torch.testing.assert_close(whole(pixels), chain(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [5, 6, 7, 8, 9, 10, 11])
def test_crops_are_those_of_the_chain(side: int) -> None:
    chain = Pipeline([ToRadiometry(["VV"], "amplitude", (0, 1)), Crop(8)])
    pixels = torch.rand(2, 1, side, 15 - side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Whole(chain, nn.Identity())(pixels), chain(pixels))


@pytest.mark.slow
@pytest.mark.parametrize("format", export.FORMATS)
@pytest.mark.parametrize("name", CHAINS)
def test_every_kind_of_chain_is_exported(name: str, format: str, tmp_path: Path) -> None:
    info = entry(name)
    written = export.export_whole(toy(info.input.channels), tmp_path / f"m.{format}", format=format, info=info)
    assert written.difference is not None and written.difference < 1e-3
    free = create_transform(name).size is not None
    assert written.input_shape == (len(info.input.bands), *((None, None) if free else (128, 128)))


@pytest.mark.slow
def test_the_file_takes_pixels_and_predictor_takes_the_file(tmp_path: Path) -> None:
    info, model = entry("efficientnet_lite0_sar", training={"temperature": 2.0}), toy(3)
    export.export_whole(model, tmp_path / "m.pt2", format="pt2", info=info, radiometry="db")
    predictor, chain = Predictor(tmp_path / "m.pt2"), create_transform("efficientnet_lite0_sar", radiometry="db")
    rng = np.random.default_rng(0)
    for shape in ((40, 50), (128, 128), (200, 131)):
        image = rng.uniform(-30, 0, shape).astype(np.float32)
        with torch.inference_mode():
            expected = (model(chain(image)[None]) / 2).softmax(dim=1)[0].numpy()
        np.testing.assert_allclose(predictor.predict(image).probabilities, expected, rtol=1e-4)
        np.save(tmp_path / f"{shape[0]}.npy", image)
    found = predictor.predict_files(sorted(tmp_path.glob("*.npy")), out=tmp_path / "p.csv")
    assert len(found.labels) == 3 and set(found.labels) <= {"a", "b", "c"}
    with pytest.raises(OptionError, match="no logits"):
        predictor.logits([tmp_path / "40.npy"])


@pytest.mark.slow
def test_digital_numbers_are_divided_in_the_file(tmp_path: Path) -> None:
    images = {"full_scale": 1000.0}
    info, model = entry("mobilenetv3_dsn", training={"images": images}), toy(3)
    export.export_whole(model, tmp_path / "m.pt2", format="pt2", info=info)
    numbers = np.random.default_rng(0).integers(0, 1200, (50, 60)).astype(np.uint16)
    amplitude = np.clip(numbers / np.float32(1000), 0, 1)
    with torch.inference_mode():
        expected = model(create_transform("mobilenetv3_dsn")(amplitude)[None]).softmax(dim=1)[0]
        raw = export.load_exported(tmp_path / "m.pt2")(torch.from_numpy(numbers.astype(np.float32))[None, None])[0]
    torch.testing.assert_close(raw, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(Predictor(tmp_path / "m.pt2").predict(numbers).probabilities, expected, rtol=1e-4)
    # of images with another value of amplitude 1, and of amplitude
    other = Predictor(tmp_path / "m.pt2", full_scale=500.0).predict(numbers // 2).probabilities
    with torch.inference_mode():
        halved = model(create_transform("mobilenetv3_dsn")(np.clip(numbers // 2 / np.float32(500), 0, 1))[None])
    np.testing.assert_allclose(other, halved.softmax(dim=1)[0], rtol=1e-4)
    found = Predictor(tmp_path / "m.pt2", radiometry="amplitude").predict(amplitude).probabilities
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(OptionError, match="1000 stands for amplitude 1, and the images hold none: leave full_scale=7"):
        Predictor(tmp_path / "m.pt2", radiometry="amplitude", full_scale=7.0)


@pytest.mark.slow
def test_windows_of_a_scene_have_the_size_that_the_file_makes(tmp_path: Path) -> None:
    info, model = entry("mobilenetv3_dsn"), toy(3)
    export.export_whole(model, tmp_path / "m.pt2", format="pt2", info=info)
    assert WindowModel(ModelSpec(str(tmp_path / "m.pt2"), "classes")).size == info.preprocessing.size == 128
    # whose digital numbers are those of the weights' data, where these are known
    numbers = np.random.default_rng(0).integers(0, 9000, (50, 60)).astype(np.uint16)
    ours = create_transform("mobilenetv3_dsn", radiometry="dn")(numbers)
    with torch.inference_mode():
        expected = model(ours[None]).softmax(dim=1)[0]
    found = Predictor(tmp_path / "m.pt2", radiometry="dn").predict(numbers).probabilities
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_other_programs_than_predict_say_what_an_exported_file_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "m.pt2")
    export.export_whole(toy(3), file, format="pt2", info=entry("mobilenetv3_dsn"))
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((40, 40)))
    assert main(["features", str(tmp_path), "--model", file, "--out", str(tmp_path / "f.parquet")]) != 0
    assert "is an exported network" in capsys.readouterr().err
    for number in range(8):
        (tmp_path / "chips" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "chips" / "ab"[number % 2] / f"{number}.npy", np.random.default_rng(number).random((40, 40)))
    assert main(["finetune", str(tmp_path / "chips"), "--model", file, "--out", str(tmp_path / "run")]) != 0
    assert "is an exported network" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert main(["verify", file]) != 0
    assert "no digest to compare with" in capsys.readouterr().err


def test_a_batch_is_no_image() -> None:
    with pytest.raises(ImageError, match=r"expected one image, got \(4, 1, 64, 64\): give several as a list"):
        Predictor("mobilenetv3_dsn").predict(np.random.default_rng(0).random((4, 1, 64, 64)))


def test_several_labels_are_sigmoids(tmp_path: Path) -> None:
    dataset = dataclasses.replace(model_info("mobilenetv3_dsn").dataset, multilabel=True)
    info, model = entry("mobilenetv3_dsn", dataset=dataset), toy(3)
    export.export_whole(model, tmp_path / "m.pt2", format="pt2", info=info)
    image = np.random.default_rng(0).random((50, 60), dtype=np.float32)
    with torch.inference_mode():
        expected = model(create_transform("mobilenetv3_dsn")(image)[None]).sigmoid()[0]
    np.testing.assert_allclose(Predictor(tmp_path / "m.pt2").predict(image).probabilities, expected, rtol=1e-4)


def test_an_operator_that_cannot_be_exported_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "median", OPERATORS["ptls"])
    register_operator("median", title="median", parameter="p")(
        lambda x, p: torch.from_numpy(x.numpy() - np.median(x.numpy()))
    )
    fields = Preprocessing((0.0,), (1.0,), 64, operator="median", low=0.0, high=0.0, eval_value=0.0)
    info = entry("mobilenetv3_dsn", preprocessing=fields, input=Input())
    with pytest.raises(ExportError, match="preprocessing of mobilenetv3_dsn cannot be exported"):
        export.export_whole(toy(3), tmp_path / "m.pt2", format="pt2", info=info)
    assert list(tmp_path.iterdir()) == []


def test_options_that_contradict_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "m.onnx")]
    for options, text in (
        (["--radiometry", "db"], "need with_preprocessing"),
        (["--with-preprocessing", "--format", "safetensors"], "holds no operations"),
        (["--with-preprocessing", "--image-size", "64"], "128 pixels a side"),
    ):
        assert main(["export", "mobilenetv3_dsn", *options, *out]) == 2
        assert text in capsys.readouterr().err
