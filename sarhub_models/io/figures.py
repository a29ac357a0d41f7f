"""Write figures so that nobody sees half of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".pdf")


def save_figure(figure: Figure, file: str | os.PathLike[str], *, dpi: int = 120) -> Path:
    """Write a figure to ``.png`` or ``.pdf``; its folder is created if need be.

    Args:
        figure: of matplotlib.
        file: to write or to replace.
        dpi: pixels per inch.

    Raises:
        OptionError: another suffix.
    """
    target = Path(file)
    if target.suffix not in _SUFFIXES:
        raise OptionError(f"{target}: expected a picture that ends in {' or '.join(_SUFFIXES)}")
    # A fixed date keeps the same picture the same file
    metadata: dict[str, Any] = {"CreationDate": None} if target.suffix == ".pdf" else {"Software": None}
    with replacing(target) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=metadata)
    return target
