"""The report of the study: what is paired, and when the claim counts as seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.experiments.initializations import NONE, none_and_sar
from benchmarks.explanation.report import accuracies, differences, verdict, write_report
from benchmarks.explanation.study import without_grid
from benchmarks.explanation.targets import Vehicles, overlap
from sarhub_models.errors import DataError, OptionError
from sarhub_models.explain import measure_points, regions_from_masks
from sarhub_models.explain.results import read_folder
from tests.engine.conftest import write_part


def results(gains: tuple[float, ...]) -> pd.DataFrame:
    """Shares of twelve chips, from SAR larger than from none by a gain that depends on the seed."""
    rng = np.random.default_rng(0)
    target = np.zeros((1, 16, 16), bool)
    target[0, :8, :8] = True
    (row,) = measure_points(np.zeros((1, 2, 2)), regions_from_masks(target), ["a"], thresholds=[0.25])
    found = []
    for chip in range(12):
        base = rng.uniform(0.2, 0.4)
        for seed, gain in enumerate(gains):
            for init in ("none", "SAR"):
                share = base + (gain + rng.normal(0, 0.01) if init == "SAR" else 0)
                described = {"network": "net", "init": init, "seed": seed, "regions": "SAR-HUB", "accuracy": 0.5}
                found.append({**described, **row, "chip": str(chip), "share": share, "panel": "kp, b = 0.25"})
    return pd.DataFrame(found)


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((0.1, 0.1, 0.1), "at 1 of 1 thresholds, and lowers it at 0"),
        ((-0.1, -0.1, -0.1), "at 0 of 1 thresholds, and lowers it at 1"),
        ((0.3, 0.3, -0.1), "at 0 of 1 thresholds, and lowers it at 0"),
        ((0.0, 0.0, 0.0), "at 0 of 1 thresholds"),
    ],
)
def test_the_claim_is_seen_where_interval_and_all_seeds_agree(gains: tuple[float, ...], words: str) -> None:
    assert words in verdict(results(gains))


def test_differences_are_paired_by_chip() -> None:
    gain, seeds = differences(results((0.1, 0.2)))
    assert gain.mean == pytest.approx(0.15, abs=0.01)
    assert gain.high - gain.low < 0.02, "the chips' own spread, 0.06, does not count"
    assert seeds == pytest.approx([0.1, 0.2], abs=0.02)


def test_accuracies_are_paired_by_seed() -> None:
    found = results((0.1, 0.2, 0.3))
    found.loc[found["init"] == "SAR", "accuracy"] = found["seed"].map({0: 0.6, 1: 0.7, 2: 0.65})
    text = accuracies(found)
    assert "net from none 0.500 (0.500, 0.500, 0.500); net from SAR 0.650 (0.600, 0.700, 0.650)" in text
    assert "Paired by seed: net from SAR against none +0.150 (p 0.035, n 3)." in text


def test_report_is_written_even_where_a_network_has_no_points(tmp_path: Path) -> None:
    found = results((0.1,)).drop(columns="panel")
    found.loc[found["init"] == "none", "share"] = np.nan
    text = write_report(found, tmp_path)
    assert "nan" in text
    assert "at 0 of 1 thresholds" in text
    for name in ("measures.csv", "explanation.md", "explanation_SAR-HUB.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_grid_that_all_chips_share_is_removed_and_a_target_stays() -> None:
    rng = np.random.default_rng(0)
    chips = rng.normal(0, 0.1, (5, 16, 16))
    chips[:, 6:9, 6:9] -= 2
    strides = np.zeros((16, 16))
    strides[::4, ::4] = -1.5
    even = without_grid(chips + strides)
    outside = np.ones((16, 16), bool)
    outside[6:9, 6:9] = False
    assert even[:, ::4, ::4].mean() == pytest.approx(even.mean())
    assert even[:, outside].std() < 0.3
    assert even[:, 6:9, 6:9].mean() < even[:, outside].mean() - 1.5


def test_pretrained_weights_are_named_or_the_error_says_how(tmp_path: Path) -> None:
    (found,) = none_and_sar(["mobilenetv3"], []).values()
    assert [(one.label, one.init) for one in found] == [("none", "none"), ("SAR", "mobilenetv3_dsn")]
    (tmp_path / "best.safetensors").touch()
    found = none_and_sar(["resnet18"], [f"resnet18={tmp_path / 'best.safetensors'}"])["resnet18"]
    assert found[0] == NONE and found[1].init == str(tmp_path / "best.safetensors")
    with pytest.raises(OptionError, match="--pretrained resnet18=RUN_DIR"):
        none_and_sar(["resnet18"], [])
    with pytest.raises(OptionError, match="NETWORK=RUN_DIR"):
        none_and_sar(["resnet18"], ["resnet18"])
    with pytest.raises(OptionError, match="weights of mobilenetv3, not of resnet18"):
        none_and_sar(["resnet18"], ["resnet18=mobilenetv3_dsn"])
    with pytest.raises(DataError, match="finished run"):
        none_and_sar(["resnet18"], [f"resnet18={tmp_path}"])


def test_weights_of_several_kinds_have_a_table_each_and_are_compared_with_none(tmp_path: Path) -> None:
    found = results((0.1, 0.1)).drop(columns="panel")
    more = found[found["init"] == "SAR"].assign(init="ImageNet")
    more["share"] -= 0.2
    text = write_report(pd.concat([found, more]), tmp_path, note="a sentence")
    assert "| from SAR |" in text and "| from ImageNet |" in text and text.endswith("\na sentence\n")
    assert (
        "net, SAR-HUB regions: SAR pre-training raises the share of knowledge points on target and shadow at 1" in text
    )
    assert "net, SAR-HUB regions: ImageNet pre-training raises" in text and "and lowers it at 1" in text


def test_overlap_is_that_of_the_pixels_of_each_chip() -> None:
    one, other = np.zeros((2, 2, 8, 8), bool)
    one[0, :4], other[0, 2:6] = True, True
    found = overlap(regions_from_masks(one), regions_from_masks(other))
    np.testing.assert_allclose(found["target"], [1 / 3, np.nan])
    assert np.isnan(found["shadow"]).all()


def write_vehicles(folder: Path, size: int = 140) -> None:
    """Two vehicles at both angles as pictures, bright where the mask says target, dark where it says shadow."""
    rng = np.random.default_rng(0)
    for vehicle in ("2S1", "ZIL131"):
        for angle in (15, 17):
            for number in range(4):
                mask = np.zeros((size, size), np.uint8)
                mask[60:80, 60:85], mask[60:80, 40:60] = 1, 2
                chip = rng.rayleigh(40, mask.shape) + 120 * (mask == 1) - 60 * (mask == 2)
                name = f"HB{angle}{vehicle[0] == '2':03d}{number}.000"
                cd = folder / "chips" / "MSTAR_PUBLIC_MIXED_TARGETS_CD1" / f"{angle}_DEG" / "COL2" / "SCENE1" / vehicle
                for target, pixels in ((cd / f"{name}.png", chip.clip(1, 255)), (folder / "masks" / vehicle, mask)):
                    file = target if target.suffix == ".png" else target / f"{name}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels.astype(np.uint8)).save(file)


@pytest.mark.slow
def test_vehicles_are_explained_with_the_masks_that_are_known_of_them(tmp_path: Path) -> None:
    write_vehicles(tmp_path)
    command = [
        *(sys.executable, "-m", "benchmarks.explanation", "--data", str(tmp_path / "chips"), "--seeds", "1"),
        *("--masks", str(tmp_path / "masks"), "--out", str(tmp_path / "out"), "--networks", "mobilenetv3"),
        *("--epochs", "1", "--steps", "2", "--limit", "3", "preprocess.mean=null", "preprocess.std=null"),
        *("optim.batch_size=8", "runtime.precision=fp32"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mobilenetv3, SARBake regions: SAR pre-training" in done.stdout
    found = read_folder(tmp_path / "out" / "trials" / "mstar" / "mobilenetv3" / "none-100-0" / "kp")
    assert len(found.names) == 3 and found.amplitude.shape == (3, 128, 128)
    regions = Vehicles(tmp_path / "chips", tmp_path / "masks").regions(found)
    assert regions.target[:, 54:74, 54:79].all() and regions.target.sum() == 3 * 20 * 25  # cut by six pixels a side
    assert found.amplitude[regions.target].min() > found.amplitude[regions.shadow].mean()
    assert "Intersection over union of the regions SAR-HUB and SARBake: target 0." in done.stdout


@pytest.mark.slow
def test_the_command_goes_on_where_it_was(tmp_path: Path) -> None:
    write_part(tmp_path / "opensarship.npz", ["Cargo", "Tanker"], per_split=6, seed=0)
    command = [
        *(sys.executable, "-m", "benchmarks.explanation", "--data", str(tmp_path)),
        "--out",
        str(tmp_path / "out"),
    ]
    command += ["--networks", "mobilenetv3", "--seeds", "1", "--epochs", "1", "--steps", "2", "--limit", "3"]
    command += ["preprocess.size=64", "optim.batch_size=8", "runtime.precision=fp32"]

    def run(*more: str) -> dict[Path, int]:
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "mobilenetv3, ship regions: SAR pre-training" in done.stdout
        found = (tmp_path / "out" / "trials").rglob("*.json")
        return {file: file.stat().st_mtime_ns for file in found if file.name in ("scores.json", "explain.json")}

    first = run()
    assert len(first) == 2 * (1 + 3)  # of each network the training, knowledge points and two activation maps
    assert (tmp_path / "out" / "figures" / "kp.png").is_file()
    assert run() == first
    again = run("--steps", "3")
    assert {file.parent.name for file in first if again[file] != first[file]} == {"kp"}, "no other maps depend on it"
