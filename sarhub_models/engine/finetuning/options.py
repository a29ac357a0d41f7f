"""The options of fine-tunings; functions, their documentation and the command line have them from here."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from ...errors import OptionError

__all__ = ["BoxOptions", "ChipOptions", "MaskOptions", "Options", "WindowOptions"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
StrPath = str | os.PathLike[str]


def says(text: str, *, least: int | None = None) -> dict[str, Any]:
    """Return the metadata of an option: what it is, and the smallest number that it takes."""
    return {"text": text, "least": least}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of all fine-tunings; those that do not compare have no part in what is computed."""

    data: StrPath = field(kw_only=False, metadata=says("folder of the images, which may lie deeper."))
    model: StrPath = field(
        metadata=says("weights to start from: a name, a file, a run; none or imagenet with a network.")
    )
    out: StrPath = field(compare=False, metadata=says("folder of the run."))
    network: str | None = field(default=None, metadata=says("architecture where the model names none."))
    group_by: str | None = field(
        default=None,
        metadata=says(
            "keep images of a group in one split: parent, the folder they lie in, or a column of the table of labels "
            "or masks."
        ),
    )
    bands: Sequence[str] | None = field(
        default=None, metadata=says("names of the bands in the files, where these do not say them.")
    )
    band: Sequence[int] | None = field(
        default=None, metadata=says("positions of the bands to read, counted from 1.", least=1)
    )
    radiometry: str | None = field(
        default=None, metadata=says("what the pixels hold; by default what the weights expect.")
    )
    full_scale: float | None = field(default=None, metadata=says("value of amplitude 1."))
    freeze: bool = field(default=False, metadata=says("train the head or decoder alone."))
    size: int | None = field(
        default=None,
        metadata=says(
            "side of the network's input, by default that of the weights; of windows, a multiple of 32, by default "
            "that of the largest image up to 256.",
            least=8,
        ),
    )
    steps: int | None = field(
        default=None, metadata=says("of the optimizer; by default by the number of images.", least=1)
    )
    lr: float | None = field(default=None, metadata=says("peak of the learning rate; by default by what is trained."))
    batch_size: int | None = field(
        default=None, metadata=says("images or windows of a step; by default by their number.", least=1)
    )
    val: float = field(default=0.15, metadata=says("share of the images that the best epoch is chosen on."))
    test: float = field(default=0.15, metadata=says("share of the images that is only scored; 0 for none."))
    seed: int = field(default=0, metadata=says("of all random numbers.", least=0))
    workers: int = field(default=0, compare=False, metadata=says("processes that read images; 0: this one.", least=0))
    on_error: Literal["stop", "skip"] = field(
        default="stop", metadata=says("stop at an image that cannot be used or has no label, or skip it.")
    )
    assignments: Sequence[str] = field(default=(), metadata=says("section.key=value over the recipe."))
    say: Callable[[str], None] = field(
        default=print, compare=False, metadata=says("gets one line of text at a time: what was chosen and found.")
    )

    def __post_init__(self) -> None:
        if isinstance(self.band, int):  # as Predictor and open_scene take it
            object.__setattr__(self, "band", (self.band,))
        for option in fields(self):
            least, value = option.metadata["least"], getattr(self, option.name)
            numbers = value if isinstance(value, Sequence) else () if value is None else (value,)
            if least is not None and any(number < least for number in numbers):
                raise OptionError(f"expected {option.name} of at least {least}, got {value}")

    def decided(self) -> dict[str, Any]:
        """Return what decides what is computed, by name."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.compare}

    def images(self) -> dict[str, Any]:
        """Return what the images hold, for those who predict later."""
        kept = ("radiometry", "full_scale", "bands", "band", "nodata")
        return {name: value for name in kept if (value := getattr(self, name, None)) is not None}

    def files(self) -> Path:
        """Return the folder of the images."""
        return Path(self.data)


@dataclass(frozen=True, kw_only=True)
class ChipOptions(Options):
    """The options of :func:`.finetune`."""

    data: StrPath = field(
        kw_only=False,
        metadata=says("folder with a folder of chips for each class (or train, val, test with these in them)."),
    )
    labels: StrPath | None = field(
        default=None,
        metadata=says(
            "CSV or Parquet file with the columns name (path below the folder), label (several with ; between them) "
            "and, if wanted, split."
        ),
    )
    nodata: Literal["refuse", "fill", "skip"] = field(
        default="refuse", metadata=says("policy for pixels without data: refuse, fill or skip.")
    )
    lora: int | None = field(
        default=None, metadata=says("rank of low-rank adapters, which are trained in place of a transformer.", least=1)
    )


@dataclass(frozen=True, kw_only=True)
class WindowOptions(Options):
    """The options of fine-tunings on windows of images."""

    decoder: str = field(metadata=says("name of the decoder."))


@dataclass(frozen=True, kw_only=True)
class MaskOptions(WindowOptions):
    """The options of :func:`.finetune_masks`."""

    data: StrPath = field(
        kw_only=False,
        metadata=says("folder of the images, which may lie in folders train, val, test; or one with images and masks."),
    )
    masks: StrPath | None = field(
        default=None,
        metadata=says(
            "folder of the masks, PNG or GeoTIFF called like their images, or a CSV or Parquet file with the columns "
            "image, mask (paths below the folder of the images) and, if wanted, split; by default masks in the folder."
        ),
    )
    decoder: str = field(default="unet", metadata=says("for masks unet, fpn or deeplabv3plus."))
    classes: Sequence[str] | None = field(
        default=None,
        metadata=says("number=name of each class, or names for 0, 1, 2, …; by default the numbers in the masks."),
    )
    ignore: int | None = field(default=None, metadata=says("number of pixels without a class."))


@dataclass(frozen=True, kw_only=True)
class BoxOptions(WindowOptions):
    """The options of :func:`.finetune_boxes`."""

    boxes: StrPath = field(
        metadata=says("a COCO file, or a folder with train.json and, if wanted, val.json and test.json.")
    )
    decoder: str = field(default="fcos", metadata=says("for boxes fcos or retinanet."))


def takes(options: Callable[P, R]) -> Callable[[Callable[[R], T]], Callable[P, T]]:
    """Let a function of a set of options take these as its arguments, in its signature and its documentation, too."""

    def decorate(function: Callable[[R], T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(options(*args, **kwargs))

        signature = inspect.signature(options)
        returned = inspect.signature(function).return_annotation
        call.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        call.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
        call.__annotations__["return"] = returned
        known: Any = options
        listed = "".join(f"    {option.name}: {option.metadata['text']}\n" for option in fields(known))
        text = inspect.getdoc(function) or ""
        call.__doc__ = text.replace("\nRaises:\n", f"\nArgs:\n{listed}\nRaises:\n", 1)
        return call

    return decorate
