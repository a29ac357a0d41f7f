from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.datasets import OpenSARUrban
from sarhub_models.datasets.recognition.osu import CLASS_NAMES
from sarhub_models.errors import DataError, ImageError, OptionError
from tests.datasets.scenes import pixels, write_npy, write_png, write_tif


def tif(file: Path, seed: int = 0) -> None:
    write_tif(file, pixels(seed))


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("highbuilding", 0),
        ("highbuildings", 0),
        ("HighBuildings", 0),
        ("StorageArea", 1),
        ("StorageAreas", 1),
        ("GeneralResidential", 2),
        ("denselow", 3),
        ("DenseLow", 3),
        ("Skyscraper", 4),
        ("SingleBuilding", 5),
        ("vegetation", 6),
        ("Vegetation", 6),
        ("highway", 7),
        ("Airport", 8),
        ("railway", 9),
    ],
)
def test_classes_by_name(tmp_path: Path, written: str, label: int) -> None:
    write_npy(tmp_path / f"{written}_x10537_y17855_Polygon97_vv.npy")
    data = OpenSARUrban(tmp_path)
    assert data.labels.tolist() == [label] and len(data.class_names) == len(CLASS_NAMES) == 10
    assert data.counts()[label] == 1


@pytest.mark.parametrize(("write", "suffix"), [(tif, ".tif"), (write_png, ".png"), (write_npy, ".npy")])
def test_folder_layouts_and_formats(tmp_path: Path, write: Callable[..., None], suffix: str) -> None:
    write(tmp_path / f"Beijing/airport/airport_x1_y2_Polygon3_vv{suffix}", 1)
    write(tmp_path / f"Beijing/airport/airport_x1_y2_Polygon3_vh{suffix}", 2)
    write(tmp_path / f"flat_folder/highway_x1_y2_Polygon3_VV{suffix}", 3)
    write(tmp_path / f"preview{suffix}", 4)
    data = OpenSARUrban(tmp_path)
    assert data.names == (
        f"Beijing/airport/airport_x1_y2_Polygon3_vv{suffix}",
        f"flat_folder/highway_x1_y2_Polygon3_VV{suffix}",
    )
    assert data.labels.tolist() == [8, 7] and data[0].image.shape == (8, 8)
    assert OpenSARUrban(tmp_path, polarization="vh").names == (f"Beijing/airport/airport_x1_y2_Polygon3_vh{suffix}",)


def test_lists(tmp_path: Path) -> None:
    tif(tmp_path / "p/vegetation_x1_y2_Polygon3_vv.tif", 1)
    tif(tmp_path / "p/Vegetation_x1_y2_Polygon3_vv.tif", 2)
    tif(tmp_path / "p/Vegetation_x1_y2_Polygon3_vh.tif", 3)
    (tmp_path / "osu_test.txt").write_text("Vegetation_x1_y2_Polygon3_vv.npy 6\n")
    data = OpenSARUrban(tmp_path, "test")
    assert data.names == ("p/Vegetation_x1_y2_Polygon3_vv.tif",) and data.labels.tolist() == [6]
    np.testing.assert_array_equal(data[0].image, pixels(2))
    crossed = OpenSARUrban(tmp_path / "p", "test", polarization="vh", lists=tmp_path)
    assert crossed.names == ("Vegetation_x1_y2_Polygon3_vh.tif",)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'vv' or 'vh'"):
        OpenSARUrban(tmp_path, polarization="hh")
    with pytest.raises(DataError, match="no images"):
        OpenSARUrban(tmp_path)
    write_png(tmp_path / "preview.png")
    with pytest.raises(DataError, match=r"expected patches named <Class>_x<column>_y<row>_Polygon<n>_vv"):
        OpenSARUrban(tmp_path)
    write_png(tmp_path / "a/harbour_x1_y2_Polygon3_vv.png")
    with pytest.raises(DataError, match=r"harbour_x1_y2_Polygon3_vv\.png: no class is called 'harbour'"):
        OpenSARUrban(tmp_path)


def test_a_patch_in_two_formats_is_ambiguous(tmp_path: Path) -> None:
    tif(tmp_path / "calibrated/railway_x1_y2_Polygon3_vv.tif")
    write_png(tmp_path / "visual/railway_x1_y2_Polygon3_vv.png")
    with pytest.raises(DataError, match=r"calibrated/.*\.tif and .*visual/.*\.png are the same patch"):
        OpenSARUrban(tmp_path)
    (tmp_path / "train.txt").write_text("railway_x1_y2_Polygon3_vv.npy 9\n")
    with pytest.raises(DataError, match=r"calibrated/.*\.tif or .*visual/.*\.png"):
        OpenSARUrban(tmp_path, "train")


def test_a_damaged_tif_is_named(tmp_path: Path) -> None:
    file = tmp_path / "railway_x1_y2_Polygon3_vv.tif"
    tif(file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ImageError, match=r"railway_x1_y2_Polygon3_vv\.tif"):
        OpenSARUrban(tmp_path)[0]
