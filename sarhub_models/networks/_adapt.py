"""Checkpoints of training programs: prefixes of wrappers, heads under other names, tensors that only training needs."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import torch

from ._spec import NetworkSpec, Tensors

# Under these names training programs keep the network itself.
_WRAPPERS = frozenset(
    [
        "_orig_mod",
        "backbone",
        "base_model",
        "encoder",
        "model",
        "module",
        "net",
        "network",
        "student",
        "teacher",
        "vision_encoder",
    ]
)
_OF_LARGER = ("backbone.", "encoder.")
"""Ends of prefixes beside which a detector, segmenter or auto-encoder keeps its other parts."""
_OF_TRAINING = re.compile(r"criterion|loss|metric|accuracy|head|classifier|fc(?!_norm)|^n_averaged$", re.IGNORECASE)
_HEADS = frozenset(["classifier", "cls_head.fc", "fc", "head", "head.fc"])
"""Names of a classifier."""
_COUNTER = "num_batches_tracked"

Layout = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def adapt(
    entry: NetworkSpec, layout_of: Callable[[Tensors], Layout], tensors: Mapping[str, torch.Tensor]
) -> tuple[Tensors, tuple[str, ...]] | None:
    """Return the network's tensors in a checkpoint of a training program, and what was done to get them.

    Every tensor of the network but the head must be there, under one prefix of wrappers; what is left must be the head
    or look like a loss or metric, but beside ``backbone.`` and ``encoder.``, where other parts of a larger network are
    left out, too. Shapes are left to the caller.

    Args:
        entry: the network.
        layout_of: takes tensors under our names, returns what the network with that head and input stores.
        tensors: the checkpoint.

    Returns:
        The tensors under our names and the steps in words, or ``None`` where it is no checkpoint of this network.
    """
    for prefix in sorted({prefix for name in tensors for prefix in _prefixes(name)}, key=len):
        if (found := _below(prefix, entry, layout_of, tensors)) is not None:
            return found
    return None


def _prefixes(name: str) -> Iterable[str]:
    prefix = ""
    yield prefix
    for part in name.split("."):
        if part not in _WRAPPERS:
            return
        prefix += f"{part}."
        yield prefix


def _below(
    prefix: str, entry: NetworkSpec, layout_of: Callable[[Tensors], Layout], tensors: Mapping[str, torch.Tensor]
) -> tuple[Tensors, tuple[str, ...]] | None:
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    renamed = entry.rename(inside)
    head = f"{entry.head}."
    body = {name for name in layout_of(renamed) if not name.startswith(head)}
    lacking = body - renamed.keys()
    extra = {name: renamed[name] for name in renamed.keys() - body if not name.startswith(head)}
    own = {name.partition(".")[0] for name in body}
    if any(not name.endswith(_COUNTER) for name in lacking) or any(name.partition(".")[0] in own for name in extra):
        return None  # another network, or a deeper one
    beside = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    others = {name for name in beside if not _OF_TRAINING.search(name)} if prefix.endswith(_OF_LARGER) else set()
    if any(name.endswith(f"{entry.stem}.weight") for name in others):
        return None  # a second one, and nobody says which is meant
    rest = extra | beside
    found = {name: tensor for name, tensor in renamed.items() if name not in extra}
    found |= {name: torch.tensor(0) for name in lacking}
    steps = [f"the prefix {prefix} was removed"] if prefix else []
    steps += [f"{len(lacking)} counters of batches that it lacks are 0"] if lacking else []
    if f"{head}weight" not in found and (other := _other_head(rest, entry, layout_of, found, named=bool(others))):
        weight = rest.pop(f"{other}.weight")
        found |= {f"{head}weight": weight, f"{head}bias": rest.pop(f"{other}.bias", weight.new_zeros(len(weight)))}
        steps.append(f"its head is {other}")
    if not all(_OF_TRAINING.search(name) for name in rest.keys() - others):
        return None
    if not others and (lost := [name for name, t in rest.items() if name.endswith("weight") and t.ndim == 2]):
        warnings.warn(f"linear layers of the file are left out, {lost[0]} among them: is it its head?", stacklevel=2)
    steps += [f"{len(others)} tensors of other parts were left out ({min(others)})"] if others else []
    if of_training := rest.keys() - others:
        steps.append(f"{len(of_training)} tensors of its training were left out ({min(of_training)})")
    return found, tuple(steps)


def _other_head(
    rest: Tensors, entry: NetworkSpec, layout_of: Callable[[Tensors], Layout], found: Tensors, named: bool
) -> str | None:
    """Return the linear layer in the rest that takes the features of the network and gives the classes.

    It is called as classifiers are, or (unless it must be ``named`` so) there is no other; a layer that others follow
    in the same part is none.
    """
    linear = [name.removesuffix(".weight") for name, t in rest.items() if name.endswith(".weight") and t.ndim == 2]
    parts = Counter(name.rpartition(".")[0] for name in linear if "." in name)
    fitting = []
    for name in linear:
        weight = rest[f"{name}.weight"]
        expected = layout_of({**found, f"{entry.head}.weight": weight}).get(f"{entry.head}.weight")
        alone = parts[name.rpartition(".")[0]] < 2
        if expected is not None and expected[0] == tuple(weight.shape) and alone:
            fitting.append(name)
    called = [name for name in fitting if name in _HEADS]
    return (called or fitting)[0] if len(called) == 1 or (len(fitting) == 1 and not named) else None
