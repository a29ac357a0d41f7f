"""The weights that a call means: a registered name, a published repository, a file, or the folder of a run."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import networks
from ..errors import CheckpointError, OptionError
from ..weights import fetch_hub_config, read_tensors
from ..zoo.description import read_description, require_description, weights_file
from ..zoo.entries import NOT_STATED, DatasetInfo, ModelInfo
from ..zoo.manifest import model_info, own_file

__all__ = ["HUB", "Choice", "Reading", "choose", "find_info", "image_reading", "image_values"]

HUB = "hf-hub:"


@dataclass(frozen=True)
class Choice:
    """Weights and what is known of them.

    Attributes:
        name: where they come from, as it was given.
        info: their entry; of a file, what the file says of itself.
        file: the file that holds them, or ``None`` for those of a name.
        described: the entry is of these very weights. Of a file that does not describe itself, only the tensors tell
            the number of classes.
    """

    name: str
    info: ModelInfo
    file: Path | None = None
    described: bool = True


def image_values(
    info: ModelInfo, *, radiometry: str | None, full_scale: float | None
) -> tuple[str | None, float | None]:
    """Return the radiometry of images and their value of amplitude 1.

    They are those given, else those of the images that the weights were fine-tuned on; that value belongs to their
    radiometry and is not taken for another one.
    """
    images = (info.training or {}).get("images", {})
    trained = images.get("radiometry")
    if full_scale is None and radiometry in (None, trained or info.input.radiometry):
        full_scale = images.get("full_scale")
    return trained if radiometry is None else radiometry, full_scale


@dataclass(frozen=True)
class Reading:
    """The way images are read for weights.

    Attributes:
        radiometry: what they hold; ``None``: what the weights expect.
        full_scale: value of amplitude 1, or ``None``.
        bands: names of the bands in the files, or ``None``.
        band: position of the band to read, counted from 1, or of several, or ``None``.
        nodata: policy for pixels without data.
    """

    radiometry: str | None
    full_scale: float | None
    bands: Sequence[str] | None
    band: int | Sequence[int] | None
    nodata: str

    @property
    def position(self) -> int | list[int] | None:
        """The position of one band as a number, of several as a list."""
        if self.band is None or isinstance(self.band, int):
            return self.band
        return self.band[0] if len(self.band) == 1 else list(self.band)


def image_reading(
    info: ModelInfo,
    *,
    radiometry: str | None = None,
    full_scale: float | None = None,
    bands: Sequence[str] | None = None,
    band: int | Sequence[int] | None = None,
    nodata: str | None = None,
) -> Reading:
    """Return how images are read: as it is given, else as those that the weights were fine-tuned on.

    Names and positions of bands belong together, so either of them stands for both.
    """
    images = (info.training or {}).get("images", {})
    radiometry, full_scale = image_values(info, radiometry=radiometry, full_scale=full_scale)
    if bands is None and band is None:
        bands, band = images.get("bands"), images.get("band")
    return Reading(radiometry, full_scale, bands, band, nodata or images.get("nodata") or "refuse")


def find_info(name: str | os.PathLike[str]) -> ModelInfo:
    """Return the entry of a name, of a published repository, of a file or of a run.

    Raises:
        UnknownNameError: no model has that name; the message gives the closest.
        CheckpointError: the file or repository does not describe itself, or the folder holds no weights.
        FileNotFoundError: there is no such file.
        DownloadError: the repository's configuration cannot be fetched.
    """
    text = os.fspath(name)
    if not text.startswith(HUB):
        return model_info(name)
    config = fetch_hub_config(text.removeprefix(HUB))
    if "sarhub" not in config:
        raise CheckpointError(
            f"config.json of {text} has no 'sarhub' part, so it was not published by sarhub-models: "
            "load it with timm.create_model"
        )
    return ModelInfo.from_dict(config["sarhub"])


def choose(
    name: str | os.PathLike[str],
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    by_name: bool = False,
) -> Choice:
    """Return the weights that are meant.

    Args:
        name: a registered name, a published repository, a file, or the folder of a run.
        checkpoint_path: a file, or the folder of a run, in place of the weights of the name. What it says of itself
            must not contradict the name.
        preprocessing: for a file that does not describe itself, the registered name of weights with the preprocessing
            that it was trained with.
        by_name: ``name`` is that name, too; a warning says where a file has another preprocessing.

    Raises:
        OptionError: files or preprocessings contradict each other.
        CheckpointError: a file is of another network than the name or takes other bands, or does not describe itself
            and nothing else says its preprocessing.
        SarHubError: as :func:`find_info` says.
    """
    own = own_file(name)
    named = find_info(name) if own is None else None
    if own is not None and checkpoint_path is not None:
        raise OptionError(f"{name} is a file of weights, and so is {checkpoint_path}: give one of them")
    file = own if checkpoint_path is None else weights_file(Path(checkpoint_path))
    described = named if file is None else read_description(file)
    if described is None:
        assert file is not None
        same = named if by_name else None
        if same is None:  # a file that says nothing is refused here, where nothing else says it
            same = require_description(file) if preprocessing is None else find_info(preprocessing)
        return Choice(str(file), _undescribed(file, named, same), file, described=False)
    if preprocessing is not None:
        raise OptionError(f"{file or name} has its own preprocessing: that of {preprocessing} is not for it")
    if file is not None and named is not None:
        _check_agreement(named, described, file, by_name)
    return Choice(os.fspath(name), described, file)


def _undescribed(file: Path, named: ModelInfo | None, same: ModelInfo) -> ModelInfo:
    """Return all that is known of a file that says nothing of itself, but has the preprocessing of an entry."""
    return dataclasses.replace(
        same,
        name=file.stem if named is None else named.name,
        network=networks.identify(read_tensors(file)) if named is None else named.network,
        dataset=DatasetInfo("unknown", "data that are not stated", "sensor not stated", 0, None, False),
        num_classes=None,
        class_names=None,
        params=None,
        sources=(),
        checksum=None,
        citation=NOT_STATED,
        license_text=NOT_STATED,
        training=None,
        method=NOT_STATED,
    )


def _check_agreement(named: ModelInfo, described: ModelInfo, file: Path, by_name: bool) -> None:
    bands = {info.input.bands for info in (named, described)}
    if described.network != named.network or (len(bands) > 1 and any(len(names) > 1 for names in bands)):
        raise CheckpointError(
            f"{file} says that it is a {described.network} for {', '.join(described.input.bands)}, and {named.name} is "
            f"a {named.network} for {', '.join(named.input.bands)}; leave the name out: the file describes itself"
        )
    if by_name and described.preprocessing != named.preprocessing:
        warnings.warn(
            f"{file} was trained with another preprocessing than {named.name}: prepare its images with "
            "create_transform of the file",
            stacklevel=4,
        )
