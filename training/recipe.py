"""A recipe: everything that decides what a training run computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from sarhub_models.errors import ManifestError, UnknownNameError, closest

RECIPES = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True)
class Range:
    """The parameter of a dynamic-range operator.

    Attributes:
        low: lower end in training.
        high: upper end in training.
        evaluation: value at evaluation, and in training without DRAA.
    """

    low: float
    high: float
    evaluation: float


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        network: architecture, as ``sarhub_models.networks.build`` names it.
        dataset: short name of the data set.
        parts: parts of the data set, in the order of their classes.
        full_scale: digital number that maps to amplitude 1.
        operator: dynamic-range operator, a key of ``operators``.
        draa: whether training draws the operator's parameter anew for every patch.
        operators: parameter range of each operator.
        size: side of the input in pixels; smaller patches are resized.
        geometry: ``"flip"`` (both axes), ``"dihedral"`` (flips and quarter turns) or ``"rotate"`` (flips and up to
            10 degrees).
        cutmix: probability that a mini-batch is cut together with a permutation of itself.
        epochs: passes over the training set.
        batch_size: patches per step.
        max_lr: peak of the one-cycle learning rate.
        weight_decay: of AdamW.
        beta: of the mini-batch class-balanced loss.
        ema_decay: decay of the moving average of the weights, which is what is evaluated and kept.
        dropout: before the classifier.
        seed: of everything random.
    """

    network: str
    dataset: str
    parts: tuple[str, ...]
    full_scale: float
    operator: str
    draa: bool
    operators: Mapping[str, Range]
    size: int
    geometry: str
    cutmix: float
    epochs: int
    batch_size: int
    max_lr: float
    weight_decay: float
    beta: float
    ema_decay: float
    dropout: float
    seed: int

    @property
    def range(self) -> Range:
        """The parameter range of the chosen operator."""
        return self.operators[self.operator]

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, as :func:`from_dict` takes them."""
        return {**asdict(self), "parts": list(self.parts)}


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these fields.

    Raises:
        ManifestError: a field is missing or unknown, or the operator has no range.
    """
    names = {field.name for field in fields(Recipe)}
    if wrong := names.symmetric_difference(values):
        raise ManifestError(f"a recipe needs exactly the fields {sorted(names)}; missing or unknown: {sorted(wrong)}")
    operators = {name: Range(**numbers) for name, numbers in values["operators"].items()}
    if values["operator"] not in operators:
        raise ManifestError(f"the recipe gives ranges for {list(operators)}, none for {values['operator']!r}")
    return Recipe(**{**values, "parts": tuple(values["parts"]), "operators": operators})


def load_recipe(name: str, **overrides: Any) -> Recipe:
    """Read ``training/recipes/<name>.yaml`` and replace fields by those overrides that are not ``None``.

    Raises:
        UnknownNameError: there is no such recipe.
        ManifestError: the recipe is malformed, or an override names no field.
    """
    file = RECIPES / f"{name}.yaml"
    known = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    if name not in known:
        raise UnknownNameError(f"no recipe is called {name!r}{closest(name, known)}; known: {', '.join(known)}")
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    return from_dict({**values, **{key: value for key, value in overrides.items() if value is not None}})
