"""Tasks beyond classes of whole images, and which one a recipe asks for."""

from __future__ import annotations

from ...zoo.tasks import DECODERS
from ..objective import Objective, SourcesObjective
from ..sections import Recipe
from ..sources import Sources, Split
from .detection import DetectionObjective
from .segmentation import SegmentationObjective

_TASKS: dict[str | None, type[Objective]] = {
    None: Objective,
    "segmentation": SegmentationObjective,
    "detection": DetectionObjective,
}


def objective_of(recipe: Recipe, train: Split) -> type[Objective]:
    """Return the task of a recipe, which is trained on a split."""
    if isinstance(train, Sources):
        return SourcesObjective
    decoder = recipe.model.decoder
    return _TASKS[decoder and DECODERS[decoder]]
