"""Intersection over union of every class, which MMSegmentation's metric prints, but does not return."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

__all__ = ["ClassIoUMetric"]


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """:class:`mmseg.evaluation.IoUMetric` that also returns ``IoU.<class>`` of each class, in percent.

    A class that neither occurs nor is predicted has none.
    """

    def compute_metrics(self, results: Sequence[tuple[torch.Tensor, ...]]) -> dict[str, float]:
        """Return the scores of all images.

        Args:
            results: of each image the pixels of intersection, union, prediction and truth, each (classes,).
        """
        scores = dict(super().compute_metrics(results))
        if results and not self.format_only:
            intersections, unions = (torch.stack([image[index] for image in results]).sum(0) for index in (0, 1))
            for name, common, union in zip(self.dataset_meta["classes"], intersections, unions, strict=True):
                if union > 0:
                    scores[f"IoU.{name}"] = 100 * float(common / union)
        return scores
