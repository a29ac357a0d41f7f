"""Entry points of ``torch.hub``: every model of the list of weights under its name, and their preprocessing.

``torch.hub.load("OWNER/REPOSITORY", "resnet50_ben", pretrained=True)``; for a clone, ``torch.hub.load(FOLDER,
"resnet50_ben", source="local", pretrained=True)``.
"""

from __future__ import annotations

import typing as _t

import sarhub_models as _sarhub

if _t.TYPE_CHECKING:
    from torch import nn

dependencies = [
    "filelock",
    "gdown",
    "huggingface_hub",
    "lazy_loader",
    "numpy",
    "platformdirs",
    "requests",
    "rich",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "wrapt",
]


def create_transform(name: str, *, training: bool = False, **options: _t.Any) -> nn.Module:
    """Return the preprocessing of a model: ``torch.hub.load(..., "create_transform", "resnet50_ben")``.

    Args:
        name: a name of ``torch.hub.list``.
        training: augment as in pre-training.
        **options: see ``sarhub_models.create_transform``.
    """
    return _sarhub.create_transform(name, training=training, **options)


def _entry(name: str) -> _t.Callable[..., nn.Module]:
    info = _sarhub.model_info(name)

    def create(pretrained: bool | str = False, **options: _t.Any) -> nn.Module:
        return _sarhub.create_model(name, pretrained=pretrained, **options)

    create.__name__ = create.__qualname__ = name.replace(".", "_")
    create.__doc__ = f"""{info.network}, trained on {info.dataset.title}.

    Args:
        pretrained: load the SAR-pretrained weights (True, or the path of a checkpoint).
        **options: num_classes, in_chans, features_only, …; see ``sarhub_models.create_model``.

    Returns:
        The network; prepare its input with ``create_transform("{name}")``. Cite {info.citation}
    """
    return create


for _name in _sarhub.list_models():
    globals()[_name] = _entry(_name)
    # A tagged name has a dot: it loads as it is, and under an underscore where Python wants an identifier.
    globals()[_name.replace(".", "_")] = globals()[_name]
