import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sarhub_models as sarhub

pytest.importorskip("mmcv", reason="the MM stack is not installed: make test-mm sets it up", exc_type=ImportError)
pytest.importorskip("mmdet")

from mmdet.registry import DATASETS as DATASETS_OF_MMDET
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from typer.testing import CliRunner

from benchmarks.detection.prepare import app, prepare
from benchmarks.detection.task import TASK, clean_scores, place, scores
from benchmarks.experiments.initializations import Initialization
from benchmarks.experiments.trial import Trial
from benchmarks.mm.run import set_weights
from benchmarks.mm.task import weights_of
from sarhub_models.engine import initialization
from sarhub_models.errors import DataError, UnknownNameError
from sarhub_models.integrations.mm import SARHubBackbone, SARHubPreprocess, backbone_channels

NETWORKS = ["resnet18", "resnet50", "resnet101", "senet50", "mobilenetv3", "densenet121", "swin_t", "swin_b"]
DATASETS = ["ssdd", "hrsid", "ls_ssdd"]
SIDE = 96


def sea(rng):
    """A speckled image with up to one bright ship, and its box x1, y1, x2, y2."""
    pixels = rng.rayleigh(20, (SIDE, SIDE))
    x, y, width, height = (int(v) for v in rng.integers(10, 40, 4))
    pixels[y : y + height, x : x + width] += 150
    return pixels.clip(0, 255).astype(np.uint8), [x, y, x + width, y + height]


def write_ssdd(folder: Path, train=(2, 3, 4, 5), test=(1, 9)) -> Path:
    """Write a small SSDD as its release lies on disk: numbered JPEG files and COCO files with the category 0."""
    rng = np.random.default_rng(0)
    (folder / "JPEGImages").mkdir(parents=True)
    for split, numbers in (("train", train), ("test", test)):
        images, annotations = [], []
        for number in numbers:
            pixels, (left, top, right, bottom) = sea(rng)
            Image.fromarray(pixels).convert("RGB").save(folder / "JPEGImages" / f"{number:06}.jpg")
            images.append({"id": number, "file_name": f"{number:06}.jpg", "width": SIDE, "height": SIDE})
            if number != 2:  # which is empty sea
                box = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
                annotations.append({"id": number, "image_id": number, "category_id": 0, "iscrowd": 0, **box})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "ship"}]}
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def write_hrsid(folder: Path) -> Path:
    """Write a small HRSID as its release lies on disk: ``JPEGImages``, COCO files with outlines, category 1."""
    rng = np.random.default_rng(2)
    for name in ("JPEGImages", "annotations"):
        (folder / name).mkdir(parents=True)
    for split, count in (("train", 4), ("test", 2)):
        images, annotations = [], []
        for index in range(count):
            pixels, (left, top, right, bottom) = sea(rng)
            name = f"P{count:04}_{600 * index}_{600 * index + 800}_8400_9200.jpg"
            Image.fromarray(pixels).convert("RGB").save(folder / "JPEGImages" / name)
            images.append({"file_name": name, "id": index, "width": SIDE, "height": SIDE})
            box = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
            outline = {"segmentation": [[left, top, right, top, right, bottom, left, bottom]], "iscrowd": 0}
            annotations.append({"id": index + 1, "image_id": index, "category_id": 1, **outline, **box})
        ship = {"id": 1, "name": "ship", "supercategory": "ship"}
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": [ship]}
        (folder / "annotations" / f"{split}2017.json").write_text(json.dumps(content))
    return folder


def write_ls_ssdd(folder: Path) -> Path:
    """Write a small LS-SSDD-v1.0 as its release lies on disk: sub-images, a VOC file for each, and the scenes."""
    rng = np.random.default_rng(3)
    for name in ("JPEGImages", "JPEGImages_sub", "Annotations_sub"):
        (folder / name).mkdir(parents=True)
    for name in ("01_1_1", "01_20_30", "10_3_4", "02_5_6", "11_1_1", "15_20_30"):
        pixels, (left, top, right, bottom) = sea(rng)
        Image.fromarray(pixels).save(folder / "JPEGImages_sub" / f"{name}.jpg")
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name[:2]}.jpg")
        corners = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        flags = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        ship = f"<object><name>ship</name>{flags}<bndbox>{corners}</bndbox></object>"
        size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>1</depth></size>"
        text = f"<annotation><folder>JPEGImages_sub</folder><filename>{name}.jpg</filename>{size}"
        (folder / "Annotations_sub" / f"{name}.xml").write_text(
            f"{text}{'' if name == '02_5_6' else ship}</annotation>"
        )
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    counts = prepare("ssdd", write_ssdd(folder / "SSDD"), folder / "prepared")
    assert (counts["train"], counts["test"]) == ((4, 3), (2, 2))
    return folder / "prepared"


