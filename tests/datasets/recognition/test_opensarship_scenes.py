"""OpenSARShip as it is published: archives of scenes with Ship.xml, of both versions."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from sarhub_models.datasets import OpenSARShip
from sarhub_models.datasets.check import index_dataset
from sarhub_models.datasets.recognition.opensarship.scenes import find_chips
from sarhub_models.errors import DataError, ImageError, IncompleteError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
GRD = "S1A_IW_GRDH_1SDV_20150902T102505_20150902T102534_007535_00A699_2D00"
SLC = "S1A_IW_SLC__1SDV_20160606T221231_20160606T221258_011596_011B8A_3FF3"
SINGLE = "S1A_IW_GRDH_1SSV_20160131T204259_20160131T204324_009743_00E3C6_E792"


def tiff(bands: np.ndarray) -> bytes:
    profile = {"driver": "GTiff", "count": len(bands), "height": 4, "width": 5, "dtype": bands.dtype.name}
    with MemoryFile() as memory:
        with rasterio.open(memory.name, "w", **profile) as dataset:
            dataset.write(bands)
        return bytes(memory.getbuffer())


def ship(x: int, y: int, mmsi: int, length: int = 146, width: int = 21) -> str:
    return (
        f"<ship><SARShipInformation><Center_x>{x}</Center_x><Center_y>{y}</Center_y><Incidence>34.0</Incidence>"
        f"</SARShipInformation><AISShipInformation><MMSI>{mmsi}</MMSI><Name>A</Name><Ship_Type>70</Ship_Type>"
        f"<Length>{length}</Length><Width>{width}</Width></AISShipInformation><MarineTrafficInformation>"
        "<Elaborated_type>Bulk Carrier</Elaborated_type></MarineTrafficInformation></ship>"
    )


def members(scene: str, ships: dict[tuple[str, int, int], int]) -> dict[str, bytes]:
    """Return the files of a scene by their paths in its archive, as version 2 has them."""
    single, slc = "_1SSV_" in scene, "_SLC_" in scene
    files = {
        f"{scene}.xml": b"<product/>",
        "Ship.xml": (
            "<ShipList>" + "".join(ship(x, y, mmsi) for (_, x, y), mmsi in ships.items()) + "<\\ShipList>"
        ).encode(),
    }
    for number, (kind, x, y) in enumerate(ships):
        name = f"{kind}_x{x}_y{y}"
        values = np.arange(20, dtype=np.float32).reshape(1, 4, 5) + number
        vh, vv = values, values + 100
        files[f"Patch_Cal/{name}.tif"] = tiff(vv if single else np.concatenate([vh, vv]))
        files[f"Patch/{name}.tif"] = tiff(np.concatenate([vh, -vh, vv, 2 * vv]) if slc else np.concatenate([vh, vv]))
        for part in [""] if single else ["_vh", "_vv"]:
            shown = vh if part == "_vh" else vv
            files[f"Patch_Uint8/Visual_{name}{part}.tif"] = tiff(shown.astype(np.uint8))
        files[f"Patch_RGB/Visual_{name}.tif"] = b"no TIFF at all"
    return files


def write_archive(file: Path, files: dict[str, bytes], folder: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}{name}", content)
    return file


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    write_archive(tmp_path / f"{GRD}.zip", members(GRD, {("Cargo", 10, 20): 111, ("Tanker", 30, 40): 222}))
    write_archive(tmp_path / f"{SLC}(1).zip", members(SLC, {("Search and Rescue vessel", 5, 6): 111}))
    files = members(SINGLE, {("Cargo", 7, 8): 333, ("Other Type", 9, 9): 0})
    write_archive(tmp_path / "version1" / f"{SINGLE}.zip", files, folder=f"{SINGLE}/")
    return tmp_path


def test_archives_are_read_where_they_lie(archives: Path) -> None:
    chips = OpenSARShip(archives)
    assert [Path(name).name for name in chips.names] == [
        "Visual_Cargo_x10_y20_vv.tif",
        "Visual_Tanker_x30_y40_vv.tif",
        "Visual_Cargo_x7_y8.tif",
        "Visual_Search and Rescue vessel_x5_y6_vv.tif",
    ]
    assert [chips.class_names[label] for label in chips.labels] == [
        "Cargo",
        "Tanker",
        "Cargo",
        "Search_and_Rescue_vessel",
    ]
    assert chips.scenes == (GRD, GRD, SINGLE, SLC), "the name of an archive may have been changed"
    assert chips[0].image.dtype == np.uint8 and chips[0].image[0, :3].tolist() == [100, 101, 102]
    first = chips.ships[0]
    assert first is not None and (first.mmsi, first.length, first.width, first.kind) == (111, 146, 21, "Bulk Carrier")
    assert chips.notes() == ("1 chips of other types were left out",)
    assert OpenSARShip(archives, polarization="vh").notes() == ()
    other = OpenSARShip(archives, polarization="vh")
    assert len(other) == 3 and other[0].image[0, :3].tolist() == [0, 1, 2], "one scene has no such polarization"
    (index,) = index_dataset("opensarship", archives, depth="pixels")
    assert index.found == 4 and not index.damaged and index.entries[0].size == (4, 5)


def test_calibrated_and_complex_chips(archives: Path) -> None:
    power = OpenSARShip(archives, patch="Patch_Cal")
    assert power[0].image.dtype == np.float32 and power[0].image[0, 0] == 100 and power[2].image[0, 0] == 100
    assert OpenSARShip(archives, patch="Patch_Cal", polarization="vh")[0].image[0, 0] == 0
    signal = OpenSARShip(archives, patch="Patch")
    assert signal[3].image.dtype == np.complex64 and signal[3].image[0, 1] == 101 + 202j
    assert signal[0].image.dtype == np.float32
    with pytest.raises(OptionError, match="Patch_Uint8, Patch_Cal, Patch, got 'Patch_RGB'"):
        OpenSARShip(archives, patch="Patch_RGB")


def test_unpacked_scenes_come_before_their_archives(archives: Path) -> None:
    with zipfile.ZipFile(archives / f"{GRD}.zip") as archive:
        archive.extractall(archives / "anything")
    chips = OpenSARShip(archives)
    assert len(chips) == 4 and chips.names[0] == "anything/Patch_Uint8/Visual_Cargo_x10_y20_vv.tif"
    with zipfile.ZipFile(archives / f"{SLC}(1).zip") as archive:
        archive.extractall(archives / "anything")
    with pytest.raises(DataError, match=f"{GRD} and {SLC} were unpacked over each other"):
        OpenSARShip(archives)


def test_published_lists_are_found_by_center_and_lengths(archives: Path) -> None:
    (archives / "large_train.txt").write_text("/x/Cargo/10_20_146_21_vv.jpg 11\n/x/Tanker/30_40_146_21_vv.jpg 12\n")
    (archives / "large_test.txt").write_text("/x/Cargo/7_8_146_21_vv.jpg 11\n")
    chips = OpenSARShip(archives, "large_train")
    assert [Path(name).name for name in chips.names] == ["Visual_Cargo_x10_y20_vv.tif", "Visual_Tanker_x30_y40_vv.tif"]
    assert chips.class_names == ("Cargo", "Tanker") and chips.labels.tolist() == [0, 1]
    (archives / "large_train.txt").write_text("/x/Cargo/10_20_147_21_vv.jpg 11\n")
    with pytest.raises(IncompleteError, match="1 of 1 listed chips are in no archive below"):
        OpenSARShip(archives, "large_train")


@pytest.mark.parametrize("by", ["mmsi", "scene"])
def test_splits_by_ship_and_by_scene(archives: Path, by: str) -> None:
    def keys(split: str) -> list[object]:
        try:
            part = OpenSARShip(archives, f"{by}_{split}")
        except DataError as err:
            assert "no chip of" in str(err)
            return []
        return [
            ship.mmsi if by == "mmsi" else scene for ship, scene in zip(part.ships, part.scenes, strict=True) if ship
        ]

    parts = [keys(split) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == 4
    assert sum(len(set(part)) for part in parts) == len(set().union(*parts)), "no ship or scene is in two splits"


def test_splits_by_ship_need_archives(tmp_path: Path) -> None:
    folder = tmp_path / "folders"
    (folder / "Cargo").mkdir(parents=True)
    (folder / "Cargo" / "1_2_3_4_vv.tif").write_bytes(tiff(np.ones((1, 4, 5), np.uint8)))
    assert len(OpenSARShip(folder)) == 1
    with pytest.raises(OptionError, match="needs the archives"):
        OpenSARShip(folder, "mmsi_train")


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    files = members(GRD, {("Cargo", 10, 20): 111})
    file = write_archive(tmp_path / f"{GRD}.zip", {**files, "Ship.xml": b"<ShipList><ship><Center_x>a</ship>"})
    with pytest.raises(DataError, match=r"Ship\.xml is no list of ships"):
        find_chips(tmp_path, "Patch_Uint8")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=rf"{GRD}\.zip: damaged or cut off"):
        OpenSARShip(tmp_path)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    write_archive(file, {**files, "Patch_Uint8/Visual_Cargo_x10_y20_vv.tif": buffer.getvalue()})
    with pytest.raises(ImageError, match=r"Visual_Cargo_x10_y20_vv\.tif"):
        OpenSARShip(tmp_path)[0]


def test_the_real_archives(test_data: Path) -> None:
    root = test_data / "data" / "real" / "opensarship"
    chips = OpenSARShip(root)
    assert len(chips) == 222 and chips.counts()[[11, 12]].tolist() == [142, 75]
    assert all(ship is not None for ship in chips.ships) and len(set(chips.scenes)) == 5


def test_a_name_that_is_cut_off_is_that_of_its_class(tmp_path: Path) -> None:
    """As that of one vessel among the calibrated chips of an official archive; others are no beginning of a class."""
    files = members(SLC, {("Search and Rescue vessel", 5, 6): 111, ("Other Type", 7, 8): 222, ("P", 1, 2): 333})
    whole = "Patch_Cal/Search and Rescue vessel_x5_y6.tif"
    files["Patch_Cal/Search_x5_y6.tif"] = files.pop(whole)
    write_archive(tmp_path / f"{SLC}.zip", files)
    (chip,) = OpenSARShip(tmp_path, patch="Patch_Cal").labels
    assert OpenSARShip(tmp_path).class_names[chip] == "Search_and_Rescue_vessel"
