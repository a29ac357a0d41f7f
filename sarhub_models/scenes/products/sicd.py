"""Complex scenes in SICD files (NITF), read through sarkit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImageError, MissingDependencyError, OptionError
from ...io.georeference import Georeference
from ...io.limits import check_regular
from ...io.raster import polarization
from .scene import Rows, Scene, choose_bands

__all__ = ["SicdScene"]

_POLYNOMIALS = {"sigma0": "SigmaZeroSFPoly", "beta0": "BetaZeroSFPoly", "gamma0": "GammaZeroSFPoly"}
_CORNERS = ("1:FRFC", "2:FRLC", "3:LRLC", "4:LRFC")  # first row, first column, …: of NGA.STND.0024-1


class SicdScene(Scene):
    """A scene of the format Sensor Independent Complex Data (NGA.STND.0024).

    Its ground control points are the four corners that the file says, at the middles of the corner pixels: coarse, as
    the standard says itself.

    Args:
        path: the file.
        wanted: names of the bands that the network takes; none for what the file holds.
        given: name of its band, where it does not say it.
        band: the only band to take.
        radiometry: ``"sigma0"``, ``"beta0"`` or ``"gamma0"``, by the file's own polynomials, or ``"dn"`` for complex
            pixels as they are; by default sigma0 where the file is calibrated.

    Raises:
        ImageError: no SICD file, damaged, not calibrated, or of other bands.
        OptionError: there is no such radiometry.
        MissingDependencyError: sarkit is missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        wanted: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: int | str | None = None,
        radiometry: str | None = None,
    ) -> None:
        try:
            import sarkit.sicd
        except ImportError as err:
            raise MissingDependencyError("SICD files need sarkit: pip install 'sarhub-models[scenes]'") from err
        check_regular(path)
        self._file = path.open("rb")
        try:
            self._reader = sarkit.sicd.NitfReader(self._file)
            self._helper = sarkit.sicd.XmlHelper(self._reader.metadata.xmltree)
            shape = int(self._of("ImageData/NumRows")), int(self._of("ImageData/NumCols"))
            place = Georeference.of(_crs(), None, _corners(self._of("GeoData/ImageCorners"), shape))
            bands = (polarization(str(self._of("ImageFormation/TxRcvPolarizationProc") or "").replace(":", "")),)
            step = float(self._of("Grid/Row/SS")), float(self._of("Grid/Col/SS"))
        except Exception as err:  # whatever the reader makes of foreign bytes
            self._file.close()
            raise ImageError(
                f"{path}: cannot be read as SICD, truncated, damaged, or NITF of another kind? "
                f"({type(err).__name__}: {err})"
            ) from err
        try:
            choose_bands(bands, wanted, given=given, band=band)  # of its only one
        except ImageError as err:
            self._file.close()
            raise ImageError(f"{path}: {err}") from err.__cause__
        self._amplitudes = self._of("ImageData/PixelType") == "AMP8I_PHS8I"
        self._polynomial = self._calibration(path, radiometry)
        known = radiometry or ("sigma0" if self._polynomial is not None else "dn")
        super().__init__(path, shape, (given or bands)[:1], place, radiometry=known, spacing=step, product="SICD")

    def _of(self, name: str) -> Any:
        """Return a value of the file's description, or ``None``."""
        return self._helper.load("./" + "/".join(f"{{*}}{part}" for part in name.split("/")))

    def _calibration(self, path: Path, radiometry: str | None) -> np.ndarray | None:
        """Return the coefficients of the factor of the power, in meters from the scene's center point."""
        if radiometry == "dn":
            return None
        if radiometry is not None and radiometry not in _POLYNOMIALS:
            self._file.close()
            raise OptionError(f"{path} can be read as {', '.join(_POLYNOMIALS)} or dn, not as {radiometry}")
        found = self._of(f"Radiometric/{_POLYNOMIALS[radiometry or 'sigma0']}")
        if found is None and radiometry is not None:
            self._file.close()
            raise ImageError(f"{path}: is not calibrated to {radiometry}: read it with radiometry='dn' and full_scale")
        return None if found is None else np.asarray(found, float)

    def _pixels(self, rows: Rows, columns: Rows) -> tuple[np.ndarray, np.ndarray]:
        stored = self._reader.read_sub_image(rows[0], columns[0], rows[1], columns[1])[0]
        pixels = self._complex(stored)
        valid = pixels != 0
        if self._polynomial is None:
            return pixels[None], valid
        center = self._of("ImageData/SCPPixel")
        first = int(self._of("ImageData/FirstRow")), int(self._of("ImageData/FirstCol"))
        step = float(self._of("Grid/Row/SS")), float(self._of("Grid/Col/SS"))
        down = (np.arange(*rows) + first[0] - center[0]) * step[0]
        across = (np.arange(*columns) + first[1] - center[1]) * step[1]
        factor = np.polynomial.polynomial.polygrid2d(down, across, self._polynomial)
        return (np.abs(pixels) ** 2 * factor).astype(np.float32)[None], valid

    def _complex(self, stored: np.ndarray) -> np.ndarray:
        if stored.dtype.names is None:
            return np.asarray(stored).astype(np.complex64)
        first, second = (stored[name].astype(np.float32) for name in stored.dtype.names)
        if not self._amplitudes:
            return np.asarray(first + 1j * second)
        table = self._of("ImageData/AmpTable")
        amplitude = first if table is None else np.asarray(table, np.float32)[stored[stored.dtype.names[0]]]
        return np.asarray(amplitude * np.exp(2j * np.pi * second / 256)).astype(np.complex64)

    def close(self) -> None:
        """Close its file."""
        self._file.close()


def _crs() -> Any:
    from rasterio.crs import CRS

    return CRS.from_epsg(4326)


def _corners(places: Any, shape: tuple[int, int]) -> list[Any]:
    from rasterio.control import GroundControlPoint

    if places is None:
        return []
    bottom, right = shape[0] - 0.5, shape[1] - 0.5
    pixels = ((0.5, 0.5), (0.5, right), (bottom, right), (bottom, 0.5))
    return [
        GroundControlPoint(row=row, col=column, x=float(longitude), y=float(latitude), z=0, id=name)
        for (row, column), (latitude, longitude), name in zip(pixels, np.asarray(places), _CORNERS, strict=True)
    ]
