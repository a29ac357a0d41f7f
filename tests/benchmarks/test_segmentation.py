"""DeepLabv3 of every network on SpaceNet 6 as it lies on disk, by MMSegmentation; and what the commands are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sarhub_models as sarhub
from sarhub_models.datasets.segmentation.spacenet6 import BANDS
from sarhub_models.errors import DataError, OptionError, UnknownNameError

pytest.importorskip("mmcv", reason="the MM stack is not installed: make test-mm sets it up", exc_type=ImportError)
pytest.importorskip("mmseg")

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from benchmarks.composed.__main__ import MOSAICS
from benchmarks.composed.mosaics import MosaicSettings, compose_mosaics
from benchmarks.composed.study import curve_figure
from benchmarks.detection.task import TASK as DETECTION
from benchmarks.experiments.trial import Trial
from benchmarks.mm.run import history, set_weights
from benchmarks.mm.task import Task
from benchmarks.segmentation.metric import ClassIoUMetric
from benchmarks.segmentation.prepare import LEVELS, prepare_masked, prepare_spacenet6, quantize
from benchmarks.segmentation.task import TASK, place, scores
from sarhub_models.integrations.mm import SARHubBackbone, backbone_channels

NETWORKS = ["resnet18", "resnet50", "resnet101", "senet50", "mobilenetv3", "densenet121", "swin_t", "swin_b"]
SIDE = 96
CRS = "EPSG:32631"
STEM = "20190804111224_20190804111453_tile_{}"
LEFT, TOP = 593000.0, 5747000.0
BUILDING = (20, 30, 60, 70)  # rows, columns: top, left, bottom, right


def write_tile(root: Path, number: int) -> None:
    """Write a tile as the archive holds it: four bands in decibels, half a metre a pixel, and one footprint."""
    import rasterio
    from rasterio.transform import from_origin

    stem = STEM.format(number)
    top, left, bottom, right = BUILDING
    image = np.random.default_rng(number).normal(20, 4, (len(BANDS), SIDE, SIDE)).astype(np.float32)
    image[:, top:bottom, left:right] += 25
    image[:, :, :10] = 0  # no data
    file = root / "SAR-Intensity" / f"SN6_Train_AOI_11_Rotterdam_SAR-Intensity_{stem}.tif"
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": len(BANDS), "dtype": "float32", "crs": CRS}
    with rasterio.open(file, "w", transform=from_origin(LEFT, TOP, 0.5, 0.5), **options) as target:
        target.write(image)
    corners = [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]
    ring = [[LEFT + 0.5 * column, TOP - 0.5 * row] for row, column in corners]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    text = json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]})
    footprints = root / "geojson_buildings" / f"SN6_Train_AOI_11_Rotterdam_Buildings_{stem}.geojson"
    footprints.parent.mkdir(parents=True, exist_ok=True)
    footprints.write_text(text)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("SN6")
    for number in range(6):
        write_tile(root, number)
    (root / "train.txt").write_text("\n".join(STEM.format(number) for number in range(4)))
    (root / "test.txt").write_text(f"{STEM.format(4)}.tif\n{STEM.format(5)}.tif\n")
    return root


@pytest.fixture(scope="module")
def data(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "prepared"
    assert prepare_spacenet6(archive, out) == {"train": 4, "test": 2}
    return out


@pytest.fixture
def fresh_scope() -> Iterator[None]:
    yield
    DefaultScope._instance_dict.clear()  # MMEngine keeps what it made under a name


def small(config: Config) -> Config:
    """Two steps on small crops, without worker processes."""
    for split in ("train", "val", "test"):
        loader = config[f"{split}_dataloader"]
        loader.num_workers, loader.persistent_workers = 0, False
    for step in config.train_dataloader.dataset.pipeline:
        if step.type == "RandomResize":
            step.scale = (SIDE, SIDE)
        if step.type == "RandomCrop":
            step.crop_size = (64, 64)
    config.model.data_preprocessor.size = (64, 64)
    config.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": 2, "val_interval": 2}
    return config


@pytest.mark.parametrize("network", NETWORKS)
def test_the_heads_take_the_channels_that_the_backbone_has(network: str) -> None:
    model = TASK.load_config(f"{network}_ben", "spacenet6").model
    assert model.backbone.name == f"{network}_ben"
    channels = backbone_channels(model.backbone.name)
    assert (model.decode_head.in_channels, model.auxiliary_head.in_channels) == (channels[3], channels[2])
    assert model.backbone.output_stride == (32 if network.startswith("swin") else 8)


def test_the_constants_of_the_method() -> None:
    config = TASK.load_config("resnet50_ben", "spacenet6")
    head, auxiliary = config.model.decode_head, config.model.auxiliary_head
    assert head.dilations == (1, 12, 24, 36)
    assert [(h.loss_decode.type, h.loss_decode.loss_weight) for h in (head, auxiliary)] == [
        ("DiceLoss", 1.0),
        ("DiceLoss", 0.4),
    ]
    optimizer = dict(config.optim_wrapper.optimizer)
    assert optimizer == {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}
    schedule = config.param_scheduler[0]
    assert (schedule.type, schedule.power, schedule.eta_min, schedule.end) == ("PolyLR", 0.9, 1e-4, 20000)
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (20000, 2000)
    assert config.train_dataloader.batch_size == 2
    steps = {step.type: step for step in config.train_dataloader.dataset.pipeline}
    assert (steps["RandomResize"].ratio_range, steps["RandomCrop"].crop_size) == ((0.5, 2.0), (512, 512))
    assert (steps["RandomResize"].scale, steps["RandomCrop"].cat_max_ratio) == ((900, 900), 0.75)
    assert (head.type, head.in_index, head.num_classes) == ("ASPPHead", 3, 2)
    assert (auxiliary.type, auxiliary.in_index, auxiliary.num_classes) == ("FCNHead", 2, 2)  # the third stage
    assert config.model.test_cfg == {"mode": "whole"}


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_scope")
@pytest.mark.parametrize("network", NETWORKS)
def test_trained_some_steps_and_evaluated(network: str, data: Path, tmp_path: Path) -> None:
    config = small(TASK.load_config(f"{network}_tsx", "spacenet6"))
    set_weights(config, "none", tmp_path)
    place(config, data)
    config.work_dir = str(tmp_path / "work")
    config.experiment_name = config.visualizer.name = network
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    assert isinstance(runner.model.backbone, SARHubBackbone)
    runner.train()
    moved = {name.partition(".")[0] for name, p in runner.model.named_parameters() if not torch.equal(before[name], p)}
    assert moved == {"backbone", "decode_head", "auxiliary_head"}
    assert all(p.isfinite().all() for p in runner.model.parameters())
    found = scores(runner.val_loop.run())
    assert set(found) == {"mIoU", "overall_accuracy", "IoU background", "IoU building"}
    assert found["mIoU"] == pytest.approx((found["IoU background"] + found["IoU building"]) / 2, abs=1e-4)


@pytest.mark.slow
def test_one_command_a_trial_by_the_tools_of_mmsegmentation(data: Path, tmp_path: Path) -> None:
    options = [
        "train_cfg.max_iters=2",
        "train_cfg.val_interval=2",
        "default_hooks.checkpoint.interval=2",
        "train_dataloader.dataset.pipeline.3.scale=(96,96)",
        "train_dataloader.dataset.pipeline.4.crop_size=(64,64)",
        "model.data_preprocessor.size=(64,64)",
        *(f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test")),
        *(f"{split}_dataloader.persistent_workers=False" for split in ("train", "val", "test")),
    ]
    out = tmp_path / "out"
    command = [*(sys.executable, "-m", "benchmarks.segmentation", "train", "mobilenetv3_dsn", "spacenet6")]
    command += ["--data", str(data), "--out", str(out), "--threads", "1"]
    for option in options:
        command += ["--cfg-options", option]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = out / "trials" / "spacenet6" / "mobilenetv3_dsn" / "mobilenetv3_dsn-100-0"
    prediction = np.asarray(Image.open(next((run / "predictions").glob("*.png"))))
    assert prediction.shape == (SIDE, SIDE)
    assert set(np.unique(prediction)) <= {0, 1}
    with Image.open(run / "predictions.png") as picture:
        assert picture.width > 300
    table = (out / "results.csv").read_text()
    assert "segmentation,spacenet6,mobilenetv3 (dsn),mobilenetv3_dsn,1.0,0,IoU building," in table
    (run / "log.txt").unlink()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert not (run / "log.txt").exists(), "a finished run is not done again"
    other = subprocess.run([*command, "--cfg-options", "train_cfg.max_iters=3"], capture_output=True, text=True)
    assert other.returncode == 1
    assert "holds results of other settings (train_cfg.max_iters: 2 there, 3 now)" in other.stderr


def test_prepared_masks_show_the_footprints_and_images_one_band(archive: Path, data: Path) -> None:
    import rasterio

    top, left, bottom, right = BUILDING
    levels = json.loads((data / LEVELS).read_text())
    for file in (data / "img_dir" / "test").iterdir():
        mask = np.asarray(Image.open(data / "ann_dir" / "test" / file.name))
        expected = np.zeros((SIDE, SIDE), bool)
        expected[top:bottom, left:right] = True
        assert (mask == expected).all()
        with rasterio.open(archive / "SAR-Intensity" / f"{file.stem}.tif") as tile:
            band = tile.read(1)
        image = np.asarray(Image.open(file))
        assert (image[:, :10] == 0).all()
        assert image[:, 10:].min() >= 1
        np.testing.assert_array_equal(image, quantize(band, levels["low"], levels["high"]))


def test_levels_rise_with_the_decibels() -> None:
    assert quantize(np.array([[-5.0, 10, 20, 30, 99, 0]]), 10, 30).tolist() == [[1, 1, 128, 255, 255, 0]]


def test_other_lists_of_the_same_length_are_another_data_set(archive: Path, data: Path, tmp_path: Path) -> None:
    lists = {"train": (2, 3, 4, 5), "test": (0, 1)}
    for split, numbers in lists.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(STEM.format(number) for number in numbers))
    with pytest.raises(OptionError):
        prepare_spacenet6(archive, data, lists=tmp_path)
    assert prepare_spacenet6(archive, tmp_path / "out", lists=tmp_path) == {"train": 4, "test": 2}


def test_a_checkpoint_is_there_while_the_next_is_written() -> None:
    for dataset in ("spacenet6", "mosaics"):
        assert TASK.load_config("resnet18_ben", dataset).default_hooks.checkpoint.max_keep_ckpts == 2


def test_prepared_folders_are_not_mixed(archive: Path, data: Path, tmp_path: Path) -> None:
    assert prepare_spacenet6(archive, data) == {"train": 4, "test": 2}
    with pytest.raises(OptionError, match="band: 'HH' there, 'VV' now"):
        prepare_spacenet6(archive, data, band="VV")
    with pytest.raises(UnknownNameError, match="HH"):
        prepare_spacenet6(archive, tmp_path / "out", band="H")
    with pytest.raises(DataError, match=r"train\.txt"):
        prepare_spacenet6(archive, tmp_path / "out", lists=tmp_path)
    assert not (tmp_path / "out").exists()


def write_sarbake(root: Path) -> None:
    """Write chips in the folders of MSTAR's archives, three for each depression angle, and masks of SARBake."""
    rng = np.random.default_rng(0)
    for angle, first in (("17_DEG", 0), ("15_DEG", 3)):
        for number in range(first, first + 3):
            side = 60 + 5 * number
            mask = np.zeros((side, side), np.uint8)
            mask[20:35, 20:30], mask[20:35, 30:45] = 1, 2
            chip = (rng.rayleigh(30, mask.shape) * np.choose(mask, (1, 4, 0.1))).clip(0, 255).astype(np.uint8)
            name = f"HB0000{number}.000"
            for file, image in ((f"MSTAR/{angle}/2S1/{name}.png", chip), (f"MASKS/2S1/{name}.png", mask)):
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(root / file)


