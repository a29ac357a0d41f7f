"""Fine-tuning from a folder of chips to answers, on chips made up so that a network learns them within seconds."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

import sarhub_models as sarhub
from sarhub_models import engine
from sarhub_models.cli import main
from sarhub_models.datasets.labeled import open_images
from sarhub_models.engine.finetuning.report import fit_temperature
from sarhub_models.errors import ImageError, OptionError
from sarhub_models.features.compare import compare
from sarhub_models.features.predict import Predictor
from sarhub_models.models.choice import image_values
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.weights import write_weights
from sarhub_models.zoo.description import to_metadata

QUICK = ("runtime.threads=1", "augment.geometry=none")


def write_chips(root: Path, *, classes: tuple[str, ...] = ("ship", "tank"), count: int = 24, bands: int = 1) -> Path:
    """Write speckle, one class with a bright square; several bands are decibels."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            chip = 0.2 * rng.random((bands, 40, 40))
            chip[:, 10:30, 10 : 12 + 9 * label] += 0.7
            chip = np.clip(chip, 1e-3, 1) if bands == 1 else 20 * np.log10(np.clip(chip, 1e-3, 1))
            np.save(root / name / f"{index}.npy", (chip[0] if bands == 1 else chip).astype(np.float32))
    return root


def start(data: Path, out: Path, **options: object) -> engine.Finetuned:
    values: dict[str, object] = {
        "model": "mobilenetv3_dsn", "steps": 8, "batch_size": 8, "size": 32, "say": lambda line: None,
        "assignments": QUICK,
    }  # fmt: skip
    return engine.finetune(data, out=out, **{**values, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chips(tmp_path_factory.mktemp("chips") / "chips")


@pytest.fixture(scope="module")
def done(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> engine.Finetuned:
    return start(chips, tmp_path_factory.mktemp("run") / "run")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_score_of_the_report_is_that_of_the_predictions(
    done: engine.Finetuned, chips: Path, tmp_path: Path
) -> None:
    table = rows(done.folder / "chips.csv")
    held = {row["name"]: row["label"] for row in table if row["split"] == "test"}
    found = Predictor(done.folder).predict_files(
        [chips / name for name in held], names=list(held), out=tmp_path / "p.csv", batch_size=3
    )
    written = {row["name"]: row for row in rows(tmp_path / "p.csv")}
    right = [written[name]["class"] == label for name, label in held.items()]
    assert done.test["overall_accuracy"] == pytest.approx(sum(right) / len(right))
    sums = [float(row["probability: ship"]) + float(row["probability: tank"]) for row in written.values()]
    assert sums == pytest.approx([1] * len(held), abs=1e-5)
    assert found.labels == tuple(row["class"] for row in rows(done.folder / "test_predictions.csv"))


def test_the_folder_holds_a_report_and_one_file_that_describes_itself(done: engine.Finetuned, chips: Path) -> None:
    info = sarhub.model_info(done.weights)
    assert info.class_names == ("ship", "tank") and info.training is not None
    assert info.training["temperature"] == done.temperature
    assert str(chips) not in json.dumps(info.to_dict()) and str(done.folder) not in json.dumps(info.to_dict())
    files = {file.name for file in done.folder.iterdir()}
    report = {f"test{end}" for end in ("_scores.csv", "_classes.csv", "_predictions.csv", ".png", "_calibration.png")}
    assert report | {"curves.png", "metrics.csv", "recipe.yaml"} <= files
    assert [row["class"] for row in rows(done.folder / "test_classes.csv")] == ["ship", "tank"]


def test_the_chain_is_that_of_the_starting_weights(done: engine.Finetuned) -> None:
    theirs = sarhub.create_transform("mobilenetv3_dsn").to_dict()["preprocessing"]
    ours = sarhub.create_transform(done.folder).to_dict()["preprocessing"]
    assert {**theirs, "size": 32, "full_scale": None} == {**ours, "full_scale": None}


def test_images_and_arrays_and_many_of_them_get_the_same_answer(done: engine.Finetuned, chips: Path) -> None:
    predictor = Predictor(done.weights)
    file = chips / "ship" / "3.npy"
    one = predictor.predict(file)
    array = predictor.predict(np.load(file))
    many = list(predictor.predict((path for path in [file, chips / "tank" / "3.npy"]), batch_size=1, features=True))
    np.testing.assert_allclose(one.probabilities, array.probabilities)
    np.testing.assert_allclose(one.probabilities, many[0].probabilities, rtol=1e-5)
    assert one.label == many[0].label and many[1].features is not None and many[1].features.ndim == 1


def test_the_temperature_divides_the_logits(done: engine.Finetuned, chips: Path) -> None:
    predictor = Predictor(done.folder)
    logits = predictor.logits([chips / "ship" / "0.npy"])
    expected = torch.from_numpy(logits / done.temperature).softmax(dim=1)[0].numpy()
    np.testing.assert_allclose(predictor.predict(chips / "ship" / "0.npy").probabilities, expected, rtol=1e-4)


def test_a_bad_image_is_named_and_stops_or_is_skipped(done: engine.Finetuned, chips: Path, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.npy", chips / "ship" / "0.npy"
    bad.write_bytes(b"no array")
    predictor = Predictor(done.folder)
    with pytest.raises(ImageError, match=r"bad\.npy"):
        predictor.predict_files([good, bad])
    found = predictor.predict_files([good, bad], on_error="skip")
    assert found.names == (str(good),) and list(found.skipped) == [str(bad)]
    with pytest.raises(ImageError, match=r"bad\.npy"):
        list(predictor.predict([good, bad]))
    skipped = list(predictor.predict([bad, good], on_error="skip"))
    assert skipped[0].label == "" and "bad.npy" in str(skipped[0].error) and skipped[1].label


def test_predictions_resume_from_their_journal(done: engine.Finetuned, chips: Path, tmp_path: Path) -> None:
    files, out = sorted((chips / "ship").iterdir())[:6], tmp_path / "p.csv"
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"no array")
    with pytest.raises(ImageError, match="resumes"):
        Predictor(done.folder).predict_files([*files, bad], out=out, batch_size=2)
    assert not out.exists()
    np.save(bad, np.load(files[0]))
    Predictor(done.folder).predict_files([*files, bad], out=out)
    assert len(rows(out)) == 7 and [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.slow
def test_exported_files_predict_alike(done: engine.Finetuned, chips: Path, tmp_path: Path, suffix: str) -> None:
    from sarhub_models.models.export import export_named

    file = tmp_path / f"chips{suffix}"
    export_named(done.folder, file, format=suffix[1:])
    chip = chips / "tank" / "1.npy"
    expected, got = Predictor(done.folder).predict(chip), Predictor(file).predict(chip)
    assert got.label == expected.label
    np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-4)
    with pytest.raises(OptionError, match="features"):
        Predictor(file).predict(chip, features=True)


@pytest.mark.slow
def test_the_same_call_again_changes_nothing_and_another_is_refused(done: engine.Finetuned, chips: Path) -> None:
    before = done.weights.read_bytes()
    again = start(chips, done.folder)
    assert again.test == done.test and done.weights.read_bytes() == before
    with pytest.raises(OptionError, match=r"other options.*freeze"):
        start(chips, done.folder, freeze=True)


@pytest.mark.slow
def test_a_killed_run_ends_as_the_whole_one(done: engine.Finetuned, chips: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from sarhub_models.engine import trainer\n"
        "save = trainer.Trainer.save\n"
        "def killed(self):\n"
        "    save(self)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer.Trainer.save = killed\n"
        "from pathlib import Path\n"
        "from tests.engine.finetuning.test_finetune import start\n"
        "start(Path(sys.argv[1]), Path(sys.argv[2]), steps=40)\n"
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start(chips, whole, steps=40)
    run = subprocess.run([sys.executable, "-c", code, chips, cut], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert run.returncode == -9 and not (cut / "run.json").exists()
    start(chips, cut, steps=40)
    assert (cut / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_error_and_the_same_call_goes_on(chips: Path, small_disk: Path) -> None:
    def grow(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)

    grow("9m")  # room for the weights, not for the checkpoint with the state of the optimizer
    with pytest.raises(OSError, match=r"run.* cannot be written .*Is the disk full|No space left on device"):
        start(chips, small_disk / "run")
    assert not (small_disk / "run" / "run.json").exists()
    grow("80m")
    assert start(chips, small_disk / "run").test


@pytest.mark.slow
def test_two_bands_in_decibels(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips", bands=2)
    done = start(
        data, tmp_path / "run", model="none", network="mobilenetv3", bands=("VV", "VH"), radiometry="db", steps=4
    )
    model, info = sarhub.create_model(done.folder), sarhub.model_info(done.folder)
    assert info.input.bands == ("VV", "VH") and info.input.radiometry == "db"
    assert model.eval()(torch.zeros(1, 2, 32, 32)).shape == (1, 2)
    assert Predictor(done.folder).predict(data / "ship" / "0.npy").label in ("ship", "tank")


@pytest.mark.slow
def test_weights_of_one_band_start_a_network_of_two(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips", bands=2)
    with pytest.warns(
        UserWarning, match="first layer of mobilenetv3_dsn takes 3 channels: its filters are spread over 2"
    ):
        done = start(data, tmp_path / "run", model="mobilenetv3_dsn", bands=("VV", "VH"), radiometry="db", steps=4)
    info = sarhub.model_info(done.folder)
    assert info.input.bands == ("VV", "VH") and info.input.radiometry == "db"
    assert "keep_norms: true" in (done.folder / "recipe.yaml").read_text()
    ours = sarhub.create_model(done.folder).state_dict()["conv_stem.weight"]
    theirs = sarhub.create_model("mobilenetv3_dsn", pretrained=True).state_dict()["conv_stem.weight"]
    torch.testing.assert_close(ours.sum(1), theirs.sum(1), atol=0.05, rtol=0)  # a few steps away
    assert Predictor(done.folder).predict(data / "ship" / "0.npy").label in ("ship", "tank")


@pytest.mark.slow
def test_one_band_of_two_is_learned_and_predicted(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips")
    for file in data.rglob("*.npy"):
        image = np.load(file)
        np.save(file, np.stack([np.zeros_like(image), image]))
    done = start(data, tmp_path / "run", band=2, steps=4)
    assert Predictor(done.folder).band == [2] and start(data, done.folder, band=[2], steps=4).val == done.val
    assert Predictor(done.folder).predict(data / "ship" / "0.npy").label in ("ship", "tank")


@pytest.mark.slow
def test_every_command_reads_images_as_the_run_says(tmp_path: Path) -> None:
    """Intensity with a corner without data: features are those of predict, and so is what compare keeps."""
    data = write_chips(tmp_path / "chips")
    for file in data.rglob("*.npy"):
        image = (np.load(file) / 255.0).astype(np.float32) ** 2
        image[:2, :2] = np.nan
        np.save(file, image)
    run = start(data, tmp_path / "run", radiometry="intensity", nodata="fill", full_scale=None, steps=4).folder
    files = sorted(data.rglob("*.npy"))
    wanted = {
        file.relative_to(data).as_posix(): one.features
        for file, one in zip(files, Predictor(run).predict(files, features=True), strict=True)
    }
    assert main(["features", str(data), "--model", str(run), "--out", str(tmp_path / "f.parquet")]) == 0
    table = pd.read_parquet(tmp_path / "f.parquet")
    assert len(table) == len(wanted)
    for name, features in zip(table["name"], table["features"], strict=True):
        np.testing.assert_allclose(features, wanted[name], rtol=0, atol=1e-5)
    with open_images(data, labels=run / "chips.csv") as chips:
        compare(chips, [run], tmp_path / "compared", progress=False)
    kept = [load_file(file)["features"] for file in (tmp_path / "compared" / "features").glob("*.safetensors")]
    expected = np.stack([wanted[name] for name in chips.names])
    assert min(float(np.abs(one - expected).max()) for one in kept) < 1e-5
    assert (tmp_path / "compared" / "chips.png").is_file()
    cam = ["explain", "cam", "--model", str(run), "--images", str(data), "--out", str(tmp_path / "cam"), "--limit", "2"]
    assert main(cam) == 0


@pytest.mark.slow
def test_several_labels_a_chip(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips")
    lines = ["name,label"]
    for index in range(24):
        lines += [f"ship/{index}.npy,sea;bright", f"tank/{index}.npy,land{';bright' if index % 2 else ''}"]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    done = start(data, tmp_path / "run", labels=tmp_path / "labels.csv", steps=4)
    assert sarhub.model_info(done.folder).dataset.multilabel and "mean_average_precision" in done.test
    found = Predictor(done.folder).predict(data / "ship" / "0.npy")
    assert (
        set(found.label.split(";"))
        == {name for name, p in zip(("bright", "land", "sea"), found.probabilities, strict=True) if p >= 0.5}
        or found.label == ""
    )


@pytest.mark.slow
def test_frozen_backbones_keep_their_weights(chips: Path, tmp_path: Path) -> None:
    done = start(chips, tmp_path / "run", freeze=True, steps=4)
    theirs, ours = sarhub.create_model("mobilenetv3_dsn", pretrained=True).state_dict(), None
    ours = sarhub.create_model(done.folder).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs if not key.startswith("classifier"))


def test_temperature_of_too_sure_logits() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=rng) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=rng)[:, 0]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("several", [False, True])
def test_a_split_without_an_error_does_not_make_probabilities_of_0_and_1(several: bool) -> None:
    labels = torch.arange(20) % 2
    truth = torch.nn.functional.one_hot(labels, 2)
    logits = 4.0 * (2 * truth - 1)
    temperature = fit_temperature(logits, truth if several else labels)
    scaled = logits / temperature
    chances = scaled.sigmoid() if several else scaled.softmax(dim=1)
    assert 0.95 < chances.max() < 0.99  # half an error in 21


@pytest.mark.parametrize(
    ("key", "option"),
    [("data.full_scale", "full-scale"), ("data.radiometry", "radiometry"), ("data.options.band", "band"),
     ("data.options.nodata", "nodata")],
)  # fmt: skip
def test_keys_of_the_recipe_that_are_options_are_refused(chips: Path, tmp_path: Path, key: str, option: str) -> None:
    with pytest.raises(OptionError, match=rf"{key} is an option of its own: .*--{option}"):
        start(chips, tmp_path / "run", assignments=(*QUICK, f"{key}=1"))


@pytest.mark.slow
def test_digital_numbers_take_the_full_scale_of_the_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, top in (("ship", 200), ("tank", 900)):
        (tmp_path / "chips" / name).mkdir(parents=True)
        for index in range(6):
            np.save(tmp_path / "chips" / name / f"{index}.npy", rng.integers(1, top, (40, 40)).astype(np.uint16))
    first = start(tmp_path / "chips", tmp_path / "first", steps=1, batch_size=2, radiometry="dn", full_scale=1000)
    again = start(tmp_path / "chips", tmp_path / "again", steps=1, batch_size=2, radiometry="dn", model=first.folder)
    assert Predictor(again.folder).transform.steps["radiometry"].full_scale == 1000


@pytest.mark.slow
def test_the_full_scale_of_the_chips_belongs_to_their_radiometry(tmp_path: Path) -> None:
    info = sarhub.model_info("mobilenetv3_dsn")
    info = dataclasses.replace(info, training={"images": {"radiometry": "dn", "full_scale": 1000.0}})
    assert image_values(info, radiometry=None, full_scale=None) == ("dn", 1000)
    assert image_values(info, radiometry="dn", full_scale=None) == ("dn", 1000)
    assert image_values(info, radiometry="amplitude", full_scale=None) == ("amplitude", None)
    assert image_values(info, radiometry="amplitude", full_scale=2.0) == ("amplitude", 2)
    file = tmp_path / "own.safetensors"
    write_weights(sarhub.create_model("mobilenetv3_dsn", pretrained=True).state_dict(), file, info=to_metadata(info))
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    found = Predictor(file, radiometry="amplitude").predict(image).probabilities
    np.testing.assert_allclose(found, Predictor("mobilenetv3_dsn").predict(image).probabilities, atol=1e-6)
    assert WindowModel(ModelSpec(str(file), "features", radiometry="amplitude")).transform.takes_amplitude
    plain = dataclasses.replace(info, training={"images": {"full_scale": 255.0}})
    assert image_values(plain, radiometry="amplitude", full_scale=None) == ("amplitude", 255)
