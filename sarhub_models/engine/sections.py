"""The sections of a recipe: every value that decides what a training run computes, with its default and its range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .. import networks
from ..datasets import catalog
from ..errors import closest
from ..losses import LOSSES, Form
from ..zoo.entries import Preprocessing, with_tuples
from ..zoo.tasks import DECODERS

WINDOWED = {"masks": "segmentation", "boxes": "detection"}
"""One's own images with masks or boxes, by ``data.name``, and the task that they are for."""

NO_OPERATOR = "none"  # has no parameter, so no range either

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Kind = Literal["none", "flip", "dihedral", "flip_rotate"]


def data_names() -> tuple[str, ...]:
    """Return the names of the data sets that can be trained on."""
    return catalog.names("recognition")


def _unknown(value: str, known: Sequence[str]) -> str:
    return f"no such name{closest(value, known)}; known: {', '.join(known)}"


def _one_of(names: Callable[[], Sequence[str]]) -> AfterValidator:
    """Return the check that a text is a registered name."""

    def check(value: str) -> str:
        if value not in names():
            raise ValueError(_unknown(value, names()))
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
    #: In place of the classifier: unet | fpn | deeplabv3plus for masks, fcos | retinanet for boxes; null: none.
    decoder: Annotated[str, _one_of(lambda: tuple(DECODERS))] | None = None
    #: probe starts the head from a linear classifier of the features as they are, and scores that as epoch 0; anew
    #: scores it, too, and then trains a random one in its place.
    head: Literal["random", "probe", "anew"] = "random"
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
    #: Split to train on, such as train_10 where there is a list train_10.txt, or, of dsn, train+val for a last fit; all
    #: needs no lists.
    train: str = "train"
    #: Split to test on.
    test: str = "test"
    #: Share of its samples that is trained on, of every class alike, chosen by ``runtime.seed``.
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Draw samples, with replacement, so that all classes occur equally often.
    balanced: bool = False


class Loss(Section):
    """A loss of :data:`sarhub_models.losses.LOSSES` and its options."""

    name: Annotated[str, _one_of(lambda: tuple(LOSSES))] = "mini_cbl"
    beta: Decay = 0.995
    #: null: cross-entropy; a number: focal with this exponent.
    gamma: NotNegative | None = None
    form: Form = "per_sample"


class Source(Data):
    """One of several data sets that a network is trained on, with a head of its own."""

    workers: Annotated[int, Field(ge=0)] = 0
    #: Share of the samples of a step, in proportion to the other sources'.
    weight: Positive = 1.0
    #: null: the labels are not used, only the contrastive term is.
    loss: Loss | None = Loss(name="ce")
    #: In place of ``augment.geometry``.
    geometry: Kind | None = None


class Training(Data):
    """The data set of a run, or its sources; with these the name is free, and all else but ``input`` is a source's."""

    name: str
    sources: dict[str, Source] = {}

    @model_validator(mode="after")
    def _one_or_several(self) -> Training:
        if not self.sources and self.name not in (*data_names(), *WINDOWED):
            raise ValueError(_unknown(self.name, data_names()))
        if not self.sources:
            return self
        fields = {name: field.default for name, field in Data.model_fields.items() if name not in ("name", "input")}
        if given := [name for name, default in fields.items() if getattr(self, name) != default]:
            raise ValueError(
                f"with data.sources, data.{given[0]} has no effect: each source has its own, "
                f"data.sources.{next(iter(self.sources))}.{given[0]}"
            )
        for name, source in self.sources.items():
            if source.input is not None:
                raise ValueError(f"data.sources.{name}.input: all sources have one chain, so data.input says it")
        return self


