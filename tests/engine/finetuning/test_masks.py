"""Fine-tuning from images with masks to masks, on images made up so that a network learns them within seconds."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin

import sarhub_models as sarhub
from sarhub_models import engine
from sarhub_models.cli import main
from sarhub_models.datasets.windows.masks import MaskWindows
from sarhub_models.engine.tasks.segmentation import class_iou, mask_scores
from sarhub_models.errors import DataError, ImageError, OptionError
from sarhub_models.features.masks import MaskPredictor, mask_names
from sarhub_models.features.predict import Predictor
from sarhub_models.models.export import export_named
from tests.engine.finetuning.test_finetune import write_chips

QUICK = ("runtime.threads=1", "augment.geometry=none")
PLACE = from_origin(500000, 4000000, 10, 10)
NODATA = 0


def write_tif(file: Path, array: np.ndarray, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    shape = {"count": count, "height": height, "width": width}
    with rasterio.open(file, "w", **{"driver": "GTiff", "dtype": array.dtype.name, **shape, **options}) as dataset:
        dataset.write(array)


def write_pairs(root: Path, *, count: int = 12, size: tuple[int, int] = (64, 64), bands: int = 1) -> Path:
    """Write speckle with a bright square, whose pixels are 1 in the mask, and a corner without data."""
    rng = np.random.default_rng(0)
    (root / "masks").mkdir(parents=True)
    for index in range(count):
        image = rng.integers(1, 60, (bands, *size)).astype(np.uint16)
        mask = np.zeros(size, np.uint8)
        top, left = rng.integers(0, size[0] - 24), rng.integers(0, size[1] - 24)
        mask[top : top + 20, left : left + 20] = 1
        image[:, mask == 1] += 180
        image[:, :4, :4] = NODATA
        write_tif(root / "images" / f"{index}.tif", image, nodata=NODATA, crs="EPSG:32632", transform=PLACE)
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    return root


def start(data: Path, out: Path, **options: object) -> engine.Trained:
    values: dict[str, object] = {
        "model": "mobilenetv3_dsn", "steps": 12, "batch_size": 4, "full_scale": 255, "lr": 5e-3,
        "classes": ["sea", "ship"], "say": lambda line: None, "assignments": QUICK,
    }  # fmt: skip
    return engine.finetune_masks(data, out=out, **{**values, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs")


@pytest.fixture(scope="module")
def done(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> engine.Trained:
    return start(pairs, tmp_path_factory.mktemp("run") / "run")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_score_of_the_report_is_that_of_the_written_masks(
    done: engine.Trained, pairs: Path, tmp_path: Path
) -> None:
    held = [row["image"] for row in rows(done.folder / "pairs.csv") if row["split"] == "test"]
    assert held
    found = Predictor(done.folder).predict_files(
        [pairs / "images" / name for name in held], names=held, out=tmp_path / "masks"
    )
    hits = unions = np.zeros(2)
    for name, file in zip(held, found.files, strict=True):
        with rasterio.open(file) as dataset:
            predicted = dataset.read(1)
        true = np.asarray(Image.open(pairs / "masks" / Path(name).with_suffix(".png").name))
        assert (predicted[:4, :4] == 255).all()
        known = predicted != 255
        both = [((predicted == c) & (true == c) & known).sum() for c in (0, 1)]
        either = [(((predicted == c) | (true == c)) & known).sum() for c in (0, 1)]
        hits, unions = hits + both, unions + either
    assert done.test["mean_iou"] == pytest.approx((hits / unions).mean())
    assert done.classes == pytest.approx(dict(zip(("sea", "ship"), hits / unions, strict=True)))


@pytest.mark.slow
def test_masks_have_the_georeference_of_their_images_and_no_invented_one(
    done: engine.Trained, pairs: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.png"
    with rasterio.open(pairs / "images" / "0.tif") as dataset:
        Image.fromarray(dataset.read(1).astype(np.uint8)).save(plain)
    found = MaskPredictor(done.folder).predict_files([pairs / "images" / "0.tif", plain], out=tmp_path / "masks")
    with rasterio.open(found.files[0]) as dataset:
        assert (dataset.crs, dataset.transform) == (rasterio.CRS.from_epsg(32632), PLACE)
        assert dataset.nodata == 255 and dataset.tags()["CLASSES"] == "sea;ship"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(found.files[1]) as dataset:
        assert dataset.crs is None and dataset.transform.is_identity and not dataset.gcps[0]
    table = rows(tmp_path / "masks" / "predictions.csv")
    assert [row["mask"] for row in table] == ["0.tif", "plain.tif"]
    assert sum(float(table[0][f"share: {name}"]) for name in ("sea", "ship")) == pytest.approx(1)


@pytest.mark.slow
def test_the_folder_holds_a_report_and_one_file_that_describes_itself(done: engine.Trained, pairs: Path) -> None:
    info = sarhub.model_info(done.weights)
    assert (info.task, info.decoder, info.class_names) == ("segmentation", "unet", ("sea", "ship"))
    assert str(pairs) not in str(info.to_dict()) and str(done.folder) not in str(info.to_dict())
    model = sarhub.create_model(done.folder).eval()
    assert model(sarhub.create_transform(done.folder)(np.full((64, 64), 0.5, np.float32))[None]).shape == (1, 2, 64, 64)
    report = {f"test{end}" for end in ("_scores.csv", "_classes.csv", ".png", "_pictures.png", "_masks")}
    assert report | {"curves.png", "metrics.csv", "pairs.csv"} <= {file.name for file in done.folder.iterdir()}
    with pytest.raises(OptionError, match="decoder unet for segmentation"):
        sarhub.create_model(done.folder, num_classes=5)


@pytest.mark.slow
def test_windows_of_a_large_image_meet_without_a_seam(done: engine.Trained) -> None:
    rng = np.random.default_rng(1)
    large = rng.integers(1, 240, (150, 170)).astype(np.uint16)
    predictor = MaskPredictor(done.folder)
    mask = predictor.predict(large)
    assert mask.classes.shape == large.shape and set(np.unique(mask.classes)) <= {0, 1}
    np.testing.assert_array_equal(mask.classes, predictor.predict(large, batch_size=1).classes)


@pytest.mark.slow
def test_pixels_of_arrays_without_data_get_no_answer(done: engine.Trained) -> None:
    image = np.random.default_rng(1).random((40, 40), dtype=np.float32) * 200
    image[:4] = np.nan
    predictor = MaskPredictor(done.folder)
    mask, masked = predictor.predict(image), predictor.predict(np.ma.masked_invalid(image))
    assert (mask.classes[:4] == 255).all() and (mask.classes[4:] < 255).all()
    np.testing.assert_array_equal(masked.classes, mask.classes)
    with pytest.raises(ImageError, match="an image of numbers"):
        predictor.predict(np.array([["a"]]))


@pytest.mark.slow
def test_images_are_not_replaced_by_their_masks(done: engine.Trained, pairs: Path, tmp_path: Path) -> None:
    image = tmp_path / "0.tif"
    shutil.copy(pairs / "images" / "0.tif", image)
    before = image.read_bytes()
    with pytest.raises(OptionError, match=r"0\.tif is read, and would be replaced by the result"):
        MaskPredictor(done.folder).predict_files([image], out=tmp_path)
    assert image.read_bytes() == before and {file.name for file in tmp_path.iterdir()} == {"0.tif"}


@pytest.mark.slow
def test_predictions_resume_and_name_bad_images(done: engine.Trained, pairs: Path, tmp_path: Path) -> None:
    bad, good, out = tmp_path / "bad.tif", pairs / "images" / "0.tif", tmp_path / "masks"
    bad.write_bytes(b"no raster")
    with pytest.raises(ImageError, match=r"bad\.tif.*resumes"):
        MaskPredictor(done.folder).predict_files([good, bad], out=out)
    assert not (out / "predictions.csv").exists()
    before = (out / "0.tif").stat().st_mtime_ns
    found = MaskPredictor(done.folder).predict_files([good, bad], out=out, on_error="skip")
    assert list(found.skipped) == ["bad.tif"] and found.names == ("0.tif",)
    assert (out / "0.tif").stat().st_mtime_ns == before
    assert sorted(file.name for file in out.iterdir()) == ["0.tif", "predictions.csv"]


@pytest.mark.slow
def test_the_same_call_again_changes_nothing_and_another_is_refused(done: engine.Trained, pairs: Path) -> None:
    again = start(pairs, done.folder)
    assert again.test == done.test
    with pytest.raises(OptionError, match=r"other options.*decoder"):
        start(pairs, done.folder, decoder="fpn")


@pytest.mark.slow
def test_a_killed_run_ends_as_the_whole_one(pairs: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sarhub_models.engine import trainer\n"
        "save = trainer.Trainer.save\n"
        "def killed(self):\n"
        "    save(self)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer.Trainer.save = killed\n"
        "from tests.engine.finetuning.test_masks import start\n"
        "start(Path(sys.argv[1]), Path(sys.argv[2]), steps=40)\n"
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start(pairs, whole, steps=40)
    run = subprocess.run([sys.executable, "-c", code, pairs, cut], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert run.returncode == -9 and not (cut / "run.json").exists()
    start(pairs, cut, steps=40)
    assert (cut / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


def test_a_mask_that_lies_elsewhere_than_its_image_is_refused(tmp_path: Path) -> None:
    """Such as one that is stored from south to north, with a transform that says so."""
    data = write_pairs(tmp_path / "pairs", count=4)
    south_up = PLACE * PLACE.translation(0, 64) * PLACE.scale(1, -1)
    for file in (data / "masks").iterdir():
        mask = np.asarray(Image.open(file))[None, ::-1].copy()
        file.unlink()
        write_tif(file.with_suffix(".tif"), mask, crs="EPSG:32632", transform=south_up)
    with pytest.raises(DataError, match=r"0\.tif lies 64 pixels beside its image"):
        start(data, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["fpn", "deeplabv3plus"])
def test_two_bands_in_decibels_and_other_decoders(tmp_path: Path, decoder: str) -> None:
    data = write_pairs(tmp_path / "pairs", bands=2, size=(70, 50))
    done = start(
        data, tmp_path / "run", model="none", network="resnet18", bands=("VV", "VH"), radiometry="intensity",
        full_scale=None, decoder=decoder, steps=2, freeze=False,
    )  # fmt: skip
    info = sarhub.model_info(done.folder)
    assert info.input.bands == ("VV", "VH") and info.preprocessing.size == 96
    assert Predictor(done.folder).predict(data / "images" / "0.tif").classes.shape == (70, 50)


@pytest.mark.slow
def test_a_run_starts_from_another_one_and_frozen_backbones_keep_their_weights(
    done: engine.Trained, pairs: Path, tmp_path: Path
) -> None:
    other = start(pairs, tmp_path / "run", model=done.folder, decoder="fpn", freeze=True, steps=2)
    theirs, ours = sarhub.create_model(done.folder).state_dict(), sarhub.create_model(other.folder).state_dict()
    body = [key for key in theirs if key.startswith("encoder.")]
    assert body and all(torch.equal(ours[key], theirs[key]) for key in body)


@pytest.mark.slow
def test_both_commands(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--steps", "2", "--batch-size", "2", "--full-scale", "255", "--classes", "sea,ship", *QUICK]
    out = str(tmp_path / "run")
    line = ["finetune", str(pairs), "--model", "mobilenetv3_dsn", "--out", out, *options]
    assert main([*line, "--json"]) == 0
    printed = capsys.readouterr()
    assert "mean_iou" in json.loads(printed.out)["val"] and "epoch 1/1" in printed.err
    assert main(line) == 0 and "mean iou" in capsys.readouterr().out  # of the finished run
    assert main(["predict", out, str(pairs / "images"), "--out", str(tmp_path / "masks")]) == 0
    assert "12 images: sea 0." in capsys.readouterr().out and len(list((tmp_path / "masks").glob("*.tif"))) == 12
    assert main(["finetune", str(pairs), "--model", "mobilenetv3_dsn", "--out", out, "--lora", "4", *QUICK]) == 2
    assert "--lora has no meaning for masks" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_for_whole_images_is_refused(done: engine.Trained, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="only networks for whole images are exported"):
        export_named(done.folder, tmp_path / "a.onnx", format="onnx")
    with pytest.raises(OptionError, match="decoder"):
        engine.finetune(write_chips(tmp_path / "chips", count=2), model=done.folder, out=tmp_path / "run")


def test_scores_of_a_confusion_matrix() -> None:
    counts = torch.tensor([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
    assert class_iou(counts)[:2].tolist() == pytest.approx([6 / 9, 1 / 4])
    assert mask_scores(counts)["mean_iou"] == pytest.approx((6 / 9 + 1 / 4) / 2)
    assert mask_scores(counts)["pixel_accuracy"] == pytest.approx(0.7)


def test_masks_get_names_that_differ() -> None:
    assert mask_names(["a/1.png", "1.png", "1.tif"]) == ["a/1.tif", "1.png.tif", "1.tif.tif"]


def test_numbers_of_a_mask_count_only_where_the_image_has_data(tmp_path: Path) -> None:
    image, mask = np.full((1, 32, 32), 9, np.uint16), np.zeros((32, 32), np.uint8)
    image[:, :4, :4], mask[:4, :4], mask[8:] = NODATA, 200, 1
    write_tif(tmp_path / "1.tif", image, nodata=NODATA)
    Image.fromarray(mask).save(tmp_path / "1.png")
    (tmp_path / "pairs.csv").write_text("image,mask,split,group,height,width,pixels\n1.tif,1.png,val,,32,32,9;9\n")
    split = MaskWindows(tmp_path, "val", lists=tmp_path, window=32, numbers=[0, 1], class_names=["sea", "ship"])
    assert (split.classes(0)[:4, :4] == 255).all() and set(np.unique(split[0].label)) == {0, 1, 255}
    mask[20, 20] = 200
    Image.fromarray(mask).save(tmp_path / "1.png")
    split = MaskWindows(tmp_path, "val", lists=tmp_path, window=32, numbers=[0, 1], class_names=["sea", "ship"])
    with pytest.raises(DataError, match="holds the number 200"):
        split.classes(0)


def test_changed_masks_and_images_are_no_resume(pairs: Path, done: engine.Trained, tmp_path: Path) -> None:
    data, run = shutil.copytree(pairs, tmp_path / "pairs"), shutil.copytree(done.folder, tmp_path / "run")
    mask = np.array(Image.open(data / "masks" / "3.png"))
    Image.fromarray(1 - mask).save(data / "masks" / "3.png")
    with pytest.raises(OptionError, match="the masks changed since"):
        start(data, run)
    Image.fromarray(mask).save(data / "masks" / "3.png")
    shutil.copy(data / "images" / "0.tif", data / "images" / "new.tif")
    with pytest.raises(OptionError, match="the images changed since"):
        start(data, run)


def _another_size(root: Path) -> dict[str, object]:
    Image.fromarray(np.zeros((60, 64), np.uint8)).save(root / "masks" / "3.png")
    return {}


def _another_number(root: Path) -> dict[str, object]:
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(root / "masks" / "3.png")
    return {}


def _no_mask(root: Path) -> dict[str, object]:
    (root / "masks" / "3.png").unlink()
    return {}


def _no_image(root: Path) -> dict[str, object]:
    (root / "images" / "3.tif").unlink()
    return {}


def _other_bands(root: Path) -> dict[str, object]:
    write_tif(root / "images" / "3.tif", np.ones((4, 64, 64), np.uint16))
    return {}


def _one_class(root: Path) -> dict[str, object]:
    for file in (root / "masks").iterdir():
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(file)
    return {"classes": None}


def _a_photograph(root: Path) -> dict[str, object]:
    colors = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(colors).save(root / "masks" / "3.png")
    return {}


def _no_pyramid(root: Path) -> dict[str, object]:
    return {"model": "none", "network": "vit_small_patch16"}


def _odd_window(root: Path) -> dict[str, object]:
    return {"size": 50}


def _boxes_decoder(root: Path) -> dict[str, object]:
    return {"decoder": "fcos"}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (_another_size, DataError, r"masks/3\.png has 60 x 64 pixels, its image .*3\.tif 64 x 64"),
        (_another_number, DataError, r"3\.png holds the number 7, which is no class of 0=sea, 1=ship"),
        (_no_mask, DataError, r"1 of 4 images .* have no mask of their name .*: 3"),
        (_no_image, DataError, r"1 masks .* have no image .*: 3\.png"),
        (_other_bands, ImageError, r"3\.tif: holds 4 bands"),
        (_one_class, DataError, "masks of 2 to 64 classes, found 0"),
        (_a_photograph, DataError, r"3\.png: expected one number a pixel, found 3 bands or colors"),
        (_no_pyramid, OptionError, "vit_small_patch16 gives no pyramid"),
        (_odd_window, OptionError, "a multiple of 32 pixels, got 50"),
        (_boxes_decoder, OptionError, "a decoder for masks of unet, fpn, deeplabv3plus, got 'fcos'"),
    ],
)
def test_bad_input_is_one_error_that_says_what_is_wrong(tmp_path: Path, make: object, error: type, text: str) -> None:
    write_pairs(tmp_path / "pairs", count=4)
    options = make(tmp_path / "pairs")  # type: ignore[operator]
    with pytest.raises(error, match=text):
        start(tmp_path / "pairs", tmp_path / "run", **options)
