"""Rasters in memory: pixels, which of them are valid, and what their bands are called."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import BandsWarning, ImageError, NodataError, OptionError

__all__ = ["POLARIZATIONS", "SKIP_ABOVE", "Raster", "apart", "check_nodata", "fill_nodata", "polarization"]

SKIP_ABOVE = 0.1
"""Share of pixels without data above which the policy ``"skip"`` leaves an image out."""

POLARIZATIONS = ("VV", "VH", "HV", "HH")
"""Sent and received: V vertical, H horizontal."""

_POLARIZATION = re.compile(rf"(?<![A-Z0-9])({'|'.join(POLARIZATIONS)})(?![A-Z0-9])")


@dataclass(frozen=True, eq=False)
class Raster:
    """The content of a file of pixels.

    Attributes:
        array: (C, H, W), real or complex, with the scale and the offset of the file applied.
        valid: bool (C, H, W), ``False`` where the file has no data; ``None`` where all pixels are valid.
        reason: why pixels are not valid, in words.
        bands: name of each band, ``""`` where the file does not say it; polarizations are VV, VH, HV or HH.
        crs: coordinate reference system, of GeoTIFF.
        transform: from pixels to coordinates, of GeoTIFF.
        gcps: ground control points, of GeoTIFF.
    """

    array: np.ndarray
    valid: np.ndarray | None = None
    reason: str = "masked"
    bands: tuple[str, ...] = ()
    crs: Any = None
    transform: Any = None
    gcps: tuple[Any, ...] = ()

    @property
    def mask(self) -> np.ndarray:
        """Bool (H, W), ``True`` where all bands are valid."""
        valid = np.ones(self.array.shape, bool) if self.valid is None else self.valid
        return np.asarray(valid.all(axis=0))

    def select(self, indices: Sequence[int]) -> Raster:
        """Return some bands, by their indices from 0."""
        chosen = list(indices)
        valid = None if self.valid is None else self.valid[chosen]
        return replace(
            self,
            array=self.array[chosen],
            valid=None if valid is None or valid.all() else valid,
            bands=tuple(self.bands[index] for index in chosen) if self.bands else (),
        )

    def named(self, band: str) -> Raster:
        """Return the one band of a name, in any case.

        Raises:
            ImageError: the file gives no band, or several, that name.
        """
        names = [name.upper() for name in self.bands or ("",) * len(self.array)]
        if names.count(band.upper()) != 1:
            said = f"calls them {', '.join(name or '?' for name in self.bands)}" if any(names) else "does not say which"
            raise ImageError(
                f"has no band of its own called {band!r}; it holds {len(names)} and {said}; a number from 1 to "
                f"{len(names)} picks one, too"
            )
        return self.select([names.index(band.upper())])

    def match(self, wanted: Sequence[str], *, given: Sequence[str] | None = None) -> Raster:
        """Return the bands that a network takes, in its order; others, such as the angle, are left out.

        Args:
            wanted: names of the bands.
            given: names of the raster's bands in their order, where the file does not say them.

        Raises:
            ImageError: the file says names that are not among ``given``, has another number of bands, lacks one, or
                nobody says which is which. One band for one that is wanted needs no name.

        Warns:
            BandsWarning: the only band says another polarization than the one that is wanted, or the bands say another
                order than ``given``.
        """
        names, count = self.bands or ("",) * len(self.array), len(self.array)
        if given is not None:
            if len(given) != count:
                raise ImageError(f"holds {count} bands, but {len(given)} were named: {', '.join(given)}")
            clash = any(own and own.upper() != name.upper() for own, name in zip(names, given, strict=True))
            if clash and sorted(map(str.upper, names)) == sorted(map(str.upper, given)):
                warnings.warn(
                    f"says that its bands are {', '.join(names)}, not {', '.join(given)}: the file's order counts",
                    BandsWarning,
                    stacklevel=4,
                )
                given = names
            elif clash:
                raise ImageError(
                    f"says that its bands are {', '.join(names)}, but they were named {', '.join(given)}; leave the "
                    "names out, and those of the file are taken"
                )
            names = tuple(given)
        if len(wanted) == count == 1:
            if (there := polarization(names[0])) and polarization(wanted[0]) not in ("", there):
                warnings.warn(f"holds {there}, and {wanted[0]} is expected", BandsWarning, stacklevel=4)
            return self
        upper = [name.upper() for name in names]
        if all(upper.count(name.upper()) == 1 for name in wanted):
            return self.select([upper.index(name.upper()) for name in wanted])
        said = f"calls them {', '.join(name or '?' for name in names)}" if any(names) else "does not say which"
        if len(wanted) == 1:
            raise ImageError(f"holds {count} bands and {said}; say which one to read with band=1 to {count}")
        raise ImageError(
            f"expected the bands {', '.join(wanted)}; it holds {count} and {said}; name all of them in the order of "
            f"the file with bands={','.join(wanted[:count])} (--bands on the command line)"
        )

    def filled(self, nodata: str = "refuse") -> np.ndarray:
        """Return the array (C, H, W), with the policy for pixels without data applied: see :func:`fill_nodata`."""
        return (
            self.array if self.valid is None else fill_nodata(self.array, self.valid, nodata=nodata, reason=self.reason)
        )


def apart(one: Raster, other: Raster) -> float:
    """Return how many pixels apart two rasters of one size put the same pixel, at most; 0 where one says no place."""
    if one.crs is None or other.crs is None or one.transform is None or other.transform is None:
        return 0.0
    if one.crs != other.crs:
        return np.inf
    height, width = one.array.shape[-2:]
    way = ~other.transform * one.transform
    corners = [(x, y) for x in (0, width) for y in (0, height)]
    return max(float(np.hypot(*np.subtract(way * corner, corner))) for corner in corners)


def check_nodata(nodata: str) -> None:
    """Refuse a policy that does not exist.

    Raises:
        OptionError: it is none of ``"refuse"``, ``"fill"`` and ``"skip"``.
    """
    if nodata not in ("refuse", "fill", "skip"):
        raise OptionError(f"expected nodata to be 'refuse', 'fill' or 'skip', got {nodata!r}")


def fill_nodata(array: np.ndarray, valid: np.ndarray, *, nodata: str, reason: str = "masked") -> np.ndarray:
    """Return an image whose pixels without data have a value, or refuse it.

    The value is the lower median of the valid pixels of the band, one that occurs there, so it is the same in
    amplitude, intensity and decibels; of complex pixels the lower median of the magnitude.

    Args:
        array: (C, H, W) or (H, W).
        valid: bool of the same shape.
        nodata: ``"refuse"``; ``"fill"``; or ``"skip"``, which refuses an image of which more than the share
            :data:`SKIP_ABOVE` has no data, and fills others.
        reason: why pixels are not valid, for the message.

    Raises:
        NodataError: the image is refused, or has no valid pixel in a band.
        OptionError: there is no such policy.
    """
    check_nodata(nodata)
    if valid.all():
        return array
    missing = ~(valid if valid.ndim == 2 else valid.all(axis=0))
    count, size = int(missing.sum()), missing.size
    seen = f"{count} of {size} pixels are {reason}"
    if nodata == "refuse":
        raise NodataError(
            f"{seen}; nodata='fill' gives them the median of the others, nodata='skip' leaves out images with more "
            f"than {SKIP_ABOVE:.0%} of them (--nodata on the command line)"
        )
    if nodata == "skip" and count > SKIP_ABOVE * size:
        raise NodataError(f"{seen}, more than {SKIP_ABOVE:.0%}: left out")
    result = array.copy()
    planes = zip(*((x[None] if x.ndim == 2 else x) for x in (result, valid)), strict=True)
    for plane, good in planes:
        values = plane[good]
        if not values.size:
            raise NodataError(f"{seen}, and no pixel of a band is left")
        if not good.all():
            values = np.abs(values) if values.dtype.kind == "c" else values
            plane[~good] = np.partition(values, (values.size - 1) // 2)[(values.size - 1) // 2]
    return result


def polarization(text: str | None) -> str:
    """Return the polarization that a text names, as in ``Sigma0_VV`` or ``s1a-iw-grd-vh-2020.tiff``; else ``""``."""
    found = set(_POLARIZATION.findall((text or "").upper()))
    return found.pop() if len(found) == 1 else ""
