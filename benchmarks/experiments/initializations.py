"""Starting weights of networks, and their labels in tables."""

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
from sarhub_models.engine.run import load_run
from sarhub_models.errors import OptionError
from sarhub_models.transforms import Pipeline
from sarhub_models.zoo.description import BEST, read_description

__all__ = [
    "NONE",
    "Initialization",
    "initializations_of",
    "none_and_sar",
    "parse_initialization",
    "usual_initializations",
    "without_imagenet",
]

ANY = ("none", "imagenet")  # what every network can start from
_PREFIX = re.compile(rf"({'|'.join(networks.names())}):(.*)", re.DOTALL)


@dataclass(frozen=True)
class Initialization:
    """One initialization.

    Attributes:
        label: its name in tables and folders.
        init: what ``model.init`` of a recipe takes.
        network: the only network it is for, or ``None``.
        run: folder of the run that made the weights, if it was one.
    """

    label: str
    init: str
    network: str | None = None
    run: Path | None = None

    def transform(self) -> nn.Module | None:
        """Return the preprocessing that belongs to the weights, or ``None`` where that is not known.

        Raises:
            OptionError: the weights do not take amplitude, which is what the data sets are read as.
        """
        if self.run is not None:
            return _of_amplitude(self.init, load_run(self.run).transform())
        file = Path(self.init).expanduser()
        if self.init in ANY or (file.is_file() and read_description(file) is None):
            return None
        transform = sarhub.create_transform(self.init)
        return _of_amplitude(self.init, transform) if len(transform.bands) == 1 else None


def _of_amplitude(init: str, transform: Pipeline) -> Pipeline:
    if not transform.takes_amplitude:
        raise OptionError(f"{init} does not take amplitude, which is what the data sets are read as")
    return transform


NONE = Initialization("none", "none")
_SAR = {"mobilenetv3": "mobilenetv3_dsn"}  # bundled weights


def none_and_sar(networks: Sequence[str], pretrained: Sequence[str]) -> dict[str, list[Initialization]]:
    """Return for each network random weights and, with the label ``SAR``, SAR pre-trained ones.

    Args:
        networks: architectures.
        pretrained: ``NETWORK=PLACE``, where a place is what :func:`parse_initialization` takes; MobileNetV3 has the
            bundled weights by default.

    Raises:
        OptionError: a text has another form, weights are of another network, or those of a network are not given.
        SarHubError: as :func:`parse_initialization` says.
    """
    places = dict(_SAR)
    for text in pretrained:
        network, _, place = text.partition("=")
        if not network or not place:
            raise OptionError(f"expected --pretrained NETWORK=RUN_DIR, NETWORK=NAME or NETWORK=FILE, got {text!r}")
        places[network] = place
    if missing := [network for network in networks if network not in places]:
        raise OptionError(
            f"the SAR pre-trained weights of {missing[0]} are not given: --pretrained {missing[0]}=RUN_DIR, a run of "
            f"'python -m training.pretrain {missing[0]}_dsn', or a name of 'sarhub list'"
        )
    return {network: [NONE, parse_initialization(f"{network}:SAR={places[network]}")] for network in networks}


def parse_initialization(text: str) -> Initialization:
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
        return Initialization(label or path.resolve().name, str(path / BEST), _agreed(network, found, text), path)
    if place in ANY:
        return Initialization(label or place, place, network)
    if path.is_file():
        described = read_description(path)
        agreed = network if described is None else _agreed(network, described.network, text)
        return Initialization(label or path.stem, place, agreed)
    return Initialization(label or place, place, _agreed(network, sarhub.model_info(place).network, text))


def _agreed(given: str | None, found: str, text: str) -> str:
    if given not in (None, found):
        raise OptionError(f"--init {text}: these are weights of {found}, not of {given}")
    return found


def without_imagenet(networks: Iterable[str]) -> list[str]:
    """Return those of some networks for which timm has no ImageNet weights."""
    configs = {name: timm.get_pretrained_cfg(architectures.spec(name).timm_name) for name in networks}
    return [name for name, config in configs.items() if config is None or config.hf_hub_id is None]


def usual_initializations(networks: Sequence[str]) -> list[Initialization]:
    """Return random weights for all networks and ImageNet's for those that have some."""
    without = without_imagenet(networks)
    pretrained = [Initialization("imagenet", "imagenet", name) for name in networks if name not in without]
    return [NONE, *pretrained]


def initializations_of(
    initializations: Sequence[Initialization], networks: Sequence[str]
) -> dict[str, list[Initialization]]:
    """Return what each network is trained from.

    Raises:
        OptionError: two have one label, or one is for none of the networks, or a network has nothing to start from, or
            no weights of ImageNet.
    """
    chosen = {n: [start for start in initializations if start.network in (None, n)] for n in networks}
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
    if idle := [start for start in initializations if not any(start in found for found in chosen.values())]:
        raise OptionError(
            f"--init {idle[0].label} holds weights of {idle[0].network}, which is not among --networks "
            f"{','.join(networks)}"
        )
    return chosen
