"""sarhub explain, as users run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from safetensors.torch import save_file

from sarhub_models import create_model
from sarhub_models.cli import main
from sarhub_models.cli.commands.explain.cam import Method
from sarhub_models.datasets.simulated import simulate_chips
from sarhub_models.explain.cam import CAM_METHODS
from sarhub_models.explain.results import read_folder
from sarhub_models.io.tables import read_table

from .conftest import child, only_line

MODEL = "mobilenetv3_dsn"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips")
    chips, labels, _ = simulate_chips(2, size=64)
    (folder / "sub").mkdir()
    for number, chip in enumerate(chips[labels == 1]):
        np.save(folder / "sub" / f"{number}.npy", chip)
    return folder


def points(images: Path, out: Path, *more: str) -> int:
    return main(["explain", "kp", "--images", str(images), "--out", str(out), "--steps", "3", "--json", *more])


@pytest.mark.slow
def test_knowledge_points_of_two_networks_and_their_comparison(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "untrained.safetensors"
    save_file(create_model("resnet18_tsx", num_classes=5).state_dict(), file)
    assert points(images, tmp_path / "one", "--model", MODEL) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["chips"] == 2
    assert points(images, tmp_path / "two", "--model", str(file), "--preprocessing", MODEL, "--label", "plain") == 0
    capsys.readouterr()
    for name in ("0", "1"):
        with np.load(tmp_path / "one" / "maps" / "sub" / f"{name}.npy.npz") as maps:
            assert maps["entropy"].shape == maps["patches"].shape == (16, 16)
            assert maps["points"].shape == (4, 16, 16)
        assert (tmp_path / "one" / "pictures" / "sub" / f"{name}.npy.png").stat().st_size > 10_000
    rows = read_table(tmp_path / "one" / "measures.csv", text=("network", "chip", "map"))
    assert [row["b"] for row in rows] == [0.25, 0.25, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    assert rows[0]["chip"] == "sub/0.npy"
    found = read_folder(tmp_path / "one")
    assert (found.network, found.settings["layer"]) == (MODEL, "blocks.5")

    folders = [str(tmp_path / name) for name in ("one", "two")]
    assert main(["explain", "compare", *folders, "--out", str(tmp_path / "both")]) == 0
    assert "plain" in capsys.readouterr().out
    compared = read_table(tmp_path / "both" / "measures.csv", text=("network", "chip", "map"))
    assert {row["network"] for row in compared} == {MODEL, "plain"}
    for name in ("grid.png", "distribution.png", "summary.csv", "comparison.csv"):
        assert (tmp_path / "both" / name).stat().st_size > 0

    assert main(["explain", "compare", folders[0], folders[0], "--out", str(tmp_path / "x")]) == 2
    assert "--label" in capsys.readouterr().err


@pytest.mark.slow
def test_the_unet_is_written_and_read_again(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unet = tmp_path / "unet.safetensors"
    arguments = ["--model", MODEL, "--estimator", "unet", "--unet", str(unet), "--limit", "1", "--patch", "32"]
    assert points(images, tmp_path / "one", *arguments, "--epochs", "1") == 0
    assert unet.exists()
    assert points(images, tmp_path / "two", *arguments, "--epochs", "7") == 0
    one, two = (read_folder(tmp_path / name) for name in ("one", "two"))
    assert two.settings["estimator"]["epochs"] == 1
    assert np.array_equal(one.maps, two.maps)


@pytest.mark.slow
def test_activation_maps(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cam"
    arguments = ["--model", MODEL, "--images", str(images), "--out", str(out), "--method", "layercam"]
    assert main(["explain", "cam", *arguments, "--class", "3", "--table", "parquet", "--pictures", "pdf"]) == 0
    rows = read_table(out / "measures.parquet")
    assert {row["map"] for row in rows} == {"layercam"}
    assert (out / "pictures" / "sub" / "0.npy.pdf").read_bytes().startswith(b"%PDF")
    assert "layercam" in capsys.readouterr().out


@pytest.mark.slow
def test_masks_of_ones_own(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:32, :32], mask[:32, 32:] = 1, 2  # of a chip that is explained at 128 by 128 pixels
    for name in ("0", "1"):
        (tmp_path / "masks" / "sub").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / "sub" / f"{name}.png")
    arguments = ["--model", MODEL, "--masks", str(tmp_path / "masks")]
    assert points(images, tmp_path / "kp", *arguments) == 0
    patches = read_folder(tmp_path / "kp").regions.patches
    assert (patches[:, :8, :8] == 1).all() and (patches[:, :8, 8:] == 2).all() and (patches[:, 8:] == 0).all()
    cam = ["explain", "cam", "--images", str(images), "--out", str(tmp_path / "cam"), "--json", *arguments]
    assert main(cam) == 0
    assert (read_folder(tmp_path / "cam").regions.patches == patches).all()

    Image.fromarray(mask * 100).save(tmp_path / "masks" / "sub" / "1.png")
    capsys.readouterr()
    assert points(images, tmp_path / "x", *arguments) == 1
    error = capsys.readouterr().err
    assert "1.png" in error and "200" in error and error.count("\n") == 1
    (tmp_path / "masks" / "sub" / "1.png").unlink()
    assert points(images, tmp_path / "x", *arguments) == 1
    assert "mask of sub/1.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(np.full((64, 64), np.nan), "NaN"), (np.full((64, 64), 0.5), "equal"), (np.zeros((2, 64, 64)), "bands")],
)
def test_bad_chips_are_named(
    pixels: np.ndarray, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "bad.npy", pixels.astype(np.float32))
    assert points(tmp_path, tmp_path / "out", "--model", MODEL) == 1
    error = capsys.readouterr().err
    assert "bad.npy" in error
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "mobilenetv3_dsm"], 2, "did you mean 'mobilenetv3_dsn'"),
        (["--model", MODEL, "--layer", "blocks.9"], 2, "blocks.5"),
        (["--model", MODEL, "--unet", "x"], 2, "--estimator unet"),
        (["--model", MODEL, "--preprocessing", MODEL], 2, "has its own"),
        (["--model", "missing.safetensors"], 1, "missing.safetensors"),
    ],
)
def test_wrong_calls_are_one_line(
    arguments: list[str], code: int, words: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert points(images, tmp_path / "out", *arguments) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_folder_without_explanation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "compare", str(tmp_path), str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "sarhub explain kp" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("package", ["scipy", "matplotlib"])
def test_missing_packages_are_named_with_their_extra(package: str) -> None:
    code = (
        "import sys; sys.modules[sys.argv.pop(1)] = None; from sarhub_models.cli import main;"
        "sys.exit(main(['explain', 'compare', 'a', 'b', '--out', 'c']))"
    )
    done = child(code, package)
    assert done.returncode == 1
    assert package in only_line(done.stderr) and "pip install 'sarhub-models[explain]'" in done.stderr


@pytest.mark.slow
def test_a_band_is_chosen_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 2, "dtype": "float32", "crs": "EPSG:32631"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as dataset:
        dataset.write(pixels)
        dataset.descriptions = ("VV", "VH")
    np.save(tmp_path / "vh.npy", pixels[1])
    out = tmp_path / "out"
    arguments = ["explain", "cam", "--model", MODEL, "--method", "eigencam"]
    for name, image, *more in (
        ("named", "a.tif", "--band", "VH"),
        ("numbered", "a.tif", "--band", "2"),
        ("one", "vh.npy"),
    ):
        assert main([*arguments, "--images", str(tmp_path / image), "--out", str(out / name), *more]) == 0
    maps = [read_folder(out / name).maps for name in ("named", "numbered", "one")]
    assert np.array_equal(maps[0], maps[1]) and np.array_equal(maps[0], maps[2])
    capsys.readouterr()
    assert main([*arguments, "--images", str(tmp_path / "a.tif"), "--out", str(out), "--band", "HH"]) == 1
    assert "no band of its own called 'HH'" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[" * 200_000, "[]", '{"format": "sarhub-explanation-1"}', "{names}"])
def test_a_damaged_explanation_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = {"format": "sarhub-explanation-1", "names": ["../../etc/passwd"], "patch": 8, "kind": "kp", "network": "a"}
    (tmp_path / "explain.json").write_text(content.replace("{names}", json.dumps(known)))
    assert main(["explain", "compare", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "explain.json" in error and "sarhub explain" in error and error.count("\n") == 1
    assert "passwd.npz" not in error


def test_every_kind_of_map_is_a_choice() -> None:
    assert get_args(Method) == tuple(CAM_METHODS)


@pytest.mark.slow
def test_a_network_of_two_bands_is_explained_for_both_and_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights, out = tmp_path / "two.safetensors", tmp_path / "out"
    save_file(create_model("resnet18_reben").state_dict(), weights)
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 2, "dtype": "float32", "crs": "EPSG:32631"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as dataset:
        dataset.write(np.random.default_rng(0).uniform(-25, -5, (2, 64, 64)).astype(np.float32))
        dataset.descriptions = ("VH", "VV")
    model = ["--model", str(weights), "--preprocessing", "resnet18_reben"]
    for name, *more in (("both",), ("vv", "--of-band", "VV"), ("vh", "--of-band", "VH")):
        assert points(tmp_path / "a.tif", out / name, *model, *more) == 0
    found = {name: read_folder(out / name) for name in ("both", "vv", "vh")}
    assert found["both"].maps.shape == (1, 15, 15)
    assert not np.array_equal(found["vv"].maps, found["vh"].maps)
    assert np.array_equal(found["both"].amplitude, found["vv"].amplitude)
    assert not np.array_equal(found["vv"].amplitude, found["vh"].amplitude)
    cam = ["explain", "cam", *model, "--images", str(tmp_path / "a.tif")]
    assert main([*cam, "--out", str(out / "cam"), "--shown", "VH"]) == 0
    assert np.array_equal(read_folder(out / "cam").amplitude, found["vh"].amplitude)
    capsys.readouterr()
    assert main([*cam, "--out", str(out / "no"), "--band", "2"]) == 2
    assert "takes the bands VV, VH" in only_line(capsys.readouterr().err)
