"""Entry points of torch.hub, from a folder and from a repository that was fetched before."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import sarhub_models

ROOT = Path(__file__).parents[1]
REPO = "organization/sarhub_models:main"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's folder of fetched repositories with this one in it."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "organization_sarhub_models_main").symlink_to(ROOT)


def test_all_models_are_listed(fetched: None) -> None:
    listed = torch.hub.list(REPO, trust_repo=True)
    assert set(listed) == {
        *sarhub_models.list_models(),
        *(name.replace(".", "_") for name in sarhub_models.list_models()),
        "create_transform",
    }


def test_help_tells_data_and_citation(fetched: None) -> None:
    text = torch.hub.help(REPO, "resnet18_tsx_grsl2020", trust_repo=True)
    assert "TerraSAR-X" in text
    assert "10.1109/LGRS.2020.2965558" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", sarhub_models.list_models())
def test_every_model_loads_by_its_name(name: str) -> None:
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # initializing on the meta device does nothing, and says so
        model = torch.hub.load(str(ROOT), name, source="local", num_classes=7)
    assert model.num_classes == 7
    info = sarhub_models.model_info(name)
    assert model.pretrained_cfg["mean"] == info.statistics(range(info.input.channels))[0]


def test_weights_and_preprocessing(tmp_path: Path) -> None:
    original = sarhub_models.create_model("mobilenetv3_osu").eval()
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    model = torch.hub.load(
        str(ROOT), "mobilenetv3_osu", source="local", pretrained=str(tmp_path / "weights.pth"), trust_repo=True
    ).eval()
    transform = torch.hub.load(str(ROOT), "create_transform", "mobilenetv3_osu", source="local")
    chip = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    images = transform(chip)[None]
    assert images.shape == (1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), original(images))


def test_tagged_names_are_identifiers_too() -> None:
    model = torch.hub.load(str(ROOT), "resnet18_tsx_grsl2020", source="local", num_classes=2)
    assert model.pretrained_cfg["tag"] == "grsl2020"
