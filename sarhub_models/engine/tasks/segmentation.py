"""Segmentation: a class for each pixel, its loss and its scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from ...datasets.segmentation.base import NO_LABEL
from ...errors import MissingDependencyError
from ...transforms import Geometry, Pipeline
from ..augment import Numbers
from ..batches import Batch, Rank
from ..sections import Recipe
from ..sources import Split
from .dense import DenseObjective


class SegmentationObjective(DenseObjective):
    """The recipe's loss over the pixels that have a class, and the Dice loss of the classes.

    Milletari, Navab, Ahmadi: V-Net. 3DV 2016. Arguments as of :class:`.Objective`.
    """

    detail_label: ClassVar[str] = "IoU"
    heads = ("decoder.", "segmentation_head.")

    def __init__(self, recipe: Recipe, train: Split, mean: Numbers, std: Numbers, process: Rank) -> None:
        super().__init__(recipe, train, mean, std, process)
        try:
            from segmentation_models_pytorch.losses import DiceLoss
        except ImportError as err:
            raise MissingDependencyError(
                "masks need segmentation_models_pytorch: pip install 'sarhub-models[segmentation]'"
            ) from err
        self.dice = DiceLoss("multiclass", ignore_index=NO_LABEL)
        self.geometry = Geometry(recipe.augment.geometry).train()

    @classmethod
    def score_names(cls, train: Split) -> tuple[str, list[str]]:
        """Return the score by which the best epoch is chosen by default, and all scores."""
        return "mean_iou", list(mask_scores(torch.eye(2)))

    def forward(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Return the loss of a mini-batch; see :meth:`.Objective.forward`."""
        images, moves = self.prepared(batch, step)
        masks = self.geometry(batch.labels[:, None], numbers=moves)[:, 0].long()
        logits = model(images).float()
        known = masks != NO_LABEL
        if not known.any():
            return logits.sum() * 0
        value: Tensor = self.loss(logits.movedim(1, -1)[known], masks[known]) + self.dice(logits, masks)
        return value

    @torch.inference_mode()
    def score(
        self, network: nn.Module, loader: Iterable[Any], transform: Pipeline, device: torch.device
    ) -> tuple[dict[str, float], Tensor]:
        """Return the scores over the pixels of all windows, and the confusion matrix, int64 (C, C)."""
        network.eval()
        confusion = MulticlassConfusionMatrix(self.classes, ignore_index=NO_LABEL).to(device)
        for batch in loader:
            if batch.names:
                batch = batch.to(device)
                confusion.update(network(transform(batch.images)).argmax(dim=1), batch.labels.long())
        counts = confusion.compute().cpu()
        return mask_scores(counts), counts


def class_iou(confusion: Tensor) -> Tensor:
    """Return the intersection over union of each class, float64 (C,), NaN of a class that is nowhere.

    Args:
        confusion: pixels (C, C), rows true and columns predicted.
    """
    counts = confusion.double()
    hit = counts.diag()
    return hit / (counts.sum(dim=0) + counts.sum(dim=1) - hit)


def mask_scores(confusion: Tensor) -> dict[str, float]:
    """Return mean IoU, mean accuracy (over the classes that there are) and the share of pixels that are right."""
    counts = confusion.double()
    return {
        "mean_iou": class_iou(confusion).nanmean().item(),
        "mean_accuracy": (counts.diag() / counts.sum(dim=1)).nanmean().item(),
        "pixel_accuracy": (counts.diag().sum() / counts.sum()).item(),
    }
