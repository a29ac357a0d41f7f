"""Each set of weights of the list: shown, prepared for, built and run on an image, with and without numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.cli import main
from sarhub_models.models.loading import spec_of


def chip(info: sarhub.ModelInfo) -> np.ndarray:
    """Random numbers of the radiometry that the weights expect."""
    rng, shape = np.random.default_rng(0), (len(info.input.bands), 130, 130)
    if info.input.radiometry == "amplitude":
        return rng.rayleigh(0.1, shape).clip(0, 1).astype(np.float32)
    if info.input.radiometry == "dn":
        return rng.integers(0, 256, shape).astype(np.float32)
    return rng.normal(-15, 4, shape).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", sarhub.list_models())
def test_list_info_transform_and_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    info = sarhub.model_info(name)
    assert main(["list", name, "--json"]) == 0
    assert [row["vouched_by"] for row in json.loads(capsys.readouterr().out)] == [info.preprocessing.vouched_by]
    assert main(["info", name]) == 0
    shown = capsys.readouterr().out
    assert info.citation.split()[-1] in shown and (info.preprocessing.source or "by no one") in shown
    prepared = sarhub.create_transform(name)(chip(info))
    assert prepared.shape[0] == info.input.channels and prepared.isfinite().all()
    classes = 3 if info.num_classes is None else None
    with networks.on_meta_device():
        model = sarhub.create_model(name, num_classes=classes).eval()
        with torch.inference_mode():
            found = model(torch.empty(2, *prepared.shape))
    assert found.shape == (2, classes or info.num_classes or model.head_hidden_size)
    assert info.params is None or sum(p.numel() for p in model.parameters()) == info.params


def write_random(info: sarhub.ModelInfo, classes: int | None, file: Path) -> None:
    """Write small random numbers for all tensors of the network, in half precision."""
    given = {} if classes is None else {f"{networks.spec(info.network).head}.weight": torch.empty(classes, 1)}
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, (shape, dtype) in spec_of(info).expected(given).items():
        values = torch.empty(shape, dtype=torch.float16).uniform_(-0.05, 0.05, generator=generator)
        tensors[name] = values.abs() + 0.5 if name.endswith("running_var") else values
        if not dtype.is_floating_point:
            tensors[name] = torch.zeros(shape, dtype=dtype)
    save_file(tensors, file)


@pytest.mark.slow
@pytest.mark.parametrize("name", sarhub.list_models())
def test_random_numbers_are_loaded_and_give_finite_features(name: str, tmp_path: Path) -> None:
    info = sarhub.model_info(name)
    classes = 3 if info.num_classes is None else None
    file = tmp_path / "weights.safetensors"
    write_random(info, classes, file)
    model = sarhub.create_model(name, checkpoint_path=file).eval()
    with torch.inference_mode():
        found = model(sarhub.create_transform(name)(chip(info))[None])
    assert found.shape == (1, classes or info.num_classes or model.head_hidden_size)
    assert found.isfinite().all() and found.std() > 0
    file.unlink()  # the largest has more than a gigabyte
