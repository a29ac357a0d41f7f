"""Scenes of Sentinel-1 in their SAFE layout, GRD and SLC, calibrated window by window."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ...errors import ImageError, OptionError, closest
from ...io.georeference import Georeference
from ...io.geotiff import connect, offline
from .layout import Image, Product, open_product
from .luts import CALIBRATIONS, Noise, Table, read_calibration, read_noise
from .raster import CACHE
from .scene import Rows, Scene, choose_bands

__all__ = ["BORDER", "SafeScene"]

BORDER = 500
"""Pixels from each edge of a GRD image in which border noise is looked for."""

_WGS84 = 4326


@dataclass(frozen=True)
class _Channel:
    """One polarization: its open file, and the tables that calibrate it."""

    image: Image
    dataset: Any
    calibration: Table | None
    noise: Noise | None


class SafeScene(Scene):
    """A Sentinel-1 product, GRD or one swath of SLC.

    Digital numbers become backscatter as the product specification says: ``|DN|² / A²``, with the calibration vectors
    interpolated on the window alone. Pixels of 0 have no data. The ground control points are those of the annotation's
    geolocation grid, whose lines and pixels are taken as GDAL takes them.

    Args:
        path: the SAFE folder, or a .zip archive of it.
        wanted: polarizations that the network takes; none for all of the product.
        band: the only polarization to take.
        radiometry: ``"sigma0"``, ``"beta0"``, ``"gamma0"``, or ``"dn"`` for what is stored.
        swath: of a product with several, such as ``"IW1"``.
        denoise: subtract the thermal noise; what is left below 0 becomes 0.
        border: of GRD, mask the border noise: from each edge on, at most :data:`BORDER` pixels, all up to the first
            one that is above the thermal noise.

    Raises:
        ImageError: a file is missing, damaged, or of another product; or the product has not these polarizations.
        OptionError: there is no such radiometry or swath.
    """

    def __init__(
        self,
        path: Path,
        *,
        wanted: Sequence[str] = (),
        band: int | str | None = None,
        radiometry: str = "sigma0",
        swath: str | None = None,
        denoise: bool = False,
        border: bool = True,
    ) -> None:
        if radiometry != "dn" and radiometry not in CALIBRATIONS:
            raise OptionError(
                f"{path} can be read as {', '.join(CALIBRATIONS)} or dn, not as {radiometry}: leave the radiometry "
                "out, and sigma0 is converted to what the weights expect"
            )
        if denoise and radiometry == "dn":
            raise OptionError("thermal noise is subtracted in the calibration: choose sigma0, beta0 or gamma0")
        product = open_product(path)
        images = _of_swath(product, swath)
        names = [image.polarization for image in images]
        try:
            chosen = [images[index] for index in choose_bands(names, wanted, band=band)]
        except ImageError as err:
            raise ImageError(f"{path}: {err}") from err
        first = product.annotation(chosen[0])
        self._detected = first.findtext("imageAnnotation/imageInformation/pixelValue") != "Complex"
        self._denoise, self._border = denoise, border and self._detected
        shape = _shape(first)
        super().__init__(
            path,
            shape,
            [image.polarization for image in chosen],
            Georeference.of(_crs(), None, _grid(first)),
            radiometry=radiometry,
            spacing=_spacing(first),
            product=f"Sentinel-1 {first.findtext('adsHeader/productType')}, {chosen[0].swath}",
        )
        with ExitStack() as opened:
            self._channels = [_open(product, image, self, opened) for image in chosen]
            self._opened = opened.pop_all()

    @property
    def needs_noise(self) -> bool:
        """The noise vectors are used."""
        return self._denoise or self._border

    def _pixels(self, rows: Rows, columns: Rows) -> tuple[np.ndarray, np.ndarray]:
        planes, masks = [], []
        for channel in self._channels:
            numbers = _read(channel, rows, columns)
            valid = numbers != 0
            if self._border:
                valid &= ~self._border_noise(channel, rows, columns)
            planes.append(self._calibrated(channel, numbers, rows, columns))
            masks.append(valid)
        return np.stack(planes), np.logical_and.reduce(masks)

    def _calibrated(self, channel: _Channel, numbers: np.ndarray, rows: Rows, columns: Rows) -> np.ndarray:
        if channel.calibration is None:
            return numbers
        power = np.abs(numbers).astype(np.float32) ** 2
        if self._denoise and channel.noise is not None:
            power = np.maximum(power - channel.noise(rows, columns), 0)
        return np.asarray(power / channel.calibration(rows, columns) ** 2)

    def _border_noise(self, channel: _Channel, rows: Rows, columns: Rows) -> np.ndarray:
        """Return where a window holds border noise: runs from an edge on that never exceed the thermal noise."""
        found = np.zeros((rows[1] - rows[0], columns[1] - columns[0]), bool)
        deep, wide = min(BORDER, self.height), min(BORDER, self.width)
        for axis, backward, part in (
            (1, False, (rows, (0, wide))),
            (1, True, (rows, (self.width - wide, self.width))),
            (0, False, ((0, deep), columns)),
            (0, True, ((self.height - deep, self.height), columns)),
        ):
            own, of_edge = (rows, part[0]) if axis == 0 else (columns, part[1])
            start, stop = max(own[0], of_edge[0]), min(own[1], of_edge[1])
            if start >= stop:
                continue
            dark = self._dark(channel, *part)
            if backward:
                run = np.flip(np.logical_and.accumulate(np.flip(dark, axis), axis=axis), axis)
            else:
                run = np.logical_and.accumulate(dark, axis=axis)
            here, there = slice(start - own[0], stop - own[0]), slice(start - of_edge[0], stop - of_edge[0])
            if axis == 0:
                found[here] |= run[there]
            else:
                found[:, here] |= run[:, there]
        return found

    def _dark(self, channel: _Channel, rows: Rows, columns: Rows) -> np.ndarray:
        assert channel.noise is not None
        return np.asarray(_read(channel, rows, columns).astype(np.float32) ** 2 <= channel.noise(rows, columns))

    def close(self) -> None:
        """Close its files."""
        self._opened.close()


def _read(channel: _Channel, rows: Rows, columns: Rows) -> np.ndarray:
    with offline(GDAL_CACHEMAX=CACHE):
        return np.asarray(channel.dataset.read(1, window=(rows, columns)))


def _of_swath(product: Product, swath: str | None) -> list[Image]:
    """Return the images of the only swath, or of the one that is asked for."""
    swaths = sorted({image.swath for image in product.images})
    if swath is None and len(swaths) > 1:
        raise OptionError(f"{product.path} holds the swaths {', '.join(swaths)}: say which one with swath={swaths[0]}")
    name = swaths[0] if swath is None else swath.upper()
    if name not in swaths:
        raise OptionError(f"{product.path} has no swath {swath}{closest(name, swaths)}; it holds {', '.join(swaths)}")
    return [image for image in product.images if image.swath == name]


def _open(product: Product, image: Image, scene: SafeScene, opened: ExitStack) -> _Channel:
    """Return a polarization with its tables; its file is closed by ``opened``."""
    annotation = product.annotation(image)
    if _shape(annotation) != scene.shape:
        raise ImageError(f"{product.path}: {image.name} has {_shape(annotation)} pixels, others have {scene.shape}")
    calibration = noise = None
    try:
        if scene.radiometry in CALIBRATIONS:
            calibration = read_calibration(product.table("calibration", image, annotation), scene.radiometry)
        if scene.needs_noise:
            noise = read_noise(product.table("noise", image, annotation))
        member = product.root + image.measurement if product.zipped else None
        file = product.path if product.zipped else product.path / image.measurement
        dataset = opened.enter_context(connect(file, member=member))
    except ImageError as err:
        text = str(err)
        place = f"{product.path}: {image.measurement}: "
        raise ImageError(text if text.startswith(str(product.path)) else place + text) from err
    except Exception as err:  # whatever GDAL makes of damaged bytes
        raise ImageError(
            f"{product.path}: {image.measurement} cannot be opened; truncated or damaged? ({type(err).__name__}: {err})"
        ) from err
    if dataset.shape != scene.shape:
        raise ImageError(
            f"{product.path}: {image.measurement} has {dataset.height} x {dataset.width} pixels, its annotation says "
            f"{scene.height} x {scene.width}"
        )
    return _Channel(image, dataset, calibration, noise)


def _number(root: Element, name: str, kind: type[int] | type[float] = float) -> Any:
    text = root.findtext(name)
    try:
        return kind(text or "")
    except ValueError as err:
        raise ImageError(f"the annotation has no number {name}, but {text!r}; damaged?") from err


def _shape(annotation: Element) -> tuple[int, int]:
    place = "imageAnnotation/imageInformation"
    return (
        _number(annotation, f"{place}/numberOfLines", int),
        _number(annotation, f"{place}/numberOfSamples", int),
    )


def _spacing(annotation: Element) -> tuple[float, float]:
    place = "imageAnnotation/imageInformation"
    return _number(annotation, f"{place}/azimuthPixelSpacing"), _number(annotation, f"{place}/rangePixelSpacing")


def _crs() -> Any:
    from rasterio.crs import CRS

    return CRS.from_epsg(_WGS84)


def _grid(annotation: Element) -> list[Any]:
    from rasterio.control import GroundControlPoint

    return [
        GroundControlPoint(
            row=_number(point, "line"),
            col=_number(point, "pixel"),
            x=_number(point, "longitude"),
            y=_number(point, "latitude"),
            z=_number(point, "height"),
            id=str(index),
        )
        for index, point in enumerate(
            annotation.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
        )
    ]
