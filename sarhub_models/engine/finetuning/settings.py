"""The start of a fine-tuning with its preprocessing, and a learning rate and length for the size of the data."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from ...errors import OptionError
from ...io.images import match_bands, naming, read_raster
from ...models.choice import find_info, image_reading
from ...networks import on_meta_device, spec
from ...transforms import Pipeline
from ...weights.checkpoint import EXPORTED
from ...zoo.entries import SINGLE, ModelInfo
from ...zoo.manifest import own_file
from ..augment import INPUT
from ..initialization import INITIALIZATIONS
from .options import ChipOptions, Options

T = TypeVar("T", bound=Options)
_FREE_SIZE = 128  # of chips, where neither weights nor the caller say one
_FIELDS = ("size", "crop", "clip", "operator", "low", "high", "eval_value", "final_crop", "interpolation", "note")


@dataclass(frozen=True)
class Start:
    """The start of a fine-tuning.

    Attributes:
        network: architecture.
        init: ``model.init`` of the recipe.
        input: ``data.input`` of the recipe; ``None`` for one band of amplitude.
        given: ``preprocess.given`` of the recipe.
        bands: that the network takes, by name; empty for one without a name.
        info: what is known of the weights; ``None`` without any.
    """

    network: str
    init: str
    input: dict[str, Any] | None
    given: dict[str, Any]
    bands: tuple[str, ...]
    info: ModelInfo | None = None

    @property
    def pretrained(self) -> bool:
        """There are weights to start from."""
        return self.init != "none"

    @property
    def described(self) -> bool:
        """There are weights, and their preprocessing is known."""
        return self.init not in INITIALIZATIONS

    def transform(self, *, radiometry: str | None, full_scale: float | None) -> Pipeline:
        """Return the chain of evaluation for such images; statistics that are yet to be measured are 0 and 1."""
        entry = self.input or INPUT
        count = len(entry["bands"])
        numbers: dict[str, Any] = {
            "mean": self.given["mean"] or [0.0] * count,
            "std": self.given["std"] or [1.0] * count,
        }
        if self.info is not None:
            numbers["full_scale"] = self.info.preprocessing.full_scale  # wider integers draw a warning
        fields = {"input": entry, "preprocessing": {**self.given, **numbers}}
        return Pipeline.from_dict(fields, radiometry=radiometry, full_scale=full_scale)

    def full_scale(self, *, radiometry: str | None, full_scale: float | None) -> float | None:
        """Return the value of amplitude 1: as given, or that of the weights where radiometries are converted by it."""
        chain = self.transform(radiometry=radiometry, full_scale=full_scale)
        found: float | None = full_scale if chain.takes_amplitude else chain.steps["radiometry"].full_scale
        return found


def with_images(options: T) -> T:
    """Return options that say of the images what they leave out and the weights to start from were fine-tuned on."""
    if os.fspath(options.model) in INITIALIZATIONS:
        return options
    named = {name: getattr(options, name) for name in ("radiometry", "full_scale", "bands", "band")}
    reading = image_reading(find_info(options.model), **named)
    return dataclasses.replace(options, **{name: getattr(reading, name) for name in named})


def choose_start(options: Options, first: Path, *, size: int | None = None, dense: bool = False) -> Start:
    """Return where a fine-tuning starts, and the preprocessing that goes with it.

    Args:
        options: of the run.
        first: an image, which tells the number of bands where no weights do.
        size: side of the input, in place of that of the options.
        dense: the network gets a decoder.

    Raises:
        OptionError: a network is missing or too much, or the bands are not known.
        SarHubError: as :func:`~sarhub_models.model_info` says.
    """
    model, network, size = os.fspath(options.model), options.network, size or options.size
    if model in INITIALIZATIONS:
        if network is None:
            raise OptionError(
                f"model={model!r} needs a network: network='resnet18' (--network), a name of list_networks()"
            )
        spec(network)
        return _from_nothing(network, options, first, size)
    if network is not None:
        raise OptionError(f"network={network!r} is for model='none' and 'imagenet'; {model} says its own")
    info = find_info(model)
    if info.decoder is not None and not dense:
        raise OptionError(
            f"{model} has the decoder {info.decoder} for {info.task}: it starts fine-tunings for such alone"
        )
    file = own_file(model)
    if file is not None and file.suffix in EXPORTED:
        raise OptionError(f"{model} is an exported network: give the weights that it was made from")
    init = str(file.resolve()) if file is not None else model
    if info.input.bands == (SINGLE,) and options.band is None and len(options.bands or ()) > 1:
        # One band of weights says nothing of how several are prepared; its filters are spread over them
        return dataclasses.replace(_from_nothing(info.network, options, first, size), init=init)
    given = {name: value for name, value in dataclasses.asdict(info.preprocessing).items() if name in _FIELDS}
    given |= {"mean": list(info.preprocessing.mean), "std": list(info.preprocessing.std)}
    if options.radiometry == "dn":
        given["full_scale"] = info.preprocessing.full_scale
    if given.get("clip") is not None:
        given["clip"] = [list(end) if isinstance(end, tuple) else end for end in given["clip"]]
    if size is not None or info.preprocessing.side is None:
        given["size"] = size or _FREE_SIZE
        given["crop"] = given["final_crop"] = None
    entry = dataclasses.asdict(info.input)
    entry |= {"bands": list(info.input.bands), "range": None if info.input.range is None else list(info.input.range)}
    names = () if info.input.bands == (SINGLE,) else info.input.bands
    return Start(info.network, init, entry, {k: v for k, v in given.items() if v is not None}, names, info)


def _from_nothing(network: str, options: Options, first: Path, size: int | None) -> Start:
    model, radiometry = os.fspath(options.model), options.radiometry
    side = size or spec(network).timm_args.get("img_size", _FREE_SIZE)
    if options.band is None and len(options.bands or ()) > 1:  # which files of one band each may hold together
        with naming(first):
            raster = match_bands(first, options.bands or (), options.bands)
    else:
        raster = read_raster(first, bands=options.band)
    count = len(raster.array)
    known = tuple(options.bands or (name for name in raster.bands if name))
    if count == 1 and radiometry in (None, "amplitude", "dn", "intensity"):
        entry = None if radiometry is None else INPUT
        return Start(network, model, entry, {**_amplitude(), "size": side}, ())
    if count > 1 and (len(known) != count or known == ("red", "green", "blue")):
        raise OptionError(
            f"{first} holds {count} bands: name them with bands=('VV', 'VH') (--bands VV,VH), or read one with band=1"
        )
    names = known if count > 1 else ()
    entry = {
        "bands": list(names or (SINGLE,)),
        "radiometry": radiometry or "amplitude",
        "range": None,
        "channels": count if count > 1 else 3,
    }
    return Start(network, model, entry, {"mean": None, "std": None, "size": side}, names)


def _amplitude() -> dict[str, Any]:
    """Return the chain for amplitude without a name: the percentiles of each chip, as SAR-HUB's weights have them."""
    return {"mean": None, "std": None, "operator": "ptls", "low": 1.0, "high": 1.0, "eval_value": 1.0}