@pytest.mark.slow
def test_masks_of_a_data_set_of_pictures_are_prepared_as_they_are(tmp_path: Path) -> None:
    write_sarbake(tmp_path)
    out = tmp_path / "out"
    assert prepare_masked("sarbake", tmp_path / "MSTAR", out, tmp_path / "MASKS") == {"train": 3, "test": 3}
    assert (out / "classes.txt").read_text().split() == ["background", "target", "shadow"]
    for kind, root in (("img_dir", "MSTAR/15_DEG"), ("ann_dir", "MASKS")):
        written = np.asarray(Image.open(out / kind / "test" / "HB00004.000.png"))
        assert (written == np.asarray(Image.open(tmp_path / root / "2S1" / "HB00004.000.png"))).all()
    with pytest.raises(UnknownNameError, match="sarbake"):
        prepare_masked("spacenet6", tmp_path / "MSTAR", tmp_path / "other")
    command = [sys.executable, "-m", "benchmarks.segmentation.prepare", "sarbake", str(tmp_path / "MSTAR")]
    done = subprocess.run([*command, "--out", str(out), "--band", "HH"], capture_output=True, text=True)
    assert done.returncode != 0 and "sarbake takes --masks, not --band" in done.stderr


@pytest.mark.slow
def test_the_small_network_learns_masks_of_pictures(tmp_path: Path) -> None:
    write_sarbake(tmp_path)
    prepare_masked("sarbake", tmp_path / "MSTAR", tmp_path / "data", tmp_path / "MASKS")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.segmentation", "train", "mobilenetv3_dsn", "sarbake", "--init", "own"]
    command += ["--data", str(tmp_path / "data"), "--out", str(out), "--threads", "1"]
    command += ["--cfg-options", "train_cfg.max_iters=2", "--cfg-options", "train_dataloader.batch_size=2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (out / "results.csv").read_text()
    assert "segmentation,sarbake,mobilenetv3 (dsn),mobilenetv3_dsn,1.0,0,IoU shadow," in table
    run = out / "trials" / "sarbake" / "mobilenetv3_dsn" / "mobilenetv3_dsn-100-0"
    assert np.asarray(Image.open(run / "predictions" / "HB00005.000.png")).shape == (85, 85)


def test_iou_of_a_class_that_does_not_occur_is_left_out() -> None:
    metric = ClassIoUMetric()
    metric.dataset_meta = {"classes": ("a", "b", "c")}
    truth, found = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 1]])
    result = metric.intersect_and_union(found, truth, 3, 255)
    values = metric.compute_metrics([result, result])
    assert values["IoU.a"] == pytest.approx(50)
    assert values["IoU.b"] == pytest.approx(100 * 2 / 3)
    assert "IoU.c" not in values


