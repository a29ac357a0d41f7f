"""Weights of one's own: a run's file says which network, preprocessing and classes it has, and all readers use that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import hubconf
import sarhub_models as sarhub
from sarhub_models.cli import main
from sarhub_models.cli.commands.explain import open_network
from sarhub_models.datasets.recognition.folder import FolderDataset
from sarhub_models.engine.initialization import starting_weights
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import CheckpointError, OptionError
from sarhub_models.models.export import export_named
from tests.engine.conftest import tiny
from training.evaluate import score_run

NAMES = ("cargo", "sea", "tanker")
OWN = ("preprocess.operator=log_amplitude", "data.full_scale=3000", "preprocess.draa=true", "data.test=val")


def write_chips(root: Path) -> Path:
    """Write three classes of digital numbers that a network learns within seconds."""
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for label, (name, scale) in enumerate(zip(NAMES, (2000, 20, 200), strict=True)):
        (root / name).mkdir(parents=True)
        for index in range(20):
            chip = rng.gamma(2, scale / 2, (40, 40)).clip(0, 65535).astype(np.uint16)
            np.save(root / name / f"{index}.npy", chip)
            lines["train" if index < 12 else "val"].append(f"{name}/{index}.npy {label}\n")
    for split, found in lines.items():
        (root / f"{split}.txt").write_text("".join(found))
    return root


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chips(tmp_path_factory.mktemp("chips") / "chips")


@pytest.fixture(scope="module")
def run(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that our own training fine-tuned, from weights with another preprocessing."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("outputs") / "run"
    values = ("optim.epochs=6", "optim.max_lr=2e-3", "model.init=mobilenetv3_dsn", "optim.batch_size=12")
    assert train(tiny("mobilenetv3_folder", chips, *OWN, *values), folder)
    return folder


@pytest.fixture(scope="module")
def reported(run: Path) -> float:
    score: float = score_run(load_run(run), "val")["overall_accuracy"]
    assert score > 0.9, "the right preprocessing tells the classes apart"
    return score


def accuracy(model: torch.nn.Module, transform: torch.nn.Module, chips: Path) -> float:
    """The accuracy on the validation split of a model and a transform for digital numbers."""
    data = FolderDataset(chips, "val")
    with torch.inference_mode():
        logits = model.eval()(torch.stack([transform(sample.image) for sample in data]))
    return float((logits.argmax(1).numpy() == data.labels).mean())


@pytest.mark.slow
def test_a_run_and_its_file_give_the_score_that_evaluation_reports(run: Path, chips: Path, reported: float) -> None:
    for place in (run, str(run), run / "best.safetensors"):
        transform = sarhub.create_transform(place, radiometry="dn")
        assert accuracy(sarhub.create_model(place), transform, chips) == pytest.approx(reported)
    wrong = sarhub.create_transform("mobilenetv3_dsn", radiometry="dn")
    assert accuracy(sarhub.create_model(run), wrong, chips) < reported - 0.2, "these data tell preprocessings apart"


@pytest.mark.slow
def test_a_run_describes_itself(run: Path) -> None:
    info, finished = sarhub.model_info(run), load_run(run)
    assert (info.network, info.dataset.name, info.class_names) == ("mobilenetv3", "folder", NAMES)
    p = info.preprocessing
    assert (p.operator, p.mean, p.std, p.size) == ("log_amplitude", (finished.mean,), (finished.std,), 32)
    assert (p.low, p.high, p.eval_value, p.full_scale) == (15, 17, 16, 3000)
    assert info.params == sum(parameter.numel() for parameter in finished.model().parameters())
    assert info.training is not None
    assert info.training["validation"] == finished.val and info.training["seed"] == 0
    assert info.training["settings"]["model"]["init"] == "mobilenetv3_dsn"
    assert str(run.parent) not in json.dumps(info.to_dict())
    config = sarhub.create_model(run).pretrained_cfg
    assert config["label_names"] == list(NAMES)
    assert config["mean"] == (finished.mean,) * 3


@pytest.mark.slow
def test_the_transform_of_a_run_is_that_of_its_training(run: Path) -> None:
    chip = torch.rand(1, 50, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sarhub.create_transform(run)(chip), load_run(run).transform()(chip))


@pytest.mark.slow
def test_features_on_the_command_line_are_those_of_the_run(
    run: Path, chips: Path, reported: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = load_file(run / "best.safetensors")
    data = FolderDataset(chips, "val")
    places = (["--model", str(run)], ["--model", "mobilenetv3_dsn", "--checkpoint", str(run / "best.safetensors")])
    for number, place in enumerate(places):
        out = tmp_path / f"{number}.safetensors"
        assert main(["features", str(chips), *place, "--radiometry", "dn", "--out", str(out), "--json"]) == 0
        with safe_open(out, "np") as file:
            rows = dict(zip(json.loads(file.metadata()["names"]), file.get_tensor("features"), strict=True))
        features = torch.from_numpy(np.stack([rows[name] for name in data.names]))
        logits = features @ head["classifier.weight"].T + head["classifier.bias"]
        assert (logits.argmax(1).numpy() == data.labels).mean() == pytest.approx(reported)
    capsys.readouterr()
    assert main(["features", str(chips), *place, "--out", str(out)]) == 0
    warned = capsys.readouterr().err
    assert "60 images" in warned and "trained with amplitude / 3000" in warned and "--full-scale 3000" in warned


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "pt2", "safetensors"])
def test_an_exported_run_describes_itself(
    format: str, run: Path, chips: Path, reported: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"mine.{format}"
    arguments = ["export", "mobilenetv3_dsn", "--checkpoint", str(run), "--format", format, "--out", str(file)]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] < 1e-3
    original, info = sarhub.model_info(run), sarhub.model_info(file)
    assert (info.preprocessing, info.class_names, info.input) == (
        original.preprocessing,
        original.class_names,
        original.input,
    )
    assert info.training == original.training
    model: Any
    if format == "onnx":
        session = onnxruntime.InferenceSession(str(file))
        model = FromFunction(lambda images: torch.from_numpy(session.run(None, {"image": images.numpy()})[0]))
    elif format == "pt2":
        model = FromFunction(torch.export.load(file).module())
    else:
        model = sarhub.create_model(file)
    assert accuracy(model, sarhub.create_transform(file, radiometry="dn"), chips) == pytest.approx(reported)


class FromFunction(torch.nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = [function]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function[0](images)


@pytest.mark.slow
def test_an_export_with_one_channel_says_so(run: Path, tmp_path: Path) -> None:
    export_named(run, tmp_path / "one.safetensors", format="safetensors", in_chans=1)
    chip = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    prepared = sarhub.create_transform(tmp_path / "one.safetensors")(chip)[None]
    assert prepared.shape == (1, 1, 32, 32)
    whole = sarhub.create_transform(run)(chip)[None]
    with torch.inference_mode():
        one = sarhub.create_model(tmp_path / "one.safetensors").eval()(prepared)
        torch.testing.assert_close(one, sarhub.create_model(run).eval()(whole), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_timm_and_torch_hub_take_the_file(run: Path, chips: Path, reported: float) -> None:
    file, transform = str(run / "best.safetensors"), hubconf.create_transform(str(run), radiometry="dn")
    with pytest.warns(UserWarning, match="another preprocessing"):
        overlaid = timm.create_model("mobilenetv3_dsn", pretrained=True, pretrained_cfg_overlay={"file": file})
    assert overlaid.pretrained_cfg["label_names"] == list(NAMES)
    loaded = timm.create_model("mobilenetv3_dsn", checkpoint_path=file, num_classes=3)
    with pytest.warns(UserWarning, match="another preprocessing"):
        from_hub = hubconf.mobilenetv3_dsn(pretrained=file)
    for model in (overlaid, loaded, from_hub):
        assert accuracy(model, transform, chips) == pytest.approx(reported)


@pytest.mark.slow
def test_a_run_is_explained_compared_and_shown(
    run: Path, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, transform, _ = open_network(str(run), None)
    assert repr(transform) == repr(sarhub.create_transform(run))
    assert main(["info", str(run)]) == 0
    shown = capsys.readouterr().out
    for fact in (
        "3: cargo; sea; tanker",
        "sensor not stated",
        str(run / "best.safetensors"),
        "recipe: mobilenetv3_folder",
    ):
        assert fact in shown
    assert main(["verify", str(run)]) == 0
    shutil.copy(run / "best.safetensors", tmp_path)
    damaged = bytearray((tmp_path / "best.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "best.safetensors").write_bytes(damaged)
    assert main(["verify", str(tmp_path)]) == 1
    capsys.readouterr()
    shutil.copytree(chips, tmp_path / "chips")
    arguments = ["--images", str(tmp_path / "chips"), "--radiometry", "dn", "--full-scale", "3000", "--json"]
    assert main(["compare", str(run), *arguments, "--out", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["networks"] == [str(run), f"{run} (untrained)"]


@pytest.mark.slow
def test_training_starts_from_a_run(run: Path) -> None:
    tensors = starting_weights("mobilenetv3", str(run))
    assert torch.equal(tensors["conv_stem.weight"], load_file(run / "best.safetensors")["conv_stem.weight"])
    with pytest.raises(OptionError, match="holds a mobilenetv3, the recipe trains a resnet18"):
        starting_weights("resnet18", str(run))


@pytest.mark.parametrize(
    "arguments",
    [
        ["features", "IMAGES", "--model", "mobilenetv3_dsn", "--checkpoint", "FILE", "--out", "x.safetensors"],
        ["features", "IMAGES", "--model", "FILE", "--out", "x.safetensors"],
        ["export", "FILE", "--out", "x.onnx"],
        ["export", "mobilenetv3_dsn", "--checkpoint", "FILE", "--out", "x.onnx"],
        ["publish", "mobilenetv3_dsn", "--checkpoint", "FILE", "--repo", "a/b", "--dry-run", "--out", "x"],
        ["info", "FILE"],
        ["explain", "cam", "--model", "FILE", "--images", "IMAGES", "--out", "x"],
        ["compare", "FILE", "--images", "IMAGES", "--out", "x"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_commands_ask_for_the_preprocessing_of_a_file_that_does_not_say_it(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(sarhub.create_model("mobilenetv3_dsn").state_dict(), tmp_path / "mine.pth")
    write_chips(tmp_path / "chips")
    monkeypatch.chdir(tmp_path)
    places = {"FILE": str(tmp_path / "mine.pth"), "IMAGES": str(tmp_path / "chips")}
    assert main([places.get(argument, argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert "mine.pth does not say which preprocessing" in error and "--preprocessing NAME" in error
    assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"mine.pth", "chips"}


@pytest.mark.slow
def test_the_trained_head_is_kept_at_its_own_size(run: Path) -> None:
    trained = load_file(run / "best.safetensors")["classifier.weight"]
    for model in (sarhub.create_model(run), sarhub.create_model(run, num_classes=3)):
        assert torch.equal(model.classifier.weight, trained)
    with pytest.warns(UserWarning, match=r"head of .*best.safetensors \(3 classes\) is replaced"):
        other = sarhub.create_model(run, num_classes=4)
    assert other.num_classes == 4 and "label_names" not in other.pretrained_cfg
    assert sarhub.create_model(run, num_classes=0).num_classes == 0


@pytest.mark.slow
def test_a_file_comes_before_the_name_and_may_not_contradict_it(run: Path) -> None:
    file = run / "best.safetensors"
    with pytest.warns(UserWarning, match="another preprocessing than mobilenetv3_dsn"):
        model = sarhub.create_model("mobilenetv3_dsn", pretrained=file)
    assert model.pretrained_cfg["label_names"] == list(NAMES)
    with pytest.raises(CheckpointError, match=r"says that it is a mobilenetv3 .* resnet18_tsx is a resnet18"):
        sarhub.create_model("resnet18_tsx", checkpoint_path=file)
    with pytest.raises(OptionError, match="give one of them"):
        sarhub.create_model(run, checkpoint_path=file)
