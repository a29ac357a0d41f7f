"""A recipe: everything that decides what a training run computes, in sections.

The recipe ``<network>_<data>`` is put together from ``recipes/base.yaml``, ``recipes/data/<data>.yaml``,
``recipes/network/<family>.yaml`` and, where there is one, ``recipes/<network>_<data>.yaml``; for fine-tuning, then
from ``recipes/finetune/base.yaml`` and ``recipes/finetune/<family>.yaml``. Each overrides the ones before, and
assignments such as ``optim.epochs=10`` override all of them. A data file may hold ``variants``, which belong to
one choice of a value, such as ``data.train``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import ManifestError, OptionError, UnknownNameError, closest

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
NETWORKS = ("resnet18", "resnet50", "resnet101", "senet50", "mobilenetv3", "densenet121", "swin_t", "swin_b")
DATA = tuple(sorted(file.stem for file in (RECIPES / "data").glob("*.yaml")))
NO_OPERATOR = "none"  # has no parameter, so no range either
_OPEN = "data.options"  # what is below it belongs to the reader, which checks it
_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)e[+-]?\d+", re.IGNORECASE)  # YAML 1.1 takes 1e-3 for a text

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe: fixed once made, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(Section):
    """The parameter of a dynamic-range operator: drawn from [low, high] with DRAA, else ``evaluation``."""

    low: float
    high: float
    evaluation: float

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        return self


class Model(Section):
    """The network and where its weights come from."""

    network: Literal[NETWORKS]  # type: ignore[valid-type]
    init: str
    drop_rate: Share
    drop_path_rate: Share


class Data(Section):
    """Where the images come from, how they are read, and which of them are trained on."""

    name: Literal[DATA]  # type: ignore[valid-type]
    root: Path | None
    lists: Path | None
    shards: str | None
    options: dict[str, Any]
    full_scale: Positive | None
    workers: Annotated[int, Field(ge=0)]
    shuffle_buffer: Count
    on_error: Literal["stop", "skip"]
    train: str = "train"
    test: str = "test"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    balanced: bool = False


class Preprocess(Section):
    """Crop, dynamic-range operator, normalization and size."""

    operator: str
    draa: bool
    operators: dict[str, Range]
    size: Count
    mean: float | None
    std: Positive | None
    crop: Count | None = None

    @model_validator(mode="after")
    def _operator_has_a_range(self) -> Preprocess:
        known = [*self.operators, NO_OPERATOR]
        if self.operator not in known:
            raise ValueError(
                f"no operator is called {self.operator!r}{closest(self.operator, known)}; known: {', '.join(known)}"
            )
        return self

    @property
    def range(self) -> Range:
        """The parameter range of the chosen operator."""
        return self.operators.get(self.operator, Range(low=0, high=0, evaluation=0))


class Augment(Section):
    """Random changes beside DRAA."""

    geometry: Literal["none", "flip", "dihedral", "flip_rotate"]
    cutmix: Share


class Loss(Section):
    """Cross-entropy, class-balanced over the training set (``cbl``) or over each mini-batch (``mini_cbl``)."""

    name: Literal["ce", "cbl", "mini_cbl"]
    beta: Annotated[float, Field(ge=0, lt=1)]
    gamma: Annotated[float, Field(ge=0)] | None
    form: Literal["per_sample", "released"]


class Optim(Section):
    """Optimiser, learning rate, and how many steps they take."""

    epochs: Count
    batch_size: Count
    accumulate: Count
    max_lr: Positive
    lr_factor: Positive
    eps: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    decay_vectors: bool
    ema: Annotated[float, Field(ge=0, lt=1)] | None
    epoch_steps: Count | None = None
    name: Literal["adamw", "sgd"] = "adamw"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Literal["onecycle", "step"] = "onecycle"
    step_epochs: Count = 100
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _gradients_are_summed_up_within_an_epoch(self) -> Optim:
        if self.epoch_steps is not None and self.epoch_steps % self.accumulate:
            raise ValueError(f"epoch_steps={self.epoch_steps} is no multiple of accumulate={self.accumulate}")
        return self


class Evaluation(Section):
    """How the validation and test splits are scored."""

    batch_size: Count
    monitor: str | None
    split: str | None = "val"


class Runtime(Section):
    """How it is computed."""

    seed: Annotated[int, Field(ge=0)]
    precision: Literal["fp32", "bf16", "fp16"]
    channels_last: bool
    compile: bool
    sync_batchnorm: bool
    threads: Count | None
    save_minutes: Positive


class Recipe(Section):
    """One training run; see ``recipes/base.yaml`` for what each value means."""

    model: Model
    data: Data
    preprocess: Preprocess
    augment: Augment
    loss: Loss
    optim: Optim
    evaluation: Evaluation
    runtime: Runtime

    @property
    def name(self) -> str:
        """``<network>_<data>``."""
        return f"{self.model.network}_{self.data.name}"

    def to_yaml(self) -> str:
        """Return the whole recipe as text that :func:`from_dict` takes after ``yaml.safe_load``."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def list_recipes() -> list[str]:
    """Return the names of all recipes."""
    return [f"{network}_{data}" for network in NETWORKS for data in DATA]


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these sections.

    Raises:
        ManifestError: a value is missing, unknown, or out of its range; every such value is named.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as err:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}{_got(e['input'])}" for e in err.errors()]
        raise ManifestError("the recipe does not hold: " + "; ".join(wrong)) from None


