"""Tasks beyond classes of whole images, and which one a recipe asks for."""

from __future__ import annotations

from ...zoo.tasks import DECODERS
from ..objective import Objective, SourcesObjective
from ..sections import Recipe
from ..sources import Sources, Split
from .segmentation import SegmentationObjective


def objective_of(recipe: Recipe, train: Split) -> type[Objective]:
    """Return the task of a recipe, which is trained on a split."""
    if isinstance(train, Sources):
        return SourcesObjective
    decoder = recipe.model.decoder
    return {None: Objective, "segmentation": SegmentationObjective}[decoder and DECODERS[decoder]]