def small(config: Config) -> Config:
    """Two steps on small images, without worker processes."""
    for split in ("train", "val", "test"):
        loader = config[f"{split}_dataloader"]
        loader.num_workers, loader.persistent_workers = 0, False
        for step in loader.dataset.pipeline:
            if step.type == "Resize" and "scale" in step:
                step.scale = (SIDE, SIDE)
    config.train_dataloader.batch_size = 2
    config.train_cfg = {"type": "EpochBasedTrainLoop", "max_epochs": 1, "val_interval": 1}
    config.model.test_cfg.score_thr = 0.0
    return config


@pytest.mark.parametrize("network", NETWORKS)
def test_the_neck_takes_the_channels_that_the_backbone_has(network):
    for dataset in DATASETS:
        config = TASK.load_config(f"{network}_tsx", dataset)
        assert config.model.backbone.name == f"{network}_tsx"
        assert config.model.neck.in_channels == backbone_channels(f"{network}_tsx")
        for split in ("train", "val", "test"):
            steps = [s for s in config[f"{split}_dataloader"].dataset.pipeline if s.type == "SARHubPreprocess"]
            assert [step.name for step in steps] == [f"{network}_tsx"]


@pytest.mark.slow
def test_a_printed_configuration_is_one_for_the_own_tools(data, tmp_path):
    command = [sys.executable, "-m", "benchmarks.detection", "config", "resnet18_tsx", "ssdd", "--data", str(data)]
    done = subprocess.run(
        [*command, "--cfg-options", "train_cfg.max_epochs=7"], capture_output=True, text=True, check=True
    )
    (tmp_path / "config.py").write_text(done.stdout)
    config = Config.fromfile(tmp_path / "config.py")
    assert config.train_cfg.max_epochs == 7 and config.model.backbone.name == "resnet18_tsx"
    assert config.test_evaluator.ann_file == str(data / "annotations" / "test.json")
    with pytest.raises(UnknownNameError, match="did you mean 'ssdd'"):
        TASK.load_config("resnet18_tsx", "sssd")


def test_the_constants_of_the_method():
    config = TASK.load_config("resnet50_ben", "ssdd")
    model = config.model
    assert model.bbox_head.strides == (8, 16, 32, 64, 128)
    assert (model.neck.start_level, model.neck.num_outs, model.neck.out_channels) == (1, 5, 256)
    optimizer = dict(config.optim_wrapper.optimizer)
    assert optimizer == {"type": "SGD", "lr": 0.005, "momentum": 0.9, "weight_decay": 1e-3}
    assert config.param_scheduler[1].milestones == [24, 33] and config.train_cfg.max_epochs == 36
    assert config.train_dataloader.batch_size == 4
    assert (model.test_cfg.score_thr, model.test_cfg.nms.iou_threshold, model.test_cfg.max_per_img) == (0.05, 0.6, 100)
    head = model.bbox_head
    assert (head.num_classes, head.stacked_convs) == (1, 4)
    assert (head.loss_cls.type, head.loss_cls.gamma, head.loss_cls.alpha) == ("FocalLoss", 2.0, 0.25)
    assert head.loss_bbox.type == "GIoULoss"
    assert (head.loss_centerness.type, head.loss_centerness.use_sigmoid) == ("CrossEntropyLoss", True)
    assert head.norm_on_bbox and head.centerness_on_reg and head.center_sampling and head.conv_bias
    assert config.optim_wrapper.clip_grad.max_norm == 35
    assert config.optim_wrapper.paramwise_cfg == {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0}
    warm_up = config.param_scheduler[0]
    assert (warm_up.type, warm_up.start_factor, warm_up.end, warm_up.by_epoch) == ("LinearLR", 1 / 3, 500, False)
    assert config.param_scheduler[1].gamma == 0.1
    backbone = model.backbone
    assert (backbone.frozen_stages, backbone.norm_eval, backbone.norm_requires_grad) == (1, True, False)


@pytest.mark.parametrize("dataset", DATASETS)
def test_images_of_800_by_800_pixels_keep_their_size(dataset):
    config = TASK.load_config("resnet50_ben", dataset)
    for split in ("train", "val", "test"):
        steps = {step.type: step for step in config[f"{split}_dataloader"].dataset.pipeline}
        assert (steps["Resize"].scale, steps["Resize"].keep_ratio) == ((1333, 800), True)


