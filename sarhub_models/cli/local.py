"""Weights on this disk and devices of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DownloadError, OptionError, UnknownNameError
from ..zoo.manifest import ModelInfo, model_info

__all__ = ["on_disk", "usable_device", "weights_location"]


@contextmanager
def on_disk(name: str | None) -> Iterator[None]:
    """Tell weights that are not on this disk (a failure) from unknown names (a wrong call)."""
    try:
        yield
    except UnknownNameError as err:
        if name is not None:
            model_info(name)
        raise DownloadError(str(err)) from err


def usable_device(name: str) -> str:
    """Return the name of a device that can be used; ``"auto"`` is a GPU if there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as err:  # which of them depends on how torch was built
        raise OptionError(f"cannot use the device {name!r}: {str(err).splitlines()[0]}") from err
    return name


def weights_location(info: ModelInfo) -> str | None:
    """Return where the weights are on this disk: ``"cached"``, ``"bundled"`` or, if nowhere, ``None``."""
    from ..weights import Store
    from ..weights.sources import source_from

    if Store().cached(info) is not None:
        return "cached"
    return "bundled" if any(source_from(entry).in_place() for entry in info.sources) else None
