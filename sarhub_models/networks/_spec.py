"""The description of one architecture, for the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


def keep_shapes(tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> Tensors:
    """Fit nothing: no option of the network changes the shape of a trained tensor in a way that could be undone."""
    return dict(tensors)


def keep_names(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Rename nothing: the released file uses timm's names already."""
    return dict(tensors)


@dataclass(frozen=True)
class NetworkSpec:
    """One architecture.

    Attributes:
        timm_name: its name in timm's registry; the ones that only this package has start with ``sarhub_``.
        stem: name of the first convolution.
        head: name of the classifier.
        timm_args: what timm's builder must be told to get this very network.
        rename: turns the tensors of a released checkpoint into this package's, and leaves ours as they are.
        create: builds it in place of timm, for networks that timm lacks.
        check: refuses options that the trained weights do not fit.
        fit: resamples trained tensors to the network's options, those of ``timm_args`` included.
        by_band: tensors beside the first convolution whose second axis are the channels of the input.
        drops_paths: takes a ``drop_path_rate``.
        torch_init: starts training from PyTorch's own initialization of its layers, not from timm's.
        shared_names: under this package's names its tensors are those of a plain network, too, of which it differs in
            what has no tensor (padding, say), so that only a released file tells that it is this one.
        lookalike: name of another network with the same tensors under the same names, which computes something else.
        imagenet: finds a checkpoint of ImageNet in an installed package; where there is none, timm's is fetched.
    """

    timm_name: str
    stem: str
    head: str
    timm_args: Mapping[str, Any] = field(default_factory=dict)
    rename: Callable[[Mapping[str, torch.Tensor]], Tensors] = keep_names
    create: Callable[..., nn.Module] | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None
    fit: Callable[[Mapping[str, torch.Tensor], Mapping[str, Any]], Tensors] = keep_shapes
    by_band: tuple[str, ...] = ()
    drops_paths: bool = True
    torch_init: bool = False
    shared_names: bool = False
    lookalike: str = ""
    imagenet: Callable[[], Path | None] = lambda: None

    def build(self, **options: Any) -> nn.Module:
        """Build the network with timm's initialization; ``options`` come before ``timm_args``."""
        options = {**self.timm_args, **options}
        if self.check is not None:
            self.check(options)
        return self.create(**options) if self.create is not None else timm.create_model(self.timm_name, **options)
