"""The weights that come with the package are the ones the manifest describes."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sarhub_models
from sarhub_models.engine.scoring import score
from sarhub_models.engine.splits import open_source
from sarhub_models.networks import tensor_layout
from sarhub_models.transforms import Pipeline
from sarhub_models.zoo.manifest import ModelInfo, model_info
from training.bundle import BUNDLED, LARGEST
from training.recipes import load_recipe

NAME = "mobilenetv3_dsn"
FEATURES = ("efficientnet_lite0_sar", "mobilenetv3_sar")
LARGEST_TOGETHER = 12_000_000  # bytes, beside mobilenetv3_dsn
FILES = sorted(BUNDLED.glob("*.safetensors"))


@pytest.fixture(params=[file.stem for file in FILES])
def info(request: pytest.FixtureRequest) -> ModelInfo:
    return model_info(request.param)


@pytest.fixture
def file(info: ModelInfo) -> Path:
    return BUNDLED / info.sources[0]["file"]


def test_the_file_is_the_manifests(info: ModelInfo, file: Path) -> None:
    assert info.sources[0]["type"] == "bundled"
    assert info.checksum is not None and info.checksum.algorithm == "sha256"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == info.checksum.value
    assert file.stat().st_size <= LARGEST


def test_all_files_are_small_enough_for_the_package() -> None:
    assert {NAME, *FEATURES} <= {file.stem for file in FILES}
    assert sum(file.stat().st_size for file in FILES if file.stem != NAME) <= LARGEST_TOGETHER


@pytest.mark.parametrize("name", FEATURES)
def test_what_a_file_says_of_itself_is_what_the_manifest_says(name: str) -> None:
    info = model_info(name)
    described = model_info(BUNDLED / info.sources[0]["file"])
    assert (described.name, described.network, described.num_classes) == (info.name, info.network, info.num_classes)
    ours, theirs = (dataclasses.replace(one.preprocessing, note=None, source=None) for one in (described, info))
    assert ours == theirs and described.input == info.input


def test_its_tensors_are_the_networks_in_half_precision(info: ModelInfo, file: Path) -> None:
    tensors = load_file(file)
    assert info.num_classes is not None
    expected = tensor_layout(info.network, num_classes=info.num_classes)
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == {
        k: shape for k, (shape, _) in expected.items()
    }
    for key, tensor in tensors.items():
        floating = expected[key][1].is_floating_point
        assert tensor.dtype == (torch.float16 if floating else torch.int64), key
        assert tensor.isfinite().all(), key


def test_the_entry_says_what_was_trained() -> None:
    info = model_info(NAME)
    assert info.dataset.name == "dsn" and len(info.class_names or ()) == info.num_classes == 13
    assert info.preprocessing.full_scale == 65535
    assert info.training is not None
    assert {"command", "data", "seed", "epochs", "test"} <= set(info.training)


@pytest.mark.parametrize("name", FEATURES)
def test_the_entry_of_features_says_what_they_are_worth(name: str) -> None:
    info = model_info(name)
    assert info.num_classes == 0 and info.class_names is None and "SAR-ACD" in info.license_text
    assert info.training is not None and {"command", "data", "seed", "epochs"} <= set(info.training)
    assert info.preprocessing.source == "training/recipes/data/sar.yaml"
    assert all(set(scores) == {"knn", "probe", "few"} for scores in info.training["transfer"].values())


@pytest.mark.slow
def test_it_reaches_the_published_scores(test_data: Path) -> None:
    info = model_info(NAME)
    torch.set_num_threads(2)
    model = sarhub_models.create_model(NAME, pretrained=True)
    assert info.class_names is not None and info.training is not None
    p = info.preprocessing
    transform = Pipeline.from_dict(info.to_dict(), validate=False)
    data = load_recipe(NAME, [f"data.root={test_data / 'data' / 'dsn'}", f"data.full_scale={p.full_scale}"]).data
    for name in {"val", "test"} & set(info.training):
        source = open_source(data, name)
        assert source.class_names == info.class_names
        scores, _ = score(model, source.evaluation(256), transform, len(source.class_names), multilabel=False)
        for key, value in scores.items():
            # A patch or two of 710 and 598 may fall the other way where another processor rounds differently.
            assert value == pytest.approx(info.training[name][key], abs=0.004), (name, key)
