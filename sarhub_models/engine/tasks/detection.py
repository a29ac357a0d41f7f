"""Detection: boxes of objects, the detector's own loss, and the average precision of COCO."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import MissingDependencyError
from ...transforms import GEOMETRIES, Pipeline
from ..batches import Batch
from ..sources import Split
from .dense import DenseObjective

SCORES = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""Scores by name: the mean of IoU from 0.5 to 0.95, at 0.5, and at 0.75; with their places among the thresholds."""

_MOST = [1, 10, 100_000]  # detections an image; COCO's 100 are too few for a whole image, whose windows are joined


class DetectionObjective(DenseObjective):
    """The losses of the detector, summed; arguments as of :class:`.Objective`."""

    detail_label: ClassVar[str] = "average precision"
    heads = ("backbone.fpn.", "head.")

    @classmethod
    def score_names(cls, train: Split) -> tuple[str, list[str]]:
        """Return the score by which the best epoch is chosen by default, and all scores."""
        return "ap", list(SCORES)

    def forward(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Return the loss of a mini-batch; see :meth:`.Objective.forward`."""
        images, moves = self.prepared(batch, step)
        moved = move_boxes(batch.labels, moves, side=images.shape[-1], kind=self.recipe.augment.geometry)
        losses = model(list(images), as_targets(moved))
        value: Tensor = sum(losses.values())
        return value

    @torch.inference_mode()
    def score(
        self, network: nn.Module, loader: Iterable[Any], transform: Pipeline, device: torch.device
    ) -> tuple[dict[str, float], Tensor]:
        """Return the scores over the boxes of all windows, and the average precision of each class, (C,)."""
        network.eval()
        metric = average_precision()
        for batch in loader:
            if batch.names:
                batch = batch.to(device)
                found = network(list(transform(batch.images)))
                metric.update(_on_cpu(found), _on_cpu(as_targets(batch.labels)))
        return box_scores(metric, self.classes)


def as_targets(labels: Tensor) -> list[dict[str, Tensor]]:
    """Return labels (B, M, 5) of windows as torchvision's detectors take them."""
    kept = [rows[rows[:, 4] >= 0] for rows in labels]
    return [{"boxes": rows[:, :4], "labels": rows[:, 4].long()} for rows in kept]


def move_boxes(labels: Tensor, numbers: Tensor, *, side: int, kind: str) -> Tensor:
    """Return boxes (B, M, 5) moved as :class:`~sarhub_models.transforms.Geometry` moves their images.

    Args:
        labels: x1, y1, x2, y2 in pixels, and the class.
        numbers: that the images were moved by, (3, B).
        side: of the images.
        kind: of geometry, ``"none"``, ``"flip"`` or ``"dihedral"``.
    """
    moved = labels.clone()
    flags = (numbers.to(labels.device) < 0.5)[:, :, None]
    x1, y1, x2, y2 = moved[..., :4].unbind(dim=-1)
    if GEOMETRIES[kind]:
        x1, x2 = torch.where(flags[0], side - x2, x1), torch.where(flags[0], side - x1, x2)
        y1, y2 = torch.where(flags[1], side - y2, y1), torch.where(flags[1], side - y1, y2)
    if kind == "dihedral":
        x1, y1 = torch.where(flags[2], y1, x1), torch.where(flags[2], x1, y1)
        x2, y2 = torch.where(flags[2], y2, x2), torch.where(flags[2], x2, y2)
    moved[..., :4] = torch.stack([x1, y1, x2, y2], dim=-1)
    return moved


def average_precision() -> Any:
    """Return torchmetrics' metric of COCO, without boxes yet; all detections of an image count, not the best 100.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    try:
        import pycocotools  # noqa: F401
        from torchmetrics.detection import MeanAveragePrecision
    except ImportError as err:
        raise MissingDependencyError(
            "the scores of boxes need pycocotools: pip install 'sarhub-models[detection]'"
        ) from err
    metric = MeanAveragePrecision(extended_summary=True, max_detection_thresholds=_MOST)
    metric.warn_on_many_detections = False
    return metric


def box_scores(metric: Any, classes: int) -> tuple[dict[str, float], Tensor]:
    """Return the scores of :data:`SCORES`, and the average precision of each class, (C,), NaN of one without boxes."""
    values = metric.compute()
    detail = torch.full((classes,), float("nan"))
    found = values["precision"][..., 0, -1]  # IoU, recall, class; of all sizes, with all detections
    for place, index in enumerate(values["classes"].reshape(-1).tolist()):
        if 0 <= index < classes:
            detail[index] = _mean(found[:, :, place])
    return {name: _mean(found[places]).nan_to_num(0.0).item() for name, places in SCORES.items()}, detail


def _mean(precision: Tensor) -> Tensor:
    """Return the mean without the entries of classes that have no box, which are -1; NaN without others."""
    return precision[precision > -1].double().mean().float()


def _on_cpu(rows: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [
        {name: values.float().cpu() if name != "labels" else values.cpu() for name, values in row.items()}
        for row in rows
    ]
