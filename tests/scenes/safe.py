"""Small Sentinel-1 products in their true layout, after the public product specification (S1-RS-MDA-52-7441).

Names of files, elements and their order are those of a product of processor 3; only the images are small and the lists
of the annotation that nobody here reads are left out.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

MISSION = "S1A"
START, STOP = "2021-06-01T05:41:08.000000", "2021-06-01T05:41:33.000000"


@dataclass
class Measurement:
    """One image with what its annotation says."""

    polarization: str
    numbers: np.ndarray
    swath: str = "IW"
    kind: str = "GRD"
    lines: tuple[int, ...] = (0, 40, 80, 120)
    pixels: tuple[int, ...] = (0, 30, 60, 90, 120, 150)
    noise_level: float = 100.0
    take: str = "04A1B2"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        kind = self.kind.lower()
        number = {"VV": 1, "VH": 2}.get(self.polarization, 1)
        return (
            f"s1a-{self.swath.lower()}-{kind}-{self.polarization.lower()}-20210601t054108-20210601t054133-"
            f"038142-04a1b2-{number:03d}"
        )

    def header(self) -> str:
        return (
            f"<adsHeader><missionId>{MISSION}</missionId><productType>{self.kind}</productType>"
            f"<polarisation>{self.polarization}</polarisation><mode>IW</mode><swath>{self.swath}</swath>"
            f"<startTime>{START}</startTime><stopTime>{STOP}</stopTime><absoluteOrbitNumber>38142</absoluteOrbitNumber>"
            f"<missionDataTakeId>{self.take}</missionDataTakeId><imageNumber>001</imageNumber></adsHeader>"
        )

    def factor(self, name: str, line: int, pixels: np.ndarray) -> np.ndarray:
        """The number of a calibration vector: curved along range, and another one on each line."""
        base = {"sigmaNought": 300.0, "betaNought": 237.0, "gamma": 270.0, "dn": 237.0}[name]
        return base + 0.4 * pixels + 0.001 * pixels**2 + 0.25 * line

    def noise(self, line: int, pixels: np.ndarray) -> np.ndarray:
        return self.noise_level + 0.5 * pixels + 0.1 * line

    def calibration(self) -> str:
        pixels = np.array(self.pixels)
        vectors = "".join(
            f"<calibrationVector><azimuthTime>{START}</azimuthTime><line>{line}</line>"
            f'<pixel count="{len(pixels)}">{_joined(pixels)}</pixel>'
            + "".join(
                f'<{name} count="{len(pixels)}">{_joined(self.factor(name, line, pixels))}</{name}>'
                for name in ("sigmaNought", "betaNought", "gamma", "dn")
            )
            + "</calibrationVector>"
            for line in self.lines
        )
        return (
            f"<?xml version='1.0' encoding='UTF-8'?><calibration>{self.header()}<calibrationInformation>"
            "<absoluteCalibrationConstant>1.000000e+00</absoluteCalibrationConstant></calibrationInformation>"
            f'<calibrationVectorList count="{len(self.lines)}">{vectors}</calibrationVectorList></calibration>'
        )

    def noise_file(self) -> str:
        pixels, (height, width) = np.array(self.pixels), self.numbers.shape
        vectors = "".join(
            f"<noiseRangeVector><azimuthTime>{START}</azimuthTime><line>{line}</line>"
            f'<pixel count="{len(pixels)}">{_joined(pixels)}</pixel>'
            f'<noiseRangeLut count="{len(pixels)}">{_joined(self.noise(line, pixels))}</noiseRangeLut>'
            "</noiseRangeVector>"
            for line in self.lines
        )
        azimuth = (
            f"<noiseAzimuthVector><swath>IW1</swath><firstAzimuthLine>0</firstAzimuthLine><firstRangeSample>0"
            f"</firstRangeSample><lastAzimuthLine>{height - 1}</lastAzimuthLine><lastRangeSample>{width // 2 - 1}"
            f'</lastRangeSample><line count="2">0 {height - 1}</line>'
            f'<noiseAzimuthLut count="2">1.0 2.0</noiseAzimuthLut></noiseAzimuthVector>'
        )
        return (
            f"<?xml version='1.0' encoding='UTF-8'?><noise>{self.header()}"
            f'<noiseRangeVectorList count="{len(self.lines)}">{vectors}</noiseRangeVectorList>'
            f'<noiseAzimuthVectorList count="1">{azimuth}</noiseAzimuthVectorList></noise>'
        )

    def annotation(self) -> str:
        height, width = self.numbers.shape
        points = "".join(
            f"<geolocationGridPoint><azimuthTime>{START}</azimuthTime><slantRangeTime>5.3e-03</slantRangeTime>"
            f"<line>{line}</line><pixel>{pixel}</pixel><latitude>{55.5 - 1e-4 * line + 2e-5 * pixel:.9f}</latitude>"
            f"<longitude>{self.longitude(line, pixel):.9f}</longitude><height>1.0</height><incidenceAngle>35.0"
            "</incidenceAngle><elevationAngle>31.0</elevationAngle></geolocationGridPoint>"
            for line in np.linspace(0, height, 4).astype(int)
            for pixel in np.linspace(0, width, 5).astype(int)
        )
        value, spacing = ("Complex", (13.9, 2.3)) if self.kind == "SLC" else ("Detected", (10.0, 10.0))
        return (
            f"<?xml version='1.0' encoding='UTF-8'?><product>{self.header()}<imageAnnotation><imageInformation>"
            f"<pixelValue>{value}</pixelValue><rangePixelSpacing>{spacing[1]}</rangePixelSpacing>"
            f"<azimuthPixelSpacing>{spacing[0]}</azimuthPixelSpacing><numberOfSamples>{width}</numberOfSamples>"
            f"<numberOfLines>{height}</numberOfLines></imageInformation></imageAnnotation>"
            f"<geolocationGrid><geolocationGridPointList count='20'>{points}</geolocationGridPointList>"
            "</geolocationGrid></product>"
        )

    def longitude(self, line: float, pixel: float) -> float:
        return float(self.extra.get("longitude", "12.0")) + 1.5e-4 * pixel + 1e-5 * line


def _joined(values: np.ndarray) -> str:
    return " ".join(f"{value:.9g}" if value % 1 else str(int(value)) for value in values.tolist())


def write_safe(folder: Path, measurements: list[Measurement], *, zipped: bool = False) -> Path:
    """Write a product; return its folder, or its archive."""
    kind = "GRDH" if measurements[0].kind == "GRD" else "SLC_"
    root = folder / f"S1A_IW_{kind}_1SDV_20210601T054108_20210601T054133_038142_04A1B2_1A2B.SAFE"
    for part in ("measurement", "annotation/calibration", "preview", "support"):
        (root / part).mkdir(parents=True)
    (root / "manifest.safe").write_text("<xfdu:XFDU xmlns:xfdu='urn:ccsds:schema:xfdu:1'/>")
    for one in measurements:
        _write_tiff(root / "measurement" / f"{one.stem}.tiff", one.numbers)
        (root / "annotation" / f"{one.stem}.xml").write_text(one.annotation())
        (root / "annotation" / "calibration" / f"calibration-{one.stem}.xml").write_text(one.calibration())
        (root / "annotation" / "calibration" / f"noise-{one.stem}.xml").write_text(one.noise_file())
    return zip_safe(root) if zipped else root


def zip_safe(root: Path) -> Path:
    """Return an archive of a product, as it is downloaded."""
    target = root.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent).as_posix())
    return target


def _write_tiff(file: Path, numbers: np.ndarray) -> None:
    import warnings

    kind = "complex_int16" if numbers.dtype.kind == "c" else "uint16"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        height, width = numbers.shape
        with rasterio.open(file, "w", driver="GTiff", height=height, width=width, count=1, dtype=kind) as dataset:
            dataset.write(numbers, 1)


def grd(shape: tuple[int, int] = (130, 160), seed: int = 0) -> np.ndarray:
    """Digital numbers well above the noise, without zeros."""
    return np.random.default_rng(seed).integers(60, 900, shape, dtype=np.uint16)
