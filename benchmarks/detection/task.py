"""Detection as one of the tasks that :mod:`benchmarks.mm.task` runs."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.mm.task import Task
from sarhub_models.errors import DataError
from sarhub_models.io.figures import save_figure
from sarhub_models.io.images import read_image

from .figures import Boxes, box_figure

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["TASK", "clean_scores", "detections", "draw_detections", "place", "scores"]

_DETECTIONS = "detections"  # pycocotools' format: CocoMetric adds .bbox.json
_DRAWN = 8  # images of a run
_THRESHOLD = 0.3  # of the scores that are drawn
_NAMES = {
    "coco/bbox_mAP": "AP",
    "coco/bbox_mAP_50": "AP50",
    "coco/bbox_mAP_75": "AP75",
    "coco/bbox_mAP_s": "AP_small",
    "coco/bbox_mAP_m": "AP_medium",
    "coco/bbox_mAP_l": "AP_large",
}


def scores(found: Mapping[str, float]) -> dict[str, float]:
    """Return pycocotools' average precision, also by IoU threshold and by size of the object, in [0, 1].

    A size of which there is no object is left out. Where nothing was detected, MMDetection gives no scores: they are 0.
    """
    if "coco/bbox_mAP" not in found:
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    return {name: found[key] for key, name in _NAMES.items() if found[key] >= 0}


def clean_scores(folder: Path, data: Path, config: Config) -> dict[str, float]:
    """Return AP and AP50 of those test images that ``clean_test.json`` has, where the data's folder holds it.

    Args:
        folder: of the run.
        data: the data set's folder.
        config: of the run.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = data / config.test_dataloader.dataset.ann_file
    clean = truth.with_name(f"clean_{truth.name}")
    if not clean.is_file():
        return {}
    found = _read(folder)
    names = {image["file_name"] for image in json.loads(clean.read_text(encoding="utf-8"))["images"]}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        known = COCO(truth)
        ids = [number for number, image in known.imgs.items() if image["file_name"] in names]
        if not any(row["image_id"] in ids for row in found):
            return {"AP_clean": 0.0, "AP50_clean": 0.0}
        evaluation = COCOeval(known, known.loadRes(found), "bbox")
        evaluation.params.imgIds = ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"AP_clean": float(evaluation.stats[0]), "AP50_clean": float(evaluation.stats[1])}


def adapt(config: Config, model: str) -> None:
    """Let the neck take the maps of a model."""
    from sarhub_models.integrations.mm import backbone_channels

    config.model.neck.in_channels = backbone_channels(model)


def place(config: Config, data: Path) -> None:
    """Let the data loaders and the evaluation of a configuration read a folder.

    Raises:
        DataError: it has no annotations.
    """
    for split in ("train", "val", "test"):
        dataset = config[f"{split}_dataloader"].dataset
        dataset.data_root = str(data)
        file = data / dataset.ann_file
        if not file.is_file():
            raise DataError(
                f"no annotations {file}: prepare the data set with 'python -m benchmarks.detection.prepare'"
            )
        if split != "train":
            config[f"{split}_evaluator"].ann_file = str(file)


def test_arguments(folder: Path) -> tuple[str, ...]:
    """Let the test keep the detections, in the format of COCO's results."""
    return ("--cfg-options", f"test_evaluator.outfile_prefix={folder / _DETECTIONS}")


def detections(
    folders: Mapping[str, Path], data: Path, config: Config, count: int = _DRAWN, threshold: float = _THRESHOLD
) -> list[tuple[np.ndarray, list[Boxes]]]:
    """Return some images of the test split that hold ships, evenly spaced: image, then truth and detections by run.

    Args:
        folders: the runs, by label.
        data: the data set's folder.
        config: of a run.
        count: how many images.
        threshold: detections with a lower score are left out.
    """
    split = config.test_dataloader.dataset
    truth = json.loads((data / split.ann_file).read_text(encoding="utf-8"))
    boxes = _by_image(truth["annotations"])
    found = [_by_image(_read(folder)) for folder in folders.values()]
    images = [image for image in truth["images"] if image["id"] in boxes]
    picked = [images[index] for index in np.unique(np.linspace(0, len(images) - 1, count).astype(int))]
    return [
        (
            read_image(data / split.data_prefix.img / image["file_name"]),
            [_boxes(boxes[image["id"]]), *(_boxes(run.get(image["id"], []), threshold) for run in found)],
        )
        for image in picked
    ]


def _read(folder: Path) -> list[dict[str, Any]]:
    file = folder / f"{_DETECTIONS}.bbox.json"
    return json.loads(file.read_text(encoding="utf-8"))


def _by_image(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["image_id"]].append(row)
    return dict(found)


def _boxes(rows: list[dict[str, Any]], threshold: float | None = None) -> Boxes:
    rows = [row for row in rows if threshold is None or row["score"] >= threshold]
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    return Boxes(boxes, None if threshold is None else np.array([row["score"] for row in rows]))


def draw_detections(folders: Mapping[str, Path], data: Path, config: Config, file: Path) -> None:
    """Draw some images of the test split with the truth and what runs detect.

    Args:
        folders: the runs, by label.
        data: the data set's folder.
        config: of a run.
        file: the picture.
    """
    save_figure(box_figure(detections(folders, data, config), ["truth", *folders]), file)


CONFIGS = Path(__file__).parent / "configs"
TASK = Task("detection", "mmdet", CONFIGS, adapt, scores, place, test_arguments, draw_detections, clean_scores)
