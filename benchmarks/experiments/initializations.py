"""What a network may start from, and under which label that stands in the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
from torch import nn

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models import networks as architectures
from sarhub_models.engine.checkpoint import BEST
from sarhub_models.engine.run import load_run
from sarhub_models.errors import OptionError

__all__ = ["Start", "parse_start", "starts_of", "usual_starts", "without_imagenet"]

ANY = ("none", "imagenet")  # what every network can start from
_PREFIX = re.compile(rf"({'|'.join(networks.names())}):(.*)", re.DOTALL)


@dataclass(frozen=True)
class Start:
    """One initialization.

    Attributes:
        label: what it is called in the table.
        init: what ``model.init`` of a recipe takes.
        network: the only network it is for, or ``None``.
        run: folder of the run that made the weights, if it was one.
    """

    label: str
    init: str
    network: str | None = None
    run: Path | None = None

    def transform(self) -> nn.Module | None:
        """Return the preprocessing that belongs to the weights, or ``None`` where that is not known."""
        if self.run is not None:
            return load_run(self.run).transform()
        if self.init in ANY or Path(self.init).expanduser().is_file():
            return None
        transform = sarhub.create_transform(self.init)
        return transform if len(transform.bands) == 1 else None


def parse_start(text: str) -> Start:
    """Read one ``--init``.

    Args:
        text: ``[NETWORK:][LABEL=]PLACE`` with ``none``, ``imagenet``, a registered name, a file of weights, or the
            folder of a finished run of :mod:`training.pretrain`. Weights whose network is known are for that one only.

    Raises:
        UnknownNameError: the place is neither a file nor a folder nor a name; the message gives the closest name.
        DataError: the folder holds no finished run.
        OptionError: a part is empty.
    """
    prefix = _PREFIX.fullmatch(text)
    network, rest = prefix.groups() if prefix else (None, text)
    label, equals, place = ("", "", rest) if Path(rest).expanduser().exists() else rest.partition("=")
    if not equals:
        label, place = "", rest
    if not place or (equals and not label):
        raise OptionError(f"expected --init [NETWORK:][LABEL=]PLACE, got {text!r}")
    path = Path(place).expanduser()
    if path.is_dir():
        run = load_run(path)
        found = run.recipe.model.network
        return Start(label or path.resolve().name, str(path / BEST), _agreed(network, found, text), path)
    if place in ANY or path.is_file():
        return Start(label or (place if place in ANY else path.stem), place, network)
    return Start(label or place, place, _agreed(network, sarhub.model_info(place).network, text))


def _agreed(given: str | None, found: str, text: str) -> str:
    if given not in (None, found):
        raise OptionError(f"--init {text}: these are weights of {found}, not of {given}")
    return found


def without_imagenet(networks: Iterable[str]) -> list[str]:
    """Return those of some networks for which timm has no ImageNet weights."""
    configs = {name: timm.get_pretrained_cfg(architectures.spec(name).timm_name) for name in networks}
    return [name for name, config in configs.items() if config is None or config.hf_hub_id is None]


def usual_starts(networks: Sequence[str]) -> list[Start]:
    """Return nothing for all networks and ImageNet's weights for those that have some."""
    without = without_imagenet(networks)
    pretrained = [Start("imagenet", "imagenet", name) for name in networks if name not in without]
    return [Start("none", "none"), *pretrained]


def starts_of(starts: Sequence[Start], networks: Sequence[str]) -> dict[str, list[Start]]:
    """Return what each network is trained from.

    Raises:
        OptionError: two have one label, or one is for none of the networks, or a network has nothing to start from, or
            no weights of ImageNet.
    """
    chosen = {n: [start for start in starts if start.network in (None, n)] for n in networks}
    for network, found in chosen.items():
        labels = [start.label for start in found]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise OptionError(f"{network} has two initializations called {twice[0]!r}: --init LABEL=PLACE names them")
        if not found:
            raise OptionError(f"{network} has nothing to start from: --init none, or weights of it")
    trained = [network for network, found in chosen.items() if any(start.init == "imagenet" for start in found)]
    if without := without_imagenet(trained):
        raise OptionError(
            f"--init imagenet: timm has no ImageNet weights for {', '.join(without)}; --init NETWORK:imagenet is for "
            "one network only"
        )
    if idle := [start for start in starts if not any(start in found for found in chosen.values())]:
        raise OptionError(
            f"--init {idle[0].label} holds weights of {idle[0].network}, which is not among --networks "
            f"{','.join(networks)}"
        )
    return chosen
