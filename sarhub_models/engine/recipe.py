"""A recipe: everything that decides what a training run computes, in sections, each value with its default.

The defaults are SAR-HUB's pre-training (Remote Sensing 15(23), 5534, 2023). The recipe ``<network>_<data>`` of a folder
puts the values of the data set in the catalog, ``network/<family>.yaml`` and, where there is one,
``<network>_<data>.yaml`` over them; several sources, whose name is free, are those of ``data/<data>.yaml``. For
fine-tuning, ``finetune/base.yaml`` and ``finetune/<family>.yaml`` follow. Each overrides the ones before, and
assignments such as ``optim.epochs=10`` override all of them. A data set may have ``variants``, which belong to one
choice of a value, such as ``data.train``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from .. import networks
from ..datasets import catalog
from ..errors import DataError, ManifestError, OptionError, UnknownNameError, closest
from .sections import Model, Recipe, Training, data_names

# What is below them is checked by whom it belongs to: a reader, the chain of given weights, and the recipe's sections.
_OPEN = ("data.options", "data.input", "data.sources", "preprocess.given")


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
        places = [f"{'.'.join(map(str, e['loc']))}: " if e["loc"] else "" for e in err.errors()]
        wrong = [f"{place}{e['msg']}{_got(e['input'])}" for place, e in zip(places, err.errors(), strict=True)]
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
    try:
        return dict(OmegaConf.to_container(OmegaConf.merge(*(OmegaConf.create(dict(one)) for one in layers))))  # type: ignore
    except (OmegaConfBaseException, ValueError, TypeError, AssertionError) as err:  # a list in place of a section
        raise ManifestError(f"the recipe does not hold: {str(err).strip().partition(chr(10))[0]}") from err


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values, such as those that an earlier version stored, over the defaults of the others."""
    least = Recipe(model=Model(network=networks.names()[0]), data=Training(name=data_names()[0]))
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
        if (folder / f"{name}.yaml").is_file():  # of several sources, whose name is free
            network, _, data = name.rpartition("_")
            own = {"model": {"network": network}, "data": {"name": data}}
            return merged(*(_read(folder / f"{file}.yaml") for file in (f"data/{data}", name)), own)
        raise UnknownNameError(
            f"no recipe is called {name!r}{closest(name, known)}; a recipe is <network>_<data>, such as "
            f"{known[0]}, or a YAML file; networks: {', '.join(networks.names())}; data: {', '.join(data_names())}"
        )
    # Both may have underscores in their names
    network = next(n for n in networks.names() if name.removeprefix(f"{n}_") in data_names() and name.startswith(n))
    data = name.removeprefix(f"{network}_")
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
