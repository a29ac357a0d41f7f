"""Files with and without a description of themselves: one that says it is taken at its word, others need a name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import CheckpointError, OptionError
from sarhub_models.io.files import read_header
from sarhub_models.models.create import open_model
from sarhub_models.models.export import export_named
from sarhub_models.weights import write_weights
from sarhub_models.zoo.description import to_metadata


def test_a_preprocessing_that_is_given_is_used_and_no_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = sarhub.create_model("resnet18_tsx", num_classes=5)
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    again, transform, info = open_model(tmp_path / "mine.pth", preprocessing="mobilenetv3_dsn")
    assert (info.network, info.class_names, again.num_classes) == ("resnet18", None, 5)
    assert (info.dataset.name, info.citation, info.license) == ("unknown", "not stated", None), "they are not of dsn"
    assert repr(transform) == repr(sarhub.create_transform("mobilenetv3_dsn"))
    for name in ("mobilenetv3_dsn", "resnet18_tsx"):
        with pytest.raises(OptionError, match="has its own preprocessing"):
            open_model(name, preprocessing="mobilenetv3_dsn")


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


@pytest.mark.slow
def test_networks_made_for_one_size_of_the_image_get_that_of_their_file(tmp_path: Path) -> None:
    info = sarhub.model_info("vit_small_patch16_ssl4eo.mae")
    torch.manual_seed(0)
    trained = networks.build(info.network, num_classes=0, in_chans=2, img_size=64).eval()
    small = dataclasses.replace(info, preprocessing=dataclasses.replace(info.preprocessing, size=64, crop=None))
    write_weights(trained.state_dict(), tmp_path / "small.safetensors", info=to_metadata(small))
    model, x = sarhub.create_model(tmp_path / "small.safetensors").eval(), torch.rand(1, 2, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), trained(x))
        larger = sarhub.create_model(tmp_path / "small.safetensors", img_size=96).eval()
        assert larger(torch.rand(1, 2, 96, 96)).shape == (1, 384)


def test_own_weights_never_become_registered_ones(tmp_path: Path) -> None:
    export_named("mobilenetv3_osu", tmp_path / "mine.safetensors", format="safetensors", pretrained=False)
    for name in (None, "mobilenetv3_osu"):
        with pytest.raises(CheckpointError, match=r"weights of one's own.*create_model\("):
            sarhub.import_checkpoint(tmp_path / "mine.safetensors", name=name)


def test_a_file_of_another_cache_says_which_model_it_is(tmp_path: Path) -> None:
    torch.save(sarhub.create_model("mobilenetv3_osu").state_dict(), tmp_path / "released.pth")
    cached = sarhub.import_checkpoint(tmp_path / "released.pth", name="mobilenetv3_osu").path
    copied = shutil.copy(cached, tmp_path / "anything.safetensors")
    assert sarhub.import_checkpoint(copied, cache_dir=tmp_path / "other").info.name == "mobilenetv3_osu"
    assert sarhub.create_model(copied).num_classes == 10
    with pytest.raises(CheckpointError, match="says that it is mobilenetv3_osu, not mobilenetv3_ben"):
        sarhub.import_checkpoint(copied, name="mobilenetv3_ben")


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
