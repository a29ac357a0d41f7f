"""A recipe: everything that decides what a training run computes, in sections, each value with its default.

The defaults are SAR-HUB's pre-training (Remote Sensing 15(23), 5534, 2023). The recipe ``<network>_<data>`` of a folder
puts the values of the data set in the catalog, ``network/<family>.yaml`` and, where there is one,
``<network>_<data>.yaml`` over them; for fine-tuning, then ``finetune/base.yaml`` and ``finetune/<family>.yaml``. Each
overrides the ones before, and assignments such as ``optim.epochs=10`` override all of them. A data set may have
``variants``, which belong to one choice of a value, such as ``data.train``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .. import networks
from ..datasets import catalog
from ..errors import DataError, ManifestError, OptionError, UnknownNameError, closest
from ..losses import LOSSES, Form
from ..zoo.entries import Preprocessing, with_tuples

NO_OPERATOR = "none"  # has no parameter, so no range either
# What is below them is checked by whom it belongs to: a reader, and the chain of given weights.
_OPEN = ("data.options", "data.input", "preprocess.given")

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


def data_names() -> tuple[str, ...]:
    """Return the names of the data sets that can be trained on."""
    return catalog.names("recognition")


def _one_of(names: Callable[[], Sequence[str]]) -> AfterValidator:
    """Return the check that a text is a registered name."""

    def check(value: str) -> str:
        if value not in names():
            raise ValueError(f"no such name{closest(value, names())}; known: {', '.join(names())}")
        return value

    return AfterValidator(check)


class Section(BaseModel):
    """A part of a recipe: fixed once made, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(Section):
    """The parameter of a dynamic-range operator: drawn from [low, high] with DRAA, else ``eval_value``."""

    low: float
    high: float
    eval_value: float

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        return self


class Model(Section):
    """The network and where its weights come from."""

    network: Annotated[str, _one_of(networks.names)]
    #: none | imagenet | a checkpoint | the folder of a run | a name of ``sarhub list``; its head is replaced.
    init: str = "none"
    drop_rate: Share = 0.0
    drop_path_rate: Share = 0.0
    #: Rank of low-rank adapters beside the linear layers, which are trained with the head in their place; null: none.
    lora: Count | None = None


class Data(Section):
    """The data set, its reader's options, and the part of it that is trained on."""

    name: Annotated[str, _one_of(data_names)]
    root: Path | None = None
    #: Folder of the split lists; null: where the reader looks by itself.
    lists: Path | None = None
    #: Folder or URL of shards made by ``training.pack``, read in place of ``root``.
    shards: str | None = None
    #: Of the reader.
    options: dict[str, Any] = {}
    #: Value that stands for amplitude 1; null: integers by their dtype, floating point is in [0, 1] already.
    full_scale: Positive | None = None
    workers: Annotated[int, Field(ge=0)] = 4
    #: Samples that a worker holds for shuffling a stream of shards.
    shuffle_buffer: Count = 2000
    #: Bands, radiometry, range and channels as weights describe their input; null: one band of amplitude in [0, 1].
    input: dict[str, Any] | None = None
    #: What the pixels hold, such as db, to be converted to what is expected; null: just that.
    radiometry: str | None = None
    #: stop | skip a damaged sample (skipped ones are counted and named).
    on_error: Literal["stop", "skip"] = "stop"
    #: Split to train on, such as train_10 where there is a list train_10.txt, or, of dsn, train+val for a last fit.
    train: str = "train"
    #: Split to test on.
    test: str = "test"
    #: Share of its samples that is trained on, of every class alike, chosen by ``runtime.seed``.
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Draw samples, with replacement, so that all classes occur equally often.
    balanced: bool = False


class Preprocess(Section):
    """Crop, dynamic-range operator, normalization and size."""

    #: Side of the square that is cut from the middle, in pixels; null: the whole image.
    crop: Count | None = None
    #: One of ``operators``, or none, which leaves the amplitude as it is.
    operator: str = "ptls"
    draa: bool = True
    operators: dict[str, Range] = {
        "log_amplitude": Range(low=15, high=17, eval_value=16),
        "reinhard_devlin": Range(low=3.5, high=4.5, eval_value=4.0),
        "ptls": Range(low=0, high=2, eval_value=1),
    }
    size: Count = 128
    #: Of the pixels after the operator; null: measured on the training split.
    mean: float | None = None
    std: Positive | None = None
    #: The preprocessing of given weights as they describe it, in place of all above; a mean of null is measured.
    given: dict[str, Any] | None = None

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
        return self.operators.get(self.operator, Range(low=0, high=0, eval_value=0))

    @property
    def side(self) -> int:
        """Side of the network's input in pixels."""
        if self.given is None:
            return self.size
        return Preprocessing(**with_tuples({**self.given, "mean": [0.0], "std": [1.0]})).side or self.size