@pytest.mark.parametrize("dataset", ["ssdd", "scenes"])
def test_a_checkpoint_is_there_while_the_next_is_written(dataset):
    assert TASK.load_config("resnet18_ben", dataset).default_hooks.checkpoint.max_keep_ckpts == 2


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_trained_some_steps_and_evaluated(network, data, tmp_path):
    config = small(TASK.load_config(f"{network}_tsx", "ssdd"))
    set_weights(config, "none", tmp_path)
    place(config, data)
    config.work_dir = str(tmp_path / "work")
    config.experiment_name = config.visualizer.name = network  # MMEngine keeps what it made under a name
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    assert isinstance(runner.model.backbone, SARHubBackbone)
    runner.train()
    moved = {name for name, p in runner.model.named_parameters() if not torch.equal(before[name], p)}
    assert any(name.startswith("backbone.") for name in moved) and any(name.startswith("bbox_head.") for name in moved)
    assert all(p.isfinite().all() for p in runner.model.parameters())
    found = scores(runner.val_loop.run())
    assert 0 <= found["AP"] <= found["AP50"] <= 1
    DefaultScope._instance_dict.clear()


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "write"), [("hrsid", write_hrsid), ("ls_ssdd", write_ls_ssdd)])
def test_the_other_data_sets_are_prepared_and_trained_on(dataset, write, tmp_path):
    ships = {"hrsid": 4, "ls_ssdd": 3}[dataset]
    assert prepare(dataset, write(tmp_path / "raw"), tmp_path / "data") == {"train": (4, ships), "test": (2, 2)}
    config = small(TASK.load_config("mobilenetv3_tsx", dataset))
    set_weights(config, "none", tmp_path)
    place(config, tmp_path / "data")
    config.work_dir = str(tmp_path / "work")
    config.experiment_name = config.visualizer.name = dataset
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    moved = {name.partition(".")[0] for name, p in runner.model.named_parameters() if not torch.equal(before[name], p)}
    assert {"backbone", "bbox_head"} <= moved
    assert all(p.isfinite().all() for p in runner.model.parameters())
    found = scores(runner.val_loop.run())
    assert 0 <= found["AP"] <= found["AP50"] <= 1
    DefaultScope._instance_dict.clear()


@pytest.mark.slow
def test_one_command_a_trial_by_the_tools_of_mmdetection(data, tmp_path):
    command = [sys.executable, "-m", "benchmarks.detection", "train", "mobilenetv3_dsn", "ssdd"]
    options = [
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=5",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "test_dataloader.num_workers=0",
        "test_dataloader.persistent_workers=False",
        "train_dataloader.dataset.pipeline.3.scale=(96,96)",
        "test_dataloader.dataset.pipeline.2.scale=(96,96)",
        "model.test_cfg.score_thr=0.0",
    ]
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--out", str(out), "--threads", "1"]
    for option in options:
        arguments += ["--cfg-options", option]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = out / "trials" / "ssdd" / "mobilenetv3_dsn" / "mobilenetv3_dsn-100-0"
    steps = Config.fromfile(run / "config.py").train_dataloader.dataset.pipeline
    assert steps[2].type == "SARHubPreprocess" and steps[2].name == "mobilenetv3_dsn"
    assert json.loads((run / "detections.bbox.json").read_text())
    assert Image.open(run / "predictions.png").width > 300
    table = (out / "results.csv").read_text().splitlines()
    assert any(line.startswith("detection,ssdd,mobilenetv3 (dsn),mobilenetv3_dsn,1.0,0,AP50,") for line in table)


def test_scores_are_those_of_pycocotools():
    found = {f"coco/bbox_mAP{suffix}": value for suffix, value in zip(("", "_50", "_75"), (0.4, 0.8, 0.3), strict=True)}
    found |= {"coco/bbox_mAP_s": 0.2, "coco/bbox_mAP_m": 0.5, "coco/bbox_mAP_l": -1.0}
    assert scores(found) == {"AP": 0.4, "AP50": 0.8, "AP75": 0.3, "AP_small": 0.2, "AP_medium": 0.5}
    assert scores({"time": 1.0})["AP"] == 0.0


