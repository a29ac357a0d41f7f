"""The entry of a run's weights: what is true of them, for their file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..zoo.entries import NOT_STATED, DatasetInfo, Input, ModelInfo, Preprocessing, with_tuples
from ..zoo.manifest import load_manifest
from .augment import INPUT, Numbers, describe
from .provenance import comparable
from .sections import Recipe


def run_info(
    recipe: Recipe,
    *,
    mean: Numbers,
    std: Numbers,
    class_names: Sequence[str],
    multilabel: bool,
    params: int,
    training: Mapping[str, Any],
) -> ModelInfo:
    """Return the entry of the weights that a run makes.

    Nothing in it depends on the day, the machine or its folders: the same run gives the same entry.

    Args:
        recipe: what is run.
        mean: of the pixels after the operator.
        std: of the pixels after the operator.
        class_names: name of each class.
        multilabel: whether a sample carries several labels.
        params: number of the network's parameters.
        training: what else is to be known of how they were made: epoch, scores, digests of the samples, …
    """
    known, name, names = load_manifest().datasets.get(recipe.data.name), recipe.data.name, tuple(class_names)
    return ModelInfo(
        name=recipe.name,
        network=recipe.model.network,
        dataset=DatasetInfo(
            name=name,
            title=name if known is None else known.title,
            sensor=f"sensor {NOT_STATED}" if known is None else known.sensor,
            num_classes=len(names),
            class_names=names,
            multilabel=multilabel,
        ),
        num_classes=len(names),
        class_names=names,
        params=params,
        preprocessing=Preprocessing(
            **with_tuples(
                {
                    **describe(recipe.preprocess, mean, std, full_scale=recipe.data.full_scale),
                    "vouched_by": "authors",
                }
            ),
        ),
        sources=(),
        checksum=None,
        citation=NOT_STATED,
        license_text=NOT_STATED,
        training={
            "recipe": recipe.name,
            "seed": recipe.runtime.seed,
            "epochs": recipe.optim.epochs,
            **training,
            "settings": _settings(recipe),
            "package": f"sarhub-models {__version__}",
        },
        input=Input(**with_tuples(recipe.data.input or INPUT)),
        decoder=recipe.model.decoder,
    )


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Return the part of a recipe that decides what is computed, without the folders of this machine."""
    settings = comparable(recipe.model_dump(mode="json"))
    start = Path(recipe.model.init).expanduser()
    return {**settings, "model": {**settings["model"], "init": start.name if start.exists() else recipe.model.init}}