@pytest.mark.slow
def test_heads_tell_the_classes_of_the_folder_apart(tmp_path: Path) -> None:
    compose_mosaics(None, tmp_path / "mosaics", MosaicSettings(1, 1, 1, size=64, fewest=2, most=3), progress=False)
    config = TASK.load_config("mobilenetv3_dsn", "mosaics")
    place(config, tmp_path / "mosaics")
    assert config.model.decode_head.num_classes == 4
    assert config.val_dataloader.dataset.metainfo["classes"] == ("sea", "urban", "fields", "forest")
    with pytest.raises(DataError, match=r"classes\.txt"):
        place(config, tmp_path)


@pytest.mark.parametrize(("task", "dataset"), [(TASK, "mosaics"), (DETECTION, "scenes")])
def test_gray_levels_are_normalized_as_the_bundled_weights_want_it(task: Task, dataset: str) -> None:
    config = task.load_config("mobilenetv3_dsn", dataset)
    wanted = sarhub.model_info("mobilenetv3_dsn").preprocessing
    assert (wanted.operator, wanted.eval_value) == ("log_amplitude", 16)
    assert config.model.data_preprocessor.mean == pytest.approx([255 * wanted.mean[0]] * 3)
    assert config.model.data_preprocessor.std == pytest.approx([255 * wanted.std[0]] * 3)


