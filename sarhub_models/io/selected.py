"""The bands of a raster that a network takes, with what is known of their pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import ImageError
from .geotiff import COLORS
from .images import luma, match_bands, naming, read_raster
from .raster import Raster

__all__ = ["read_selected"]


def read_selected(
    path: str | os.PathLike[str],
    *,
    wanted: Sequence[str] = (),
    given: Sequence[str] | None = None,
    band: int | Sequence[int] | None = None,
) -> Raster:
    """Read the bands that a network takes, with all that the file says of them.

    Arguments are those of :func:`~sarhub_models.io.images.read_pixels`.
    Of a picture of 8 bits whose colors differ the luma is taken where one band is wanted.

    Raises:
        ImageError: as of :func:`~sarhub_models.io.images.read_bands`; pixels without data are told by
            :attr:`Raster.valid`, not refused.
    """
    file = Path(path)
    with naming(file):
        if band is not None:
            raster = read_raster(file, bands=[band] if isinstance(band, int) else band)
            return raster.match(wanted, given=wanted) if wanted else raster
        if wanted:
            return match_bands(file, wanted, given)
        raster = read_raster(file)
        if len(raster.array) == 1:
            return raster
        if raster.bands == COLORS and raster.array.dtype == np.uint8:
            valid = None if raster.valid is None else raster.valid[:1]
            return replace(raster, array=luma(raster.array)[None], valid=valid, bands=())
        raise ImageError(f"holds {len(raster.array)} bands; say which one to read with band=1 to {len(raster.array)}")