def completed(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return sections as an earlier version stored them with the values that came later at their defaults."""
    whole = {}
    for section, keys in values.items():
        fields: Any = Recipe.model_fields[section].annotation
        later = {name: field.default for name, field in fields.model_fields.items() if not field.is_required()}
        whole[section] = later | dict(keys)
    return whole


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Name the values in which two recipes differ."""
    for section, name in dict.fromkeys((s, n) for r in (other, one) for s, values in r.items() for n in values):
        there, now = (recipe.get(section, {}).get(name) for recipe in (one, other))
        if there != now:
            yield f"{section}.{name}: {there!r} there, {now!r} now"


def _got(value: Any) -> str:
    """Name a wrong value; where a whole section was looked at, the message has named it."""
    return "" if isinstance(value, Mapping) else f", got {value!r}"


def load_recipe(name: str, assignments: Sequence[str] = (), *, finetune: bool = False) -> Recipe:
    """Put a recipe together.

    Args:
        name: ``<network>_<data>``.
        assignments: ``section.key=value`` with the value in YAML.
        finetune: train as SAR-HUB does on a target task, not as in pre-training.

    Raises:
        UnknownNameError: there is no such recipe or key; the message gives the closest.
        OptionError: an assignment has no ``=``, its value is not YAML, or it changes what the name says.
        ManifestError: a value is out of its range.
    """
    if name not in list_recipes():
        raise UnknownNameError(
            f"no recipe is called {name!r}{closest(name, list_recipes())}; a recipe is <network>_<data> with "
            f"{', '.join(NETWORKS)} and {', '.join(DATA)}"
        )
    network, _, data = name.rpartition("_")
    family = re.split(r"[\d_]", network)[0]
    values: dict[str, Any] = {}
    files = ["base", f"data/{data}", f"network/{family}", name]
    for file in [*files, "finetune/base", f"finetune/{family}"] if finetune else files:
        if (path := RECIPES / f"{file}.yaml").is_file():
            merge(values, yaml.safe_load(path.read_text(encoding="utf-8")))
    values["model"]["network"] = network
    variants = values.pop("variants", {})
    recipe = override(values, assignments)
    for key, choices in variants.items():
        section, _, value = key.partition(".")
        merge(values, choices.get(getattr(getattr(recipe, section), value), {}))
        recipe = override(values, assignments)
    if recipe.name != name:  # the values that belong to another network or data set would be missing
        raise OptionError(f"the recipe is called {name}, the assignments make it {recipe.name}; give that name instead")
    return recipe


def override(values: Mapping[str, Any], assignments: Sequence[str]) -> Recipe:
    """Return the recipe with these sections and assignments over them; raises as :func:`load_recipe`."""
    values = copy.deepcopy(dict(values))
    for assignment in assignments:
        _assign(values, assignment)
    return from_dict(values)


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Override values of a nested dictionary, in place."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _assign(values: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals:
        raise OptionError(f"expected section.key=value, got {assignment!r}")
    known = list(_keys(values))
    if key not in known and not key.startswith(f"{_OPEN}."):
        raise UnknownNameError(f"a recipe has no key {key!r}{closest(key, known)}; --dry-run prints all of them")
    try:
        value = float(text) if _EXPONENT.fullmatch(text.strip()) else yaml.safe_load(text)
    except yaml.YAMLError as err:
        reason = getattr(err, "problem", None) or "it cannot be parsed"
        raise OptionError(
            f"{key}: {text!r} is no YAML value ({reason}); quotes make it a text: {key}='\"…\"'"
        ) from None
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    merge(values, nested)


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name != _OPEN:
            yield from _keys(value, f"{name}.")
        else:
            yield name