class Contrast(Section):
    """The self-supervised term: two views of a sample shall be more alike than those of others (SimCLR's NT-Xent).

    Chen, Kornblith, Norouzi, Hinton: A simple framework for contrastive learning of visual representations. ICML 2020.
    """

    #: Factor of the term beside the losses of the heads; 0: none. Needs ``data.sources``.
    weight: NotNegative = 0.0
    temperature: Positive = 0.2
    #: Of the projection in which views are compared.
    width: Count = 128


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

    geometry: Kind = "flip_rotate"
    cutmix: Share = 0.0
    #: Side of a square that is cut at random in place of resizing to ``preprocess.size``, in pixels; null: none.
    window: Count | None = None
    #: The square is of a share of it, drawn from [window_scale, 1] for each sample, and resized to it.
    window_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Of ``preprocess.operators``, of which each sample's is drawn in place of ``preprocess.operator``.
    operators: tuple[str, ...] = ()
    #: Looks of the speckle that is multiplied, drawn from [looks, 16 looks]; null: none.
    looks: Positive | None = None


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
    #: Batch norms keep the statistics of the starting weights.
    keep_norms: bool = False
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.05
    #: Decay biases and norms, too.
    decay_vectors: bool = True
    #: Decay of a moving average of the weights, which then is what is evaluated and kept; null: none.
    ema: Decay | None = None
    #: Epochs since the best one that was trained (epoch 0, the start, is none) after which the run ends; null: never.
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
    data: Training
    preprocess: Preprocess = Preprocess()
    augment: Augment = Augment()
    loss: Loss = Loss()
    contrast: Contrast = Contrast()
    optim: Optim = Optim()
    evaluation: Evaluation = Evaluation()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _drawn_operators_have_ranges(self) -> Recipe:
        known, drawn = self.preprocess.operators, self.augment.operators
        if drawn and (self.preprocess.operator == NO_OPERATOR or self.preprocess.given is not None):
            raise ValueError("augment.operators needs preprocess.operator, and no preprocessing of given weights")
        for name in drawn:
            if name not in known:
                raise ValueError(f"augment.operators: {_unknown(name, list(known))}")
        return self

    @model_validator(mode="after")
    def _classes_have_a_linear_head(self) -> Recipe:
        if self.model.decoder is not None and self.model.head != "random":
            raise ValueError(f"model.head={self.model.head} is for a classifier, and model.decoder takes its place")
        return self

    @model_validator(mode="after")
    def _sources_have_heads_of_their_own(self) -> Recipe:
        if not self.data.sources:
            if self.contrast.weight:
                raise ValueError("contrast.weight needs data.sources; one of them will do")
            return self
        if self.loss != Loss():
            raise ValueError(
                "with data.sources, loss has no effect: each source has its own, "
                f"data.sources.{next(iter(self.data.sources))}.loss"
            )
        if (
            self.evaluation.split is not None
            or self.augment.cutmix
            or self.optim.backbone_factor != 1
            or self.model.head != "random"
        ):
            raise ValueError(
                "with data.sources, evaluation.split=null, augment.cutmix=0, optim.backbone_factor=1 and "
                "model.head=random are needed"
            )
        if not self.contrast.weight and any(source.loss is None for source in self.data.sources.values()):
            raise ValueError("a source without a loss needs contrast.weight above 0")
        return self

    @model_validator(mode="after")
    def _task_of_decoder_and_data(self) -> Recipe:
        decoder, task = self.model.decoder, WINDOWED.get(self.data.name)
        if task != (None if decoder is None else DECODERS[decoder]):
            fitting = ", ".join(name for name, own in DECODERS.items() if own == task) or "null"
            raise ValueError(f"data.name={self.data.name} needs model.decoder of {fitting}, got {decoder}")
        if task is not None and (
            self.augment.geometry == "flip_rotate" or self.augment.cutmix or self.augment.window or self.model.lora
        ):
            raise ValueError(
                "with a decoder, augment.geometry=none, flip or dihedral, augment.cutmix=0, augment.window=null and "
                "model.lora=null are needed"
            )
        return self

    @property
    def name(self) -> str:
        """``<network>_<data>``."""
        return f"{self.model.network}_{self.data.name}"

    def to_yaml(self) -> str:
        """Return the whole recipe as text that :func:`load_recipe` reads from a file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
