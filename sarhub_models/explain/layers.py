"""The feature that is explained: which layer, and how it is read without a trace in the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OptionError, UnknownNameError, closest

__all__ = ["Feature", "default_layer", "device_of", "frozen", "layer_names"]


def layer_names(model: nn.Module) -> list[str]:
    """Return the names of the stages that timm's ``feature_info`` lists, from input to output; empty without it."""
    info = getattr(model, "feature_info", None)
    entries = list(getattr(info, "info", info) or [])
    return [entry["module"] for entry in entries if entry.get("module")]


def default_layer(model: nn.Module) -> str:
    """Return the last stage before pooling.

    Raises:
        OptionError: the network does not say what its stages are.
    """
    names = layer_names(model)
    if not names:
        raise OptionError(
            f"{type(model).__name__} has no feature_info, which would tell its stages: give layer=NAME, one of "
            "dict(model.named_modules())"
        )
    return names[-1]


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a network is on; one without tensors is on the CPU."""
    tensor = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if tensor is None else tensor.device


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode without gradients of its parameters, and leave it exactly as it was."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _, _ in flags:
            parameter.requires_grad_(False)
            parameter.grad = None  # what works inside may clear or change it
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag, gradient in flags:
            parameter.requires_grad_(flag)
            parameter.grad = gradient


class _Reached(Exception):
    """No error: it ends the forward pass at the layer."""


class Feature:
    """f: from chips before mean and standard deviation to the output of one layer.

    Args:
        model: any network; it is not changed. Use it inside :func:`frozen`.
        layer: name of one of its modules; by default :func:`default_layer`.
        mean: subtracted from the chip before the network sees it.
        std: divided by after the mean.

    Raises:
        UnknownNameError: the network has no such layer; the message names its stages.
        OptionError: no layer is given and the network does not list its stages.
    """

    def __init__(self, model: nn.Module, *, layer: str | None = None, mean: float = 0.0, std: float = 1.0) -> None:
        self.layer = default_layer(model) if layer is None else layer
        modules = dict(model.named_modules())
        if self.layer not in modules:
            stages = layer_names(model)
            raise UnknownNameError(
                f"{type(model).__name__} has no layer {self.layer!r}{closest(self.layer, modules)}"
                + (f"; its stages: {', '.join(stages)}" if stages else "")
            )
        self.model, self.mean, self.std = model, mean, std
        self._module = modules[self.layer]

    def __call__(self, chips: Tensor) -> Tensor:
        """Return the layer's output for (B, C, H, W), in float32 at least, also under ``torch.autocast``.

        The pass ends there, so what comes later cannot change the output in place.

        Raises:
            OptionError: the network does not get to the layer, or the layer does not put out one tensor.
        """
        seen: list[Any] = []

        def stop(module: nn.Module, inputs: Any, output: Any) -> None:
            seen.append(output)
            raise _Reached

        handle = self._module.register_forward_hook(stop)
        try:
            self.model((chips - self.mean) / self.std)
        except _Reached:
            pass
        finally:
            handle.remove()
        if not seen or not isinstance(seen[0], Tensor) or not seen[0].is_floating_point():
            what = "is not reached" if not seen else f"puts out a {type(seen[0]).__name__}, not one tensor of floats"
            raise OptionError(f"layer {self.layer!r} {what}; choose another layer")
        return seen[0].to(torch.promote_types(seen[0].dtype, torch.float32))
