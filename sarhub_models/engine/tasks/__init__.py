"""Tasks beyond classes of whole images, and which one a recipe asks for."""

from __future__ import annotations

from ..objective import Objective, SourcesObjective
from ..sections import Recipe
from ..sources import Sources, Split


def objective_of(recipe: Recipe, train: Split) -> type[Objective]:
    """Return the task of a recipe, which is trained on a split."""
    return SourcesObjective if isinstance(train, Sources) else Objective
