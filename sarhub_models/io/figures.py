"""Write figures so that nobody sees half of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What keeps the same picture the same file: no date, no release of matplotlib
_FIXED: dict[str, dict[str, Any]] = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}


def save_figure(figure: Figure, file: str | os.PathLike[str], *, dpi: int = 120) -> Path:
    """Write a figure to ``.png``, ``.pdf`` or ``.svg``; its folder is created if need be.

    Args:
        figure: of matplotlib.
        file: to write or to replace.
        dpi: pixels per inch.

    Raises:
        OptionError: another suffix.
    """
    target = Path(file)
    if target.suffix not in _FIXED:
        raise OptionError(f"{target}: expected a picture that ends in {', '.join(_FIXED)}")
    with replacing(target) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=_FIXED[target.suffix])
    return target
