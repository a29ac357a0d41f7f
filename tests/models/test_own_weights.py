"""Weights of one's own: a run's file says which network, preprocessing and classes it has, and all readers use that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sarhub_models as sarhub
from sarhub_models.datasets.recognition.folder import FolderDataset
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import CheckpointError, OptionError
from sarhub_models.io.files import read_header
from sarhub_models.weights import write_weights
from sarhub_models.zoo.description import to_metadata
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


def test_a_file_for_other_bands_is_refused(tmp_path: Path) -> None:
    name = "resnet18_ssl4eo.moco" if "resnet18_ssl4eo.moco" in sarhub.list_models() else "resnet50_ssl4eo.moco"
    info = sarhub.model_info(name)
    model = sarhub.create_model(name, num_classes=0)
    write_weights(model.state_dict(), tmp_path / "own.safetensors", info=to_metadata(info))
    single = f"{info.network}_ben"
    with pytest.raises(CheckpointError, match=f"for VV, VH, and {single} is"):
        sarhub.create_model(single, checkpoint_path=tmp_path / "own.safetensors")


def test_a_file_without_description_needs_a_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.manual_seed(0)
    mine = sarhub.create_model("mobilenetv3_dsn", num_classes=3)
    torch.save(mine.state_dict(), file)
    for use in (sarhub.create_model, sarhub.create_transform, sarhub.model_info):
        with pytest.raises(CheckpointError, match=r"does not say which preprocessing.*create_transform\(NAME\)"):
            use(file)
    model = sarhub.create_model("mobilenetv3_dsn", checkpoint_path=file, num_classes=3)
    assert torch.equal(model.classifier.weight, mine.classifier.weight)
    assert "label_names" not in model.pretrained_cfg


def test_a_folder_without_weights_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"folder without weights.*best\.safetensors"):
        sarhub.create_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        sarhub.create_transform(str(tmp_path / "missing.safetensors"))


def test_a_registered_name_is_one_whatever_is_called_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mobilenetv3_dsn").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sarhub.create_model("mobilenetv3_dsn").num_classes == sarhub.model_info("mobilenetv3_dsn").num_classes


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": ["a"]},
        {"network": 5},
        {"preprocessing": {"mean": ["x"], "std": [1.0]}},
        {"preprocessing": {"mean": [0.0], "std": [1.0], "size": "128"}},
        {"input": {"bands": [], "channels": 3}},
        {"input": {"bands": ["VV"], "channels": None}},
    ],
)
def test_a_damaged_description_is_one_error(change: dict[str, object], tmp_path: Path) -> None:
    fields = {**sarhub.model_info("mobilenetv3_dsn").to_dict(), **change}
    file = tmp_path / "own.safetensors"
    write_weights({"x": torch.zeros(1)}, file, info={"sarhub": json.dumps(fields)})
    with pytest.raises(CheckpointError, match="description of itself is damaged"):
        sarhub.create_transform(file)


def test_control_characters_in_a_description_do_not_reach_a_terminal(tmp_path: Path) -> None:
    fields = {**sarhub.model_info("mobilenetv3_dsn").to_dict(), "citation": "\x1b[2Jgone"}
    file = tmp_path / "own.safetensors"
    write_weights({"x": torch.zeros(1)}, file, info={"sarhub": json.dumps(fields)})
    assert sarhub.model_info(file).citation == "?[2Jgone"


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    info = to_metadata(sarhub.model_info("mobilenetv3_dsn"))
    tensors = {"b": torch.arange(3.0), "a": torch.zeros(2, dtype=torch.int64)}
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        write_weights(tensors, file, info={**info, "model": "x", "source": "y", "more": "é"})
    assert len({file.read_bytes() for file in files}) == 1
    assert list(read_header(files[0])[0]["__metadata__"]) == [
        "content_sha256",
        "format",
        "model",
        "more",
        *info,
        "source",
    ]
    assert torch.equal(load_file(files[0])["b"], tensors["b"])
