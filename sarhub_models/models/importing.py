"""Files of weights that a user has: which model they are, and into the cache with them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .. import networks
from ..errors import CheckpointError, IntegrityError
from ..io.files import digests
from ..weights import Store, read_tensors
from ..weights.trust import matches
from ..zoo.description import read_description
from ..zoo.entries import ModelInfo
from ..zoo.manifest import list_datasets, list_models, model_info
from .loading import NO_HEAD, spec_of

__all__ = ["Imported", "import_checkpoint"]


@dataclass(frozen=True)
class Imported:
    """The decision of :func:`import_checkpoint`.

    Attributes:
        info: the model that the file was taken for.
        path: the converted file in the cache.
        reasons: why it was taken for that model, one sentence each.
    """

    info: ModelInfo
    path: Path
    reasons: tuple[str, ...]


def import_checkpoint(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    tensors_only: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Imported:
    """Check a released file that was fetched by hand, convert it and put it into the cache.

    Args:
        path: the file, ``.pth``, ``.safetensors`` or ``.npz``; it is left as it is.
        name: the model it holds; by default the tensors tell the network, and the file's name together with the size
            of the head the data set.
        tensors_only: also read a file that holds objects of other programs, and leave those out; nothing of them is
            imported or called.
        cache_dir: as for :func:`create_model`.

    Returns:
        The decision; from now on ``create_model(decision.info.name, pretrained=True)`` finds the weights.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, unsafe or of no known network, fits no or several models, or says that it
            holds other weights.
        IntegrityError: the file is not the published one, or not the one that was imported before.
        UnknownNameError: no model has that name.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; expected a file of weights")
    name = _checked_name(file, name)
    given = None if name is None else model_info(name)
    tensors_only = tensors_only or (given is not None and given.tensors_only)
    tensors = read_tensors(file, tensors_only=tensors_only)
    # Some networks differ in their released files alone: what is said comes before what is found first.
    fits = given is not None and not networks.misfits(given.network, tensors)
    network = given.network if given is not None and fits else networks.identify(tensors)
    renamed, steps = networks.explain_renaming(network, tensors)
    classes = networks.head_classes(network, renamed)
    channels = networks.stem_channels(network, renamed)
    reasons = [
        f"its tensors are those of {network}",
        *steps,
        f"its input has {channels} channels",
        f"its head has {classes} classes" if classes else "it has no head",
    ]
    if given is None:
        info = _guess(file, network, channels, classes, reasons)
    else:
        info = given
        if (
            info.network != network
            or info.input.channels != channels
            or info.num_classes not in (None, NO_HEAD, classes)
        ):
            raise CheckpointError(
                f"{file.name} is not {name}, a {info.network} with {info.input.channels} channels and "
                f"{info.num_classes} classes: {', '.join(reasons)}"
            )
        reasons.append(f"it was imported as {name}")
    try:
        path = Store(cache_dir).import_file(file, info, spec_of(info), tensors_only=tensors_only)
    except IntegrityError as err:
        raise IntegrityError(f"{file.name}, taken for {info.name} ({'; '.join(reasons)}): {err}") from err
    return Imported(info, path, tuple(reasons))


_USUAL = frozenset(["best", "checkpoint", "last", "model", "pytorch_model", "weights"])
"""What training programs call their files."""


def _checked_name(file: Path, name: str | None) -> str | None:
    """Return the name of the model, which a file from another cache says itself.

    Raises:
        CheckpointError: the file says that it holds the weights of another model, or of one's own.
    """
    described = read_description(file)
    if described is None:
        return name
    if not described.sources:
        raise CheckpointError(
            f"{file.name} says that it holds weights of one's own ({described.name}), which have no registered name: "
            f"use them as they are, create_model({str(file)!r})"
        )
    if name not in (None, described.name):
        raise CheckpointError(f"{file.name} says that it is {described.name}, not {name}")
    return described.name if described.name in list_models() else name


def _guess(file: Path, network: str, channels: int, classes: int, reasons: list[str]) -> ModelInfo:
    infos = [info for name in list_models(network=network) if (info := model_info(name)).input.channels == channels]
    usual = file.stem.lower() in _USUAL  # a name that proves nothing
    released = [] if usual else [info for info in infos if file.name in _released_names(info)]
    if len(released) == 1:
        reasons.append("its name is that of the released file")
        return released[0]
    fits = [i for i in infos if i.num_classes == classes] or [i for i in infos if not i.num_classes]
    named = {data for data in list_datasets() if re.search(rf"(?i)(?<![a-z]){data}(?![a-z])", file.stem)}
    if named and not named & {info.dataset.name for info in fits}:
        raise CheckpointError(
            f"{file.name} names the data set {' and '.join(sorted(named))}, but {' and '.join(reasons)}, which fits "
            f"{_names(fits)}: rename the file, or give the name of the model"
        )
    if named:
        reasons.append(f"its name says {' and '.join(sorted(named))}")
    # The number of classes alone proves nothing (MSTAR has as many as OpenSARUrban); a checksum does.
    fits = [i for i in fits if i.dataset.name in named] if named else _by_checksum(file, fits)
    if len(fits) != 1:
        raise CheckpointError(
            f"cannot tell which model {file.name} is: {' and '.join(reasons)}, and its name has no data set that fits "
            "one model alone; give the name of the model, or use the file as it is with "
            "create_model(name, checkpoint_path=…)"
        )
    return fits[0]


def _by_checksum(file: Path, infos: list[ModelInfo]) -> list[ModelInfo]:
    """Return the models whose published checksum is that of the file."""
    if all(info.checksum is None for info in infos):
        return []
    found = digests(file)
    return [info for info in infos if info.checksum is not None and matches(info.checksum, found)]


def _released_names(info: ModelInfo) -> set[str]:
    """Return what the released file is called at its sources."""
    addresses = (source.get("filename", source.get("url", "")) for source in info.sources)
    return {PurePosixPath(address).name for address in addresses}


def _names(infos: list[ModelInfo]) -> str:
    return " and ".join(info.name for info in infos) or "no registered model"
