"""Parts that all vision transformers share: their patches, and their position embeddings at other image sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed
from timm.models import build_model_with_cfg
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..errors import OptionError
from ._spec import NetworkSpec, Tensors, keep_names

SIDE = 224  # of the images that nearly all of them were trained with


def check_patches(patch: int, options: Mapping[str, Any]) -> None:
    """Refuse images that are no whole number of patches."""
    height, width = sides(options)
    if min(height, width) < patch or height % patch or width % patch:
        raise OptionError(f"img_size {height}x{width}: both sides must be multiples of {patch}, the size of a patch")


def sides(options: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the images of a network with these options."""
    size = options["img_size"]
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def fit_positions(patch: int, prefix: int, tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> Tensors:
    """Resample the position embeddings to the image size that the network is built for.

    Args:
        patch: pixels a side of a patch.
        prefix: tokens with an embedding that are no patch.
        tensors: under our names.
        options: of the network.
    """
    height, width = sides(options)
    grid = [height // patch, width // patch]
    embedding = tensors["pos_embed"]
    if embedding.shape[1] == grid[0] * grid[1] + prefix:
        return dict(tensors)
    return {**tensors, "pos_embed": resample_abs_pos_embed(embedding, grid, num_prefix_tokens=prefix, antialias=False)}


def create_vit(
    name: str,
    settings: Mapping[str, Any],
    pretrained: bool = False,
    cls: type[VisionTransformer] = VisionTransformer,
    **options: Any,
) -> nn.Module:
    """Build timm's vision transformer with settings that have no name there.

    Args:
        name: what timm's configuration calls it.
        settings: for the class; ``options`` come first.
        cls: timm's :class:`timm.models.vision_transformer.VisionTransformer` or one that differs in a detail.
        pretrained: for timm.
        **options: of the user.
    """
    out_indices = options.pop("out_indices", 3)
    return build_model_with_cfg(
        cls,
        name,
        pretrained,
        feature_cfg={"out_indices": out_indices, "feature_cls": "getter"},
        **{**settings, **options},
    )


def vit_spec(
    timm_name: str,
    patch: int,
    *,
    settings: Mapping[str, Any] | None = None,
    side: int = SIDE,
    prefix: int = 1,
    rename: Callable[[Mapping[str, torch.Tensor]], Tensors] = keep_names,
    cls: type[VisionTransformer] = VisionTransformer,
    by_band: tuple[str, ...] = (),
) -> NetworkSpec:
    """Return the description of a vision transformer with one table of position embeddings.

    Args:
        timm_name: its name in timm's registry, or one of ours.
        patch: pixels a side of a patch.
        settings: of timm's class, where timm has no such network by name.
        side: of the images that it was trained with.
        prefix: tokens with an embedding that are no patch.
        rename: as in :class:`NetworkSpec`.
        cls: what to build with ``settings``.
        by_band: as in :class:`NetworkSpec`.
    """
    return NetworkSpec(
        timm_name=timm_name,
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": side},
        rename=rename,
        create=None if settings is None else partial(create_vit, timm_name, {"patch_size": patch, **settings}, cls=cls),
        check=partial(check_patches, patch),
        fit=partial(fit_positions, patch, prefix),
        by_band=by_band,
    )