class Augment(Section):
    """Random changes beside DRAA."""

    geometry: Literal["none", "flip", "dihedral", "flip_rotate"] = "flip_rotate"
    cutmix: Share = 0.0


class Loss(Section):
    """A loss of :data:`sarhub_models.losses.LOSSES` and its options."""

    name: Annotated[str, _one_of(lambda: tuple(LOSSES))] = "mini_cbl"
    beta: Decay = 0.995
    #: null: cross-entropy; a number: focal with this exponent.
    gamma: NotNegative | None = None
    form: Form = "per_sample"


class Optim(Section):
    """Optimizer, learning rate, and how many steps they take."""

    #: adamw | sgd (with Nesterov's momentum)
    name: Literal["adamw", "sgd"] = "adamw"
    momentum: Decay = 0.9
    #: The paper's 150 "epochs" run twice over the data.
    epochs: Count = 300
    #: Steps of an epoch, as many passes as they take; null: one pass.
    epoch_steps: Count | None = None
    #: Per process and step.
    batch_size: Count = 128
    #: Steps whose gradients are summed up before the weights move.
    accumulate: Count = 1
    #: onecycle | step: times ``step_factor`` after every ``step_epochs``
    schedule: Literal["onecycle", "step"] = "onecycle"
    step_epochs: Count = 100
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    #: Peak of the one-cycle schedule, which starts at 1/25 of it; of the steps, the first.
    max_lr: Positive = 2.5e-4
    #: Factor on ``max_lr`` that belongs to the network.
    lr_factor: Positive = 1.0
    #: Factor on the learning rate of all but the head; 0 keeps them as they are, with the statistics of their norms.
    backbone_factor: NotNegative = 1.0
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.05
    #: Decay biases and norms, too.
    decay_vectors: bool = True
    #: Decay of a moving average of the weights, which then is what is evaluated and kept; null: none.
    ema: Decay | None = None
    #: Epochs without a better score after which the run ends; null: never.
    patience: Count | None = None

    @model_validator(mode="after")
    def _gradients_are_summed_up_within_an_epoch(self) -> Optim:
        if self.epoch_steps is not None and self.epoch_steps % self.accumulate:
            raise ValueError(f"epoch_steps={self.epoch_steps} is no multiple of accumulate={self.accumulate}")
        return self


class Evaluation(Section):
    """The scoring of the validation and test splits."""

    #: Split that is scored after every epoch; null: none, and the last epoch is kept.
    split: str | None = "val"
    batch_size: Count = 200
    #: Score by which the best epoch is chosen; null: overall_accuracy, or mean_average_precision for several labels.
    monitor: str | None = None


class Runtime(Section):
    """Seed, precision, and the machine's part."""

    seed: Annotated[int, Field(ge=0)] = 0
    #: fp32 | bf16 | fp16 (fp16 needs a GPU)
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    channels_last: bool = True
    compile: bool = False
    sync_batchnorm: bool = False
    #: CPU threads; null: PyTorch's choice.
    threads: Count | None = None
    #: Minutes between checkpoints inside an epoch.
    save_minutes: Positive = 10


class Recipe(Section):
    """One training run."""

    model: Model
    data: Data
    preprocess: Preprocess = Preprocess()
    augment: Augment = Augment()
    loss: Loss = Loss()
    optim: Optim = Optim()
    evaluation: Evaluation = Evaluation()
    runtime: Runtime = Runtime()

    @property
    def name(self) -> str:
        """``<network>_<data>``."""
        return f"{self.model.network}_{self.data.name}"

    def to_yaml(self) -> str:
        """Return the whole recipe as text that :func:`load_recipe` reads from a file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def list_recipes() -> list[str]:
    """Return the names of all recipes: each network with each recognition data set."""
    return [f"{network}_{data}" for network in networks.names() for data in data_names()]


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these values, and the others at their defaults.

    Raises:
        ManifestError: a value is missing, unknown, or out of its range; every such value is named.
    """
    try:
        return Recipe.model_validate(completed(values))
    except ValidationError as err:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}{_got(e['input'])}" for e in err.errors()]
        raise ManifestError("the recipe does not hold: " + "; ".join(wrong)) from None


def _got(value: Any) -> str:
    """Name a wrong value; where a whole section was looked at, the message has named it."""
    return "" if isinstance(value, Mapping) else f", got {value!r}"


