"""What users of other packages for such weights reported, tried here.

Told of elsewhere in these tests: broken downloads and hashes (``weights/test_store.py``, ``test_faults.py``), a warm
cache offline (``test_public_weights.py``), products with ground control points alone (``io/test_raster.py``).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import CheckpointError, ImageError, IntegrityError, RadiometryWarning
from sarhub_models.io.images import image_size, read_bands
from sarhub_models.models.loading import spec_of
from sarhub_models.weights import load_checkpoint
from sarhub_models.zoo.manifest import manifest_path
from tests.weights.loopback import FileServer

DECIBELS = "resnet50_ssl4eo.moco"


def scene(side: int = 250) -> np.ndarray:
    """VV and VH in decibels."""
    noise = np.random.default_rng(0).normal(0, 3, (2, side, side)).astype(np.float32)
    return noise + np.array([-11, -18], np.float32)[:, None, None]


def test_linear_power_where_decibels_are_expected() -> None:
    transform = sarhub.create_transform(DECIBELS)
    power = 10 ** (scene() / 10)
    with pytest.warns(RadiometryWarning, match="expected decibels"):
        transform(power)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = sarhub.create_transform(DECIBELS, radiometry="sigma0")(power)
        torch.testing.assert_close(right, transform(scene()), rtol=1e-4, atol=1e-4)


def test_polarizations_come_by_name_not_by_place(tmp_path: Path) -> None:
    path, pixels = tmp_path / "scene.tif", scene(40)
    with rasterio.open(path, "w", driver="GTiff", width=40, height=40, count=2, dtype="float32") as file:
        file.write(pixels[::-1])
        file.descriptions = ("VH", "VV")
    for name, order in ((DECIBELS, [0, 1]), ("mixmim_base_benv2.sarwmixmae", [1, 0])):
        bands = sarhub.model_info(name).input.bands
        np.testing.assert_array_equal(read_bands(path, bands), pixels[order])


@pytest.mark.parametrize("count", [1, 3, 4])
def test_another_number_of_channels_is_refused_with_the_bands_that_are_expected(count: int) -> None:
    with pytest.raises(ImageError, match=r"expected 2 bands \(VV, VH\)"):
        sarhub.create_transform(DECIBELS)(np.concatenate([scene(), scene()])[:count])
    one = sarhub.create_transform(DECIBELS, bands=("VV",))(scene()[:1])
    assert torch.equal(one, sarhub.create_transform(DECIBELS)(scene())[:1])


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_a_border_without_data_is_refused_or_filled(value: float) -> None:
    pixels = scene(256)
    pixels[:, :, :48] = value
    with pytest.raises(ImageError, match="expected finite decibels"):
        sarhub.create_transform(DECIBELS)(pixels)
    filled = sarhub.create_transform(DECIBELS, nodata="fill")(pixels)
    assert filled.isfinite().all()
    # What lies beside the border is as it would be without one: no statistic is taken from the image.
    torch.testing.assert_close(filled[..., 40:], sarhub.create_transform(DECIBELS)(scene(256))[..., 40:])


def test_a_border_of_zeros_changes_nothing_beside_it() -> None:
    pixels = scene(256)
    pixels[:, :, :48] = 0
    transform = sarhub.create_transform(DECIBELS)
    torch.testing.assert_close(transform(pixels)[..., 40:], transform(scene(256))[..., 40:])


@pytest.mark.parametrize("name", ["vit_small_patch16_ssl4eo.mae", "swin_t_ben"])
def test_a_chip_of_250_pixels_fits_after_its_transform(name: str) -> None:
    info = sarhub.model_info(name)
    pixels = scene()[: len(info.input.bands)]
    prepared = sarhub.create_transform(name)(pixels if info.input.radiometry == "db" else abs(pixels) / 50)
    with networks.on_meta_device():
        model = sarhub.create_model(name).eval()
        assert model(torch.empty(1, *prepared.shape)).ndim == 2


def test_a_first_convolution_of_other_channels_is_named(tmp_path: Path) -> None:
    torch.save(networks.build("resnet18", num_classes=19, in_chans=12).state_dict(), tmp_path / "s2.pth")
    with pytest.raises(CheckpointError, match=r"conv1\.weight.*\(64, 2, 7, 7\).*\(64, 12, 7, 7\)"):
        load_checkpoint(tmp_path / "s2.pth", spec_of(sarhub.model_info("resnet18_reben")))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Two sets of weights of one network, whose files have the same name; of one the list states a hash."""
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SARHUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    manifest = json.loads(manifest_path().read_text())
    with FileServer() as running:
        models = {}
        for number, name in enumerate(("resnet18_ben", "resnet18_osu")):
            torch.manual_seed(number)
            torch.save(sarhub.create_model(name).state_dict(), tmp_path / "w.pth")
            running.files[f"/{name}/w.pth"] = (tmp_path / "w.pth").read_bytes()
            source = {"type": "http", "url": f"{running.url}/{name}/w.pth"}
            models[name] = {**manifest["models"][name], "sources": [source]}
        digest = hashlib.sha256(running.files["/resnet18_osu/w.pth"]).hexdigest()
        models["resnet18_osu"]["checksum"] = {"algorithm": "sha256", "value": digest}
        (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "models": models}))
        monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
        yield running


@pytest.mark.slow
def test_files_of_the_same_name_are_kept_apart_and_no_hash_is_skipped(server: FileServer) -> None:
    good = server.files["/resnet18_osu/w.pth"]
    server.files["/resnet18_osu/w.pth"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(IntegrityError):
        sarhub.create_model("resnet18_osu", pretrained=True)
    server.files["/resnet18_osu/w.pth"] = good
    first, second = (sarhub.create_model(name, pretrained=True) for name in ("resnet18_ben", "resnet18_osu"))
    assert (first.num_classes, second.num_classes) == (19, 10)
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    again = sarhub.create_model("resnet18_ben", pretrained=True)
    assert torch.equal(again.conv1.weight, first.conv1.weight)


def test_a_scene_of_a_billion_pixels_is_measured_without_being_read(tmp_path: Path) -> None:
    height, width = 28780, 48283
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "tiled": True, "SPARSE_OK": "TRUE"}
    with rasterio.open(tmp_path / "scene.tif", "w", width=width, height=height, **profile):
        pass
    assert image_size(tmp_path / "scene.tif") == (height, width)
