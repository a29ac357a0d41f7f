"""Training of any network, with ``pip install 'sarhub-models[train]'``: recipe, data, loop, exact resume.

>>> from sarhub_models import engine
>>> recipe = engine.from_dict({"model": {"network": "resnet18"}, "data": {"name": "folder", "root": "chips"}})
>>> recipe.optim.batch_size
128

``engine.train(recipe, out)`` then trains, or goes on where it was stopped, and ``engine.load_run(out)`` gives the
trained network. The names are resolved on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recipe import Recipe, from_dict, list_recipes, load_recipe
    from .run import Run, is_finished, load_run, train
    from .trainer import Trainer

__all__ = ["Recipe", "Run", "Trainer", "from_dict", "is_finished", "list_recipes", "load_recipe", "load_run", "train"]

_HOME = {"Trainer": "trainer", **dict.fromkeys(("Run", "is_finished", "load_run", "train"), "run")}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME.get(name, 'recipe')}", __name__), name)
    globals()[name] = value
    return value