def load_recipe(
    name: str, assignments: Sequence[str] = (), *, folder: Path | None = None, finetune: bool = False
) -> Recipe:
    """Read a recipe.

    Args:
        name: a YAML file with any of the sections, or ``<network>_<data>`` of a folder.
        assignments: ``section.key=value`` with the value in YAML.
        folder: where the recipes lie; names need one.
        finetune: train as SAR-HUB does on a target task, not as in pre-training; needs a folder, too.

    Raises:
        UnknownNameError: there is no such recipe or key; the message gives the closest.
        OptionError: an assignment has no ``=``, its value is not YAML, or it changes what the name says.
        ManifestError: a value is out of its range.
    """
    values = _read(Path(name), expected=True) if _is_file(name) else _named(name, folder)
    variants = values.pop("variants", {})
    if finetune:
        if folder is None:
            raise OptionError("fine-tuning needs the folder of the recipes")
        family = _family(from_dict(values).model.network)
        values = merged(values, *(_read(folder / "finetune" / f"{file}.yaml") for file in ("base", family)))
    recipe = override(values, assignments)
    for key, choices in variants.items():
        section, _, value = key.partition(".")
        values = merged(values, choices.get(getattr(getattr(recipe, section), value), {}))
        recipe = override(values, assignments)
    if not _is_file(name) and recipe.name != name:  # the values of another network or data set would be missing
        raise OptionError(f"the recipe is called {name}, the assignments make it {recipe.name}; give that name instead")
    return recipe


def override(values: Mapping[str, Any], assignments: Sequence[str]) -> Recipe:
    """Return the recipe with these values and assignments over them; raises as :func:`load_recipe`."""
    known = list(_keys(completed(values)))
    layers = [dict(values)]
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise OptionError(f"expected section.key=value, got {assignment!r}")
        if key not in known and not key.startswith(tuple(f"{name}." for name in _OPEN)):
            raise UnknownNameError(f"a recipe has no key {key!r}{closest(key, known)}; --dry-run prints all of them")
        try:
            layers.append(OmegaConf.to_container(OmegaConf.from_dotlist([assignment]), resolve=True))  # type: ignore[arg-type]
        except (yaml.YAMLError, OmegaConfBaseException) as err:
            reason = getattr(err, "problem", None) or "it cannot be parsed"
            raise OptionError(
                f"{key}: {text!r} is no YAML value ({reason}); quotes make it a text: {key}='\"…\"'"
            ) from None
    return from_dict(merged(*layers))


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values in which each layer overrides those before it."""
    values: Any = OmegaConf.to_container(OmegaConf.merge(*(OmegaConf.create(dict(layer)) for layer in layers)))
    return values


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values, such as those that an earlier version stored, over the defaults of the others."""
    least = Recipe(model=Model(network=networks.names()[0]), data=Data(name=data_names()[0]))
    defaults = least.model_dump(mode="json")
    del defaults["model"]["network"], defaults["data"]["name"]
    return merged(defaults, values)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _family(network: str) -> str:
    return re.split(r"[\d_]", network)[0]


def _named(name: str, folder: Path | None) -> dict[str, Any]:
    """Return the values of ``<network>_<data>`` from the files of a folder."""
    if folder is None:
        raise OptionError(f"expected a YAML file, got {name!r}; a recipe's name needs the folder of the recipes")
    if name not in (known := list_recipes()):
        raise UnknownNameError(
            f"no recipe is called {name!r}{closest(name, known)}; a recipe is <network>_<data>, such as "
            f"{known[0]}, or a YAML file; networks: {', '.join(networks.names())}; data: {', '.join(data_names())}"
        )
    network, _, data = name.rpartition("_")
    files = (f"network/{_family(network)}", name)
    own = {"model": {"network": network}, "data": {"name": data}}
    return merged(catalog.find(data).recipe, *(_read(folder / f"{file}.yaml") for file in files), own)


def _read(file: Path, expected: bool = False) -> dict[str, Any]:
    """Return the values of a YAML file; none where it is missing, unless it is expected to be there."""
    try:
        values: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except FileNotFoundError:
        if expected:
            raise DataError(f"expected a recipe in {file}, found no such file") from None
        return {}
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as err:
        raise ManifestError(f"{file} is no recipe: {err}") from err
    if not isinstance(values, dict):
        raise ManifestError(f"{file} is no recipe: expected sections, got {type(values).__name__}")
    return values


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in _OPEN:
            yield from _keys(value, f"{name}.")
        else:
            yield name
