"""sarhub predict: options that would have no effect are refused, and a band is the one that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from sarhub_models.cli import main
from sarhub_models.io.tables import read_table

from .conftest import only_line

MODEL = "mobilenetv3_dsn"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A chip of one band, and the same twice as the second band of a file."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    first, second = (rng.rayleigh(scale, (64, 64)).astype(np.uint16) for scale in (20, 4000))
    profile = {"driver": "GTiff", "height": 64, "width": 64, "dtype": "uint16", "crs": "EPSG:32631"}
    for name, bands in (("one.tif", [second]), ("two.tif", [first, second])):
        with rasterio.open(
            folder / name, "w", count=len(bands), transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), **profile
        ) as dataset:
            dataset.write(np.stack(bands))
    return folder


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        (
            "p.csv",
            ["--stride", "64"],
            "--stride is for scenes, with --out FILE.tif, or of boxes",
        ),
        ("p.csv", ["--denoise", "--swath", "IW1"], "--swath, --denoise are for scenes"),
        ("p.csv", ["--no-quicklook"], "--quicklook is for scenes"),
        ("p.csv", ["--band", "VH"], "expected the position of the band, counted from 1, got 'VH'"),
        ("map.tif", ["--features"], "--features is for images"),
        ("map.tif", ["--min-score", "0.5"], "--min-score is for boxes, .parquet or .geojson"),
        ("map.tif", ["--on-error", "skip", "--workers", "2"], "--workers, --on-error are for images"),
    ],
)
def test_options_without_an_effect_are_refused(
    out: str, options: list[str], words: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", MODEL, str(images / "one.tif"), "--out", str(tmp_path / out), *options]) == 2
    assert words in only_line(capsys.readouterr().err)
    assert not (tmp_path / out).exists()


@pytest.mark.slow
def test_the_band_that_is_asked_for_is_read(images: Path, tmp_path: Path) -> None:
    rows = []
    for name, *more in (("one.tif",), ("two.tif", "--band", "2"), ("two.tif", "--band", "1")):
        out = tmp_path / f"{len(rows)}.csv"
        assert main(["predict", MODEL, str(images / name), "--out", str(out), "--full-scale", "65535", *more]) == 0
        (row,) = read_table(out, text=("name", "class"))
        rows.append({key: value for key, value in row.items() if key != "name"})
    assert rows[0] == rows[1] != rows[2]