@dataclass(frozen=True)
class Length:
    """Learning rates and steps for so many chips.

    Attributes:
        steps: of the optimizer.
        epochs: times that the validation split is scored.
        batch_size: chips of a step.
        head: ``model.head`` of the recipe.
        max_lr: peak of the learning rate, of the head.
        backbone_factor: factor on it, for the rest.
        keep_norms: batch norms keep their statistics.
        patience: scores without a better one after which the run ends.
    """

    steps: int
    epochs: int
    batch_size: int
    head: str
    max_lr: float
    backbone_factor: float
    keep_norms: bool
    patience: int

    def optim(self) -> dict[str, Any]:
        """Return the section of the recipe."""
        return {
            "epochs": self.epochs,
            "epoch_steps": self.steps // self.epochs,
            "batch_size": self.batch_size,
            "max_lr": self.max_lr,
            "backbone_factor": self.backbone_factor,
            "keep_norms": self.keep_norms,
            "patience": self.patience,
            "decay_vectors": False,
        }


def choose_length(samples: int, options: ChipOptions, start: Start) -> Length:
    """Choose learning rates and steps by the size of the data; what is given is kept.

    A head that starts as a linear classifier of good features needs a smaller learning rate than random weights, and
    the statistics of the norms that the features were made with: large steps, and those of a small batch, undo them.
    Convolutions with batch norms learn more from some hundred chips by large steps, from their weights as from none.

    Args:
        samples: chips to train on.
        options: of the run.
        start: of the run.
    """
    freeze = options.freeze
    size = options.batch_size or max(4, min(32, samples // 8))
    passes = 20 if freeze else 30
    steps = options.steps or min(max(_FEWEST, passes * samples // size), _MOST_STEPS)
    epochs = max(1, min(20, steps // 20))
    whole = not freeze and options.lora is None
    large = not start.pretrained or (whole and samples >= _ENOUGH and _has_batch_norms(start.network))
    return Length(
        steps=steps // epochs * epochs,
        epochs=epochs,
        batch_size=size,
        head="random" if not start.pretrained else "anew" if large else "probe",
        max_lr=options.lr or (2e-3 if large else 1e-3 if freeze else 3e-4),
        backbone_factor=0.0 if freeze else 1.0,
        keep_norms=start.described and not freeze and not large,
        patience=max(5, epochs // 2),  # the rate peaks after 0.3 of the steps, and scores fall until then
    )


def _has_batch_norms(network: str) -> bool:
    with on_meta_device():
        return any(isinstance(module, nn.BatchNorm2d) for module in spec(network).build().modules())


_ENOUGH = 500  # chips: validation chips of MSTAR prefer large steps with 698 and 2,334, not with 232
_FEWEST, _MOST_STEPS = 300, 6000