def test_trials_pair_every_network_from_none_and_from_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"")
    places = [f"resnet18={weights}"]
    trials = MOSAICS.trials(["mobilenetv3", "resnet18"], places, 2)
    assert [(sarhub.model_info(t.network).network, t.label, t.seed) for t in trials[:4]] == [
        ("mobilenetv3", "none", 0),
        ("mobilenetv3", "SAR", 0),
        ("resnet18", "none", 0),
        ("resnet18", "SAR", 0),
    ]
    assert [trial.initialization.init for trial in trials[:4]] == ["none", "mobilenetv3_dsn", "none", str(weights)]
    assert {trial.seed for trial in trials[4:]} == {1}
    assert len({trial.folder for trial in trials}) == 8
    with pytest.raises(OptionError, match="resnet50"):
        MOSAICS.trials(["resnet50"], places, 1)
    with pytest.raises(OptionError, match="NETWORK=RUN_DIR"):
        MOSAICS.trials(None, ["resnet18"], 1)
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        MOSAICS.trials(["resnet81"], places, 1)


def test_the_history_of_a_training_that_went_on(tmp_path: Path) -> None:
    for name, rows in {"1": [(1, 10.0), (2, 20.0)], "2": [(2, 25.0), (3, 30.0)]}.items():
        file = tmp_path / "train" / name / "vis_data" / "scalars.json"
        file.parent.mkdir(parents=True)
        lines = [{"loss": 1.0, "step": 5}, *({"mIoU": value, "step": step} for step, value in rows)]
        file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    found = history(tmp_path, "mIoU")
    assert found == {1: 10.0, 2: 25.0, 3: 30.0}
    trials = [Trial("segmentation", "mosaics", "mobilenetv3_dsn", seed=seed) for seed in (0, 1)]
    axes = curve_figure(dict.fromkeys(trials, found), "mIoU").axes[0]
    assert len(axes.lines) == 2
    assert len(axes.get_legend().get_texts()) == 1, "seeds share an entry"


@pytest.mark.slow
def test_the_composed_command_on_simulated_mosaics(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.composed", "segmentation", "--simulated", "--out", str(tmp_path)]
    command += [*["--train", "4", "--val", "1", "--test", "2", "--epochs", "1"]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "mosaics.md").read_text()
    assert "| mobilenetv3 | none |" in text
    assert "| mobilenetv3 | SAR |" in text
    assert "composed of simulated patches, 256 by 256 pixels: 4 to train on" in text
    assert "mobilenetv3 from SAR, seed 0: 0." in text
    for picture in ("mosaics.png", "figures/mobilenetv3.png"):
        with Image.open(tmp_path / picture) as image:
            assert image.width > 400