def test_scores_of_images_that_share_no_pixel_with_training_stand_beside(tmp_path):
    """Of three test images, each with a ship, one is clean; the ship of another one is found."""
    (tmp_path / "annotations").mkdir()
    config = TASK.load_config("resnet18_tsx", "ssdd_small")
    for split, names in (("test", ("a", "b", "c")), ("clean_test", ("c",))):
        images = [{"id": i, "file_name": f"{name}.jpg", "width": 90, "height": 90} for i, name in enumerate(names)]
        box = {"category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
        truth = [{"id": i + 1, "image_id": i, **box} for i in range(len(names))]
        content = {"images": images, "annotations": truth, "categories": [{"id": 1, "name": "ship"}]}
        (tmp_path / "annotations" / f"{split}.json").write_text(json.dumps(content))

    def clean(*images: int) -> dict[str, float]:
        found = [{"image_id": i, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9} for i in images]
        (tmp_path / "detections.bbox.json").write_text(json.dumps(found))
        return clean_scores(tmp_path, tmp_path, config)

    assert clean(2) == pytest.approx({"AP_clean": 1, "AP50_clean": 1})
    assert clean(0, 1) == clean() == {"AP_clean": 0, "AP50_clean": 0}
    (tmp_path / "annotations" / "clean_test.json").unlink()
    assert clean(2) == {}


def test_splits_that_share_no_pixels_are_prepared_and_read(tmp_path):
    counts = prepare("ssdd", write_ssdd(tmp_path / "SSDD", (2, 6), (1, 119)), tmp_path / "data")
    expected = {"train": 2, "test": 2, "clean_test": 1, "group_train": 2, "group_test": 2}
    assert {split: images for split, (images, _) in counts.items()} == expected
    splits = {"ssdd_small": "test", "ssdd_small_groups": "group_test"}
    for dataset, split in {**splits, "ssdd_whole": "test", "ssdd_whole_groups": "group_test"}.items():
        config = TASK.load_config("mobilenetv3_tsx", dataset)
        place(config, tmp_path / "data")
        assert config.test_evaluator.ann_file == str(tmp_path / "data" / "annotations" / f"{split}.json")
        assert config.test_dataloader.dataset.ann_file == f"annotations/{split}.json"
        assert config.train_dataloader.dataset.ann_file == f"annotations/{split.replace('test', 'train')}.json"


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["ssdd_small", "ssdd_whole"])
def test_the_small_detectors_start_with_boxes_that_can_grow(data, tmp_path, dataset):
    """Distances that are negative before the rectifier would get no gradient."""
    config = small(TASK.load_config("mobilenetv3_tsx", dataset))
    set_weights(config, "none", tmp_path)
    place(config, data)
    config.work_dir = str(tmp_path / "work")
    config.experiment_name = config.visualizer.name = dataset
    import_module("benchmarks.mm.autocast")  # as the configuration has the tools do
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    runner.model.init_weights()
    assert runner.model.bbox_head.conv_reg.bias.tolist() == [1.0] * 4
    runner.train()
    found = scores(runner.val_loop.run())
    assert 0 <= found["AP"] <= found["AP50"] <= 1
    DefaultScope._instance_dict.clear()


def test_preparing_again_is_harmless_and_another_source_is_refused(data, tmp_path):
    root = (data / "images").resolve()
    assert prepare("ssdd", root, data)["test"] == (2, 2)
    with pytest.raises(DataError, match="no link"):
        prepare("ssdd", write_ssdd(tmp_path / "SSDD"), data)
    with pytest.raises(UnknownNameError, match="ls_ssdd"):
        prepare("ls-ssdd", root, tmp_path)


