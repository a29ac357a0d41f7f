"""The weights of a run go to a repository with what is true of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import sarhub_models as sarhub
from sarhub_models.engine.run import load_run, train
from sarhub_models.errors import OptionError
from sarhub_models.models.publish import write_repository
from sarhub_models.transforms import Pipeline
from sarhub_models.zoo.entries import ModelInfo
from tests.engine.conftest import tiny

REPO = "organization/model"


@pytest.fixture(scope="module")
def run(tiny_dsn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    values = ("optim.epochs=2", "preprocess.operator=ptls", "preprocess.draa=true", "runtime.seed=3")
    assert train(tiny("mobilenetv3_dsn", tiny_dsn, *values), folder)
    return folder


def test_nothing_of_the_registered_weights_is_said_of_them(run: Path, tmp_path: Path) -> None:
    write_repository("mobilenetv3_dsn", tmp_path, REPO, checkpoint_path=run / "best.safetensors")
    info = ModelInfo.from_dict(json.loads((tmp_path / "config.json").read_text())["sarhub"])
    registered, finished = sarhub.model_info("mobilenetv3_dsn"), load_run(run)
    p, limits = info.preprocessing, finished.recipe.preprocess.range
    assert (p.operator, p.low, p.high, p.eval_value) == ("ptls", limits.low, limits.high, limits.eval_value)
    assert (p.mean, p.std, p.size) == ((finished.mean,), (finished.std,), 32)
    assert p.mean != registered.preprocessing.mean
    assert info.class_names == info.dataset.class_names == ("s1/forest", "s1/water", "tsx/ships")
    assert info.training is not None
    facts = {"recipe": "mobilenetv3_dsn", "seed": 3, "epochs": 2, "validation": finished.val}
    assert {key: info.training[key] for key in facts} == facts
    assert "0.8612" not in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_a_file_says_it_all_wherever_it_lies(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((run / "best.safetensors").read_bytes())
    for place in (alone, run):
        write_repository(place, tmp_path / "out", REPO, permitted=True)
        published = json.loads((tmp_path / "out" / "config.json").read_text())["sarhub"]
        assert published["training"] == sarhub.model_info(run).to_dict()["training"]
        assert sarhub.model_info(tmp_path / "out").class_names == ("s1/forest", "s1/water", "tsx/ships")
    model, x = sarhub.create_model(tmp_path / "out").eval(), torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), load_run(run).model()(x))
    with pytest.raises(OptionError, match="without their authors' permission"):
        write_repository(run, tmp_path / "out", REPO)


def test_a_run_of_something_else_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds mobilenetv3_dsn, not mobilenetv3_ben"):
        write_repository("mobilenetv3_ben", tmp_path, REPO, checkpoint_path=run / "best.safetensors", permitted=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("value", ["preprocess.operator=none", "preprocess.crop=24"])
def test_every_preprocessing_of_a_run_is_published_with_it(value: str, tiny_dsn: Path, tmp_path: Path) -> None:
    assert train(tiny("mobilenetv3_dsn", tiny_dsn, value), tmp_path / "run")
    file = tmp_path / "run" / "best.safetensors"
    write_repository("mobilenetv3_dsn", tmp_path / "out", REPO, checkpoint_path=file)
    fields = json.loads((tmp_path / "out" / "config.json").read_text())["sarhub"]
    chip = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Pipeline.from_dict(fields)(chip), load_run(tmp_path / "run").transform()(chip))


def test_any_name_of_the_network_takes_the_weights(run: Path) -> None:
    with pytest.warns(UserWarning, match="another preprocessing"):
        model = sarhub.create_model("mobilenetv3_ben", checkpoint_path=run / "best.safetensors").eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), load_run(run).model()(x))
