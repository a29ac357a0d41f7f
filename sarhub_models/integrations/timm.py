"""Every model of the manifest under its own name in timm's registry.

After ``import sarhub_models``, ``timm.create_model("resnet50_ben", pretrained=True, features_only=True)`` and what is
built on it (segmentation_models_pytorch, …) work. The architectures are also there without weights, as
``sarhub_<network>``, so that timm can read a published repository of the networks that only this package has.

This module runs while timm is being imported, possibly by ``sarhub_models.networks``: whatever needs torch is imported
when a model is created.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from timm.models import generate_default_cfgs, is_model, register_model

from ..errors import OptionError
from ..zoo.manifest import list_models, list_networks, model_info

if TYPE_CHECKING:
    from torch import nn

__all__: list[str] = []  # timm appends the registered names
default_cfgs: dict[str, Any] = {}


def register() -> None:
    """Register all models with timm; called once, when timm is imported."""
    tags = defaultdict(list)
    for name in list_models():
        tags[name.partition(".")[0]].append(name)
    for architecture, names in tags.items():
        _register(architecture, _entry_point(architecture), {name: _config(name) for name in names})
    for network in list_networks():
        name = f"sarhub_{network}"
        _register(name, _bare(network), {name: {"input_size": (3, 128, 128)}})


def _register(name: str, function: Callable[..., nn.Module], configs: Mapping[str, dict[str, Any]]) -> None:
    if is_model(name):
        warnings.warn(f"{name} is timm's own name; it stays timm's", stacklevel=2)
        return
    default_cfgs.update(generate_default_cfgs(configs))
    function.__name__ = name
    function.__module__ = __name__
    register_model(function)


def _config(name: str) -> dict[str, Any]:
    info = model_info(name)
    side = info.preprocessing.side or 128
    mean, std = info.statistics(range(info.input.channels))
    return {
        "url": f"sarhub:{name}",  # tells timm that there are weights; fetching them is this package's work
        "num_classes": info.num_classes or 0,
        "input_size": (info.input.channels, side, side),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": mean,
        "std": std,
    }


def _entry_point(architecture: str) -> Callable[..., nn.Module]:
    def create(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Mapping[str, Any] | None = None,
        cache_dir: str | None = None,
        **options: Any,
    ) -> nn.Module:
        from ..models.create import create_model

        tag = pretrained_cfg if isinstance(pretrained_cfg, str) else getattr(pretrained_cfg, "tag", None)
        overlay = dict(pretrained_cfg_overlay or {})
        file = overlay.pop("file", None)
        model = create_model(
            f"{architecture}.{tag}" if tag else architecture,
            pretrained=pretrained,
            checkpoint_path=file if pretrained else None,
            cache_dir=cache_dir,
            **options,
        )
        model.pretrained_cfg.update(overlay)  # type: ignore[union-attr, operator]
        return model

    create.__doc__ = f"{architecture} of sarhub_models, with timm's arguments."
    return create


def _bare(network: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> nn.Module:
        from .. import networks

        if pretrained and not isinstance(pretrained_cfg, dict):  # timm hands over a published repository's as a dict
            raise OptionError(f"{network} has no weights of its own; 'sarhub list' shows the names that have")
        if isinstance(pretrained_cfg, dict):
            options["pretrained_cfg"] = pretrained_cfg
        return networks.spec(network).build(pretrained=pretrained, **options)

    create.__doc__ = f"{network} of sarhub_models, without weights of its own."
    return create
