"""The recipes of this clone, YAML over the defaults of :mod:`sarhub_models.engine.recipe`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sarhub_models import engine

RECIPES = Path(__file__).parent


def load_recipe(name: str, assignments: Sequence[str] = (), *, finetune: bool = False) -> engine.Recipe:
    """Return a recipe of this folder, or of a YAML file; see :func:`sarhub_models.engine.load_recipe`."""
    return engine.load_recipe(name, assignments, folder=RECIPES, finetune=finetune)