def test_annotations_of_ones_own_take_the_place_of_those_of_the_release(tmp_path):
    """Files of the authors of SAR-HUB, for one, whose ids are text."""
    root, own = write_ssdd(tmp_path / "SSDD"), tmp_path / "own"
    own.mkdir()
    for split, name in (("train", "000001.jpg"), ("test", "000002.jpg")):
        images = [{"id": "7", "file_name": name, "width": SIDE, "height": SIDE}]
        box = {"id": "0", "image_id": "7", "category_id": "1", "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
        content = {"images": images, "annotations": [box], "categories": [{"id": "1", "name": "ship"}]}
        (own / f"{split}.json").write_text(json.dumps(content))
    arguments = ["ssdd", str(root), "--out", str(tmp_path / "out"), "--annotations", str(own)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[:2] == ["train: 1 images, 1 ships", "test: 1 images, 1 ships"]
    written = json.loads((tmp_path / "out" / "annotations" / "train.json").read_text())
    assert [image["file_name"] for image in written["images"]] == ["JPEGImages/000001.jpg"]
    with pytest.raises(DataError, match=r"expected the folder of train\.json and test\.json"):
        prepare("ssdd", root, tmp_path / "out", own / "train.json")


@pytest.mark.slow
def test_ls_ssdd_from_voc_files(tmp_path):
    """Sub-images of scene 1 are for training and those of scene 15 for the test."""
    (tmp_path / "raw").mkdir()
    for name in ("01_3_4", "15_20_30"):
        pixels, (left, top, right, bottom) = sea(np.random.default_rng(1))
        Image.fromarray(pixels).save(tmp_path / "raw" / f"{name}.jpg")
        box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>1</depth></size>"
        ship = f"<object><name>ship</name><bndbox>{box}</bndbox></object>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}{ship}</annotation>"
        (tmp_path / "raw" / f"{name}.xml").write_text(text)
    assert prepare("ls_ssdd", tmp_path / "raw", tmp_path / "out") == {"train": (1, 1), "test": (1, 1)}
    config = TASK.load_config("resnet18_ben", "ls_ssdd")
    place(config, tmp_path / "out")
    register_all_modules()
    sample = DATASETS_OF_MMDET.build(config.test_dataloader.dataset)[0]
    assert sample["inputs"].shape == (3, 800, 800) and sample["inputs"].dtype == torch.float32
    assert sample["data_samples"].ori_shape == (SIDE, SIDE)


def test_a_folder_that_was_not_prepared_is_named(tmp_path):
    with pytest.raises(DataError, match=r"train\.json: prepare"):
        place(TASK.load_config("resnet18_ben", "hrsid"), tmp_path)


def test_without_weights_nothing_is_frozen(tmp_path):
    own, none = (TASK.load_config("resnet18_osu", "ssdd") for _ in range(2))
    set_weights(own, "own", tmp_path)
    set_weights(none, "none", tmp_path)
    assert (own.model.backbone.pretrained, own.model.backbone.frozen_stages) == (True, 1)
    none.model.backbone.pop("type")
    backbone = SARHubBackbone(**none.model.backbone).train()
    assert all(p.requires_grad for p in backbone.parameters())
    assert all(module.training for module in backbone.modules())


def backbone_of(network, init, folder):
    """The tensors of the backbone that a configuration with these weights builds, by the network's own names."""
    config, file = TASK.load_config(f"{network}_tsx", "ssdd"), folder / "init.safetensors"
    folder.mkdir(exist_ok=True)
    file.write_bytes(weights_of(Trial("detection", "ssdd", f"{network}_tsx", Initialization("SAR", str(init)))))
    set_weights(config, str(init), file)
    config.model.backbone.pop("type")
    tensors = SARHubBackbone(**config.model.backbone).network.state_dict()
    return {key.removeprefix("model.").replace("layers_", "layers."): tensor for key, tensor in tensors.items()}


def distinct(model):
    """The state of a network in which no two tensors are alike, its statistics neither."""
    torch.manual_seed(1)
    return {k: torch.rand_like(t) if t.is_floating_point() else t for k, t in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mobilenetv3", "senet50", "swin_t"])
def test_a_checkpoint_with_another_head_is_loaded_to_the_bit(network, tmp_path):
    state = distinct(sarhub.create_model(f"{network}_tsx", num_classes=7))
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, file)
    found = backbone_of(network, file, tmp_path / "run")
    assert len(found) > 100 and found.keys() <= state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in found.items())


@pytest.mark.slow
def test_imagenet_weights_are_those_that_training_starts_from(monkeypatch, tmp_path):
    state = distinct(sarhub.create_model("resnet18_tsx", num_classes=1000))
    asked = []

    def imagenet(network):
        asked.append(network)
        return state

    monkeypatch.setitem(initialization.INITIALIZATIONS, "imagenet", imagenet)  # which would download them
    found = backbone_of("resnet18", "imagenet", tmp_path)
    assert asked == ["resnet18"] and "conv1.weight" in found
    assert all(torch.equal(tensor, state[key]) for key, tensor in found.items())


def test_images_are_prepared_before_they_are_resized(data):
    config = TASK.load_config("resnet50_ben", "ssdd")
    for split in ("train", "test"):
        kinds = [step.type for step in config[f"{split}_dataloader"].dataset.pipeline]
        assert kinds.index("LoadImageFromFile") < kinds.index("SARHubPreprocess") < kinds.index("Resize")
    picture = np.asarray(Image.open(data / "images" / "JPEGImages" / "000001.jpg").convert("L"))
    prepared = SARHubPreprocess("resnet50_ben")({"img": picture})["img"]
    expected = sarhub.create_transform("resnet50_ben").without("resize")
    assert np.allclose(prepared[..., 0], expected(picture / np.float32(255))[0], rtol=1e-5)
    assert TASK.package == "mmdet"
