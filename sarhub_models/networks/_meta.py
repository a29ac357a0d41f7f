"""Networks without numbers: built on the meta device, then given tensors that exist already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_IN_PLACE = frozenset(
    getattr(torch.Tensor, name)
    for name in ("add_", "clamp_", "copy_", "erfinv_", "fill_", "mul_", "normal_", "uniform_", "zero_")
)


class _SkipFills(TorchFunctionMode):
    """Drop in-place arithmetic on meta tensors: it is how layers initialize, and takes most of a meta build's time."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _IN_PLACE and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Within this context modules are built with meta tensors: shapes and dtypes, no memory, no random numbers."""
    with torch.device("meta"), _SkipFills():
        yield


def select_for_features(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors that a ``features_only`` network keeps, under the names it gives them.

    timm's feature wrappers drop the head and later stages, and rename what is left by joining levels with an
    underscore (``layers.0`` → ``layers_0``) or by putting ``model.`` in front.

    Args:
        model: the wrapped network.
        tensors: every tensor of the network itself.

    Raises:
        KeyError: the wrapper has a tensor that the network has not.
    """
    joined = {name.replace(".", "_"): tensor for name, tensor in tensors.items()}
    return {name: joined[name.removeprefix("model.").replace(".", "_")] for name in model.state_dict()}


def assign(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a module built :func:`on_meta_device` its tensors, without copying them.

    Buffers that no checkpoint holds (Swin's index tables and masks) are computed as the ordinary constructor does.

    Args:
        model: the module, all of it on the meta device.
        tensors: every tensor of its ``state_dict``; they become its parameters and buffers.

    Raises:
        RuntimeError: a name or shape differs, or a buffer is left that no one can compute.
    """
    model.load_state_dict(tensors, strict=True, assign=True)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                module._buffers[name] = torch.empty_like(buffer, device="cpu")
        if hasattr(module, "init_non_persistent_buffers"):
            # timm's own. Every module that has it, since a mask that is not there yet does not show as a meta buffer.
            cast(Callable[[], None], module.init_non_persistent_buffers)()
    left = [name for name, tensor in model.state_dict(keep_vars=True).items() if tensor.is_meta]
    left += [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if left:
        raise RuntimeError(f"no numbers for {', '.join(left[:3])}")
