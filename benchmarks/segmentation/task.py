"""Segmentation as one of the tasks that :mod:`benchmarks.mm.task` runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.mm.prepared import CLASSES_FILE
from benchmarks.mm.task import Task
from sarhub_models.errors import DataError
from sarhub_models.io.figures import save_figure
from sarhub_models.io.images import list_images, read_image

from .figures import mask_figure

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["TASK", "draw_predictions", "place", "scores"]

_PREDICTIONS = "predictions"
_DRAWN = 8  # images of a run


def scores(found: Mapping[str, float]) -> dict[str, float]:
    """Return mIoU, overall accuracy and the IoU of every class, in [0, 1], from MMSegmentation's scores in percent."""
    values = {"mIoU": found["mIoU"], "overall_accuracy": found["aAcc"]}
    values.update((key.replace(".", " "), value) for key, value in found.items() if key.startswith("IoU."))
    return {key: value / 100 for key, value in values.items()}


def adapt(config: Config, model: str) -> None:
    """Let the heads take the maps of a model; the windows of Swin cannot be dilated."""
    from sarhub_models.integrations.mm import backbone_channels

    channels = backbone_channels(model)
    config.model.decode_head.in_channels = channels[3]
    if config.model.get("auxiliary_head"):
        config.model.auxiliary_head.in_channels = channels[2]
    if model.startswith("swin"):
        config.model.backbone.output_stride = 32


def place(config: Config, data: Path) -> None:
    """Let the data loaders of a configuration read a folder, and the heads tell its classes apart.

    Raises:
        DataError: the folder has no list of classes, or more of them than the configuration has colors.
    """
    file = data / CLASSES_FILE
    if not file.is_file():
        raise DataError(f"no {file}; expected a folder that benchmarks.segmentation.prepare wrote")
    classes = file.read_text(encoding="utf-8").split()
    loaders = [f"{split}_dataloader" for split in ("train", "val", "test")]
    for loader in filter(config.get, loaders):
        dataset = config[loader].dataset
        if len(classes) > len(dataset.metainfo.palette):
            raise DataError(f"{file} has {len(classes)} classes, the configuration {len(dataset.metainfo.palette)}")
        dataset.data_root = str(data)
        dataset.metainfo = {"classes": tuple(classes), "palette": dataset.metainfo.palette[: len(classes)]}
    for head in ("decode_head", "auxiliary_head"):
        if config.model.get(head):
            config.model[head].num_classes = len(classes)


def test_arguments(folder: Path) -> tuple[str, ...]:
    """Let the test keep the predicted masks."""
    return ("--out", str(folder / _PREDICTIONS))


def predictions(folders: Mapping[str, Path], data: Path, count: int = _DRAWN) -> list[list[np.ndarray]]:
    """Return some images of the test split, evenly spaced, with their masks: image, truth, prediction of each run.

    Args:
        folders: the runs, by label.
        data: the data set's folder.
        count: how many images.
    """
    files = list_images(data / "img_dir" / "test")
    picked = [files[index] for index in np.unique(np.linspace(0, len(files) - 1, count).astype(int))]
    return [
        [read_image(file), read_image(data / "ann_dir" / "test" / f"{file.stem}.png")]
        + [read_image(folder / _PREDICTIONS / f"{file.stem}.png") for folder in folders.values()]
        for file in picked
    ]


def draw_predictions(folders: Mapping[str, Path], data: Path, config: Config, file: Path) -> None:
    """Draw some images of the test split with the truth and what runs predict.

    Args:
        folders: the runs, by label.
        data: the data set's folder.
        config: of a run, for the classes and their colors.
        file: the picture.
    """
    info = config.test_dataloader.dataset.metainfo
    titles = ["image", "truth", *folders]
    save_figure(mask_figure(predictions(folders, data), titles, info.classes, info.palette), file)


CONFIGS = Path(__file__).parent / "configs"
TASK = Task("segmentation", "mmseg", CONFIGS, adapt, scores, place, test_arguments, draw_predictions)
