"""Low-rank adapters (LoRA) beside the linear layers of a network, through the package peft.

Hu, Shen, Wallis et al.: LoRA: Low-rank adaptation of large language models. ICLR 2022.
"""

from __future__ import annotations

import copy

from torch import nn

from .. import networks
from ..errors import MissingDependencyError, OptionError

_ALPHA = 2  # the adapters' output counts by alpha / rank; twice the rank is peft's and the paper's habit


def add_adapters(network: nn.Module, name: str, rank: int) -> nn.Module:
    """Put adapters beside the linear layers of a transformer; they and the head are trained, the rest is not.

    Args:
        network: with its weights; it is changed.
        name: of the network, one of ``list_networks()``.
        rank: of the adapters.

    Raises:
        OptionError: it is no transformer.
        MissingDependencyError: peft is not installed.
    """
    head = networks.spec(name).head
    layers = [
        key
        for key, module in network.named_modules()
        if isinstance(module, nn.Linear) and not key.startswith(head) and ".attn." in f".{key}."
    ]
    if not layers:
        raise OptionError(
            f"LoRA is for the attention of transformers, and {name} has none; freeze the backbone instead"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as err:
        raise MissingDependencyError("LoRA needs peft: pip install 'sarhub-models[lora]'") from err
    config = LoraConfig(r=rank, lora_alpha=_ALPHA * rank, target_modules=layers)
    adapted: nn.Module = inject_adapter_in_model(config, network)  # freezes all but the adapters
    adapted.get_submodule(head).requires_grad_(True)
    return adapted


def without_adapters(network: nn.Module) -> nn.Module:
    """Return the network with its adapters added to its own weights, a copy; without any, the network itself."""
    found = [(name, module) for name, module in network.named_modules() if hasattr(module, "lora_A")]
    if not found:
        return network
    plain = copy.deepcopy(network)
    for name, _ in found:
        layer = plain.get_submodule(name)
        layer.merge()  # type: ignore[operator]
        parent, _, child = name.rpartition(".")
        setattr(plain.get_submodule(parent), child, layer.get_base_layer())  # type: ignore[operator]
    return plain
