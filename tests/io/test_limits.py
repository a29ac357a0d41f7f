"""Files that would hang, exhaust memory, or lead elsewhere are refused before they are opened."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image, PngImagePlugin

from sarhub_models.errors import DataError, ImageError, OptionError
from sarhub_models.io.images import image_size, list_images, read_image
from sarhub_models.io.limits import check_scene, max_pixels
from sarhub_models.io.npz import read_arrays
from tests.weights.loopback import FileServer

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def write(path: Path, value: int, side: int = 16) -> Path:
    image = np.full((side, side), value, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        with rasterio.MemoryFile() as memory:
            with memory.open(driver="GTiff", dtype="uint8", height=side, width=side, count=1) as dataset:
                dataset.write(image, 1)
            path.write_bytes(memory.read())
    elif path.suffix == ".png":
        Image.fromarray(image).save(path)
    else:
        {".npy": np.save, ".npz": np.savez_compressed}[path.suffix](path, image)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz"])
def test_one_limit_for_all_formats(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / f"a{suffix}", 3)
    monkeypatch.setenv("SARHUB_MAX_PIXELS", "255")
    with pytest.raises(ImageError, match=r"16 x 16 = 256 values, the limit is 255.*SARHUB_MAX_PIXELS"):
        read_image(path)
    monkeypatch.setenv("SARHUB_MAX_PIXELS", "256")
    assert read_image(path).sum() == 768


@pytest.mark.parametrize("value", ["0", "-1", "many", "1e9", "9" * 30])
def test_the_limit_is_a_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_MAX_PIXELS", value)
    with pytest.raises(OptionError, match="positive whole number"):
        max_pixels()


def test_a_picture_beyond_the_limit_of_pillow_can_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.png", 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="decompression bomb"):
        monkeypatch.setenv("SARHUB_MAX_PIXELS", "200")
        read_image(path)
    monkeypatch.setenv("SARHUB_MAX_PIXELS", "256")
    assert read_image(path).shape == (16, 16)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_small_tiff_of_a_huge_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"dtype": "uint8", "height": 40_000, "width": 40_000, "count": 1, "tiled": True, "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", **profile):
        pass
    assert path.stat().st_size < 200_000
    with pytest.raises(ImageError, match="the limit is"):
        read_image(path)


def test_an_array_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10_000, 10_000)})
    (tmp_path / "a.npy").write_bytes(head.getvalue() + bytes(50))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("image.npy", head.getvalue() + bytes(50))
    for name in ("a.npy", "a.npz"):
        for function in (read_image, image_size):
            with pytest.raises(ImageError, match="takes 100000000 bytes, 50 are there"):
                function(tmp_path / name)


def test_a_header_is_not_read_for_what_its_length_claims(tmp_path: Path) -> None:
    content = np.lib.format.magic(2, 0) + b"\xff\xff\xff\xff{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2)}"
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("image.npy", content)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ImageError, match="its header claims 4294967295 bytes, at most 10000 are read"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("shape", [(0, 2**70), (2**70, 0), (0, 2**63)])
def test_an_array_of_no_values_cannot_be_of_any_shape(shape: tuple[int, int], tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("image.npy", head.getvalue())
    with pytest.raises(DataError, match="its shape is larger than any array's"):
        read_arrays(tmp_path / "a.npz")


def test_arrays_of_the_second_version_are_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, np.arange(6, dtype=np.uint16).reshape(2, 3), version=(2, 0))
    assert np.array_equal(read_image(tmp_path / "a.npy"), np.arange(6).reshape(2, 3))


def test_members_that_expand_at_once_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("image.npy", bytes(1 << 20))
    with pytest.raises(ImageError, match="expected a stored or deflated array, got method 12"):
        read_image(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"a{suffix}")
    (tmp_path / f"b{suffix}").symlink_to(tmp_path / f"a{suffix}")
    for name in ("a", "b"):
        with pytest.raises(ImageError, match="no regular file but a pipe"):
            read_image(tmp_path / f"{name}{suffix}")


def test_a_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("secret.tif"), 77)
    for name in ("http:/127.0.0.1:9/x.tif", "GTIFF_DIR:1:secret.tif", "vsicurl/x.tif", "zip:secret.tif", "s3:/a/b.tif"):
        write(Path(name), 7)
    for file in list_images("."):
        assert read_image(file)[0, 0] == (77 if file.name == "secret.tif" else 7), file


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_what_lies_beside_a_tiff_leads_nowhere(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "a.tif", 7)
    target = write(tmp_path / "secret.tif", 77)
    Path(f"{path}{suffix}").write_text(
        f'<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(ImageError, match=rf"a\.tif\{suffix} beside it is no TIFF"):
        read_image(path)


@pytest.mark.parametrize("place", ["{url}/x.tif", "/vsicurl/{url}/x.tif", "{folder}/secret.tif"])
@pytest.mark.parametrize("tagged", [False, True])
def test_what_a_tiff_names_as_its_overviews_is_never_opened(tmp_path: Path, place: str, tagged: bool) -> None:
    write(tmp_path / "secret.tif", 77)
    path = write(tmp_path / "a.tif", 7)
    with FileServer() as server:
        name = place.format(url=server.url, folder=tmp_path)
        if tagged:
            with rasterio.open(path, "r+") as dataset:
                dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=name)
        else:
            Path(f"{path}.aux.xml").write_text(
                '<PAMDataset><Metadata domain="OVERVIEWS">'
                f'<MDI key="OVERVIEW_FILE">{name}</MDI></Metadata></PAMDataset>'
            )
        assert (read_image(path) == 7).all()
        assert server.log == []


def test_a_pipe_beside_a_tiff_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", 7)
    os.mkfifo(f"{path}.aux.xml")
    with pytest.raises(ImageError, match=r"a\.tif\.aux\.xml beside it is no regular file"):
        read_image(path)


def test_a_limit_of_unpacking_is_called_that(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 3_000_000, zip=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(ImageError, match=r"a\.png: is refused: texts in it unpack to more than the limit of Pillow"):
        read_image(tmp_path / "a.png")


def test_a_scene_is_no_chip() -> None:
    check_scene((1024, 1024), 128)
    check_scene((30_000, 30_000), None)
    for shape in ((1025, 100), (2, 100, 1025)):
        with pytest.raises(ImageError, match="cut it into tiles"):
            check_scene(shape, 128)


def test_linked_folders_and_files_are_listed(tmp_path: Path) -> None:
    for name in ("store/a/0.npy", "store/b/1.npy", "set/real/2.npy"):
        write(tmp_path / name, 1)
    for name in ("a", "b"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "set" / "file.npy").symlink_to(tmp_path / "store" / "a" / "0.npy")
    (tmp_path / "set" / "gone.npy").symlink_to(tmp_path / "nowhere.npy")
    listed = [file.relative_to(tmp_path / "set").as_posix() for file in list_images(tmp_path / "set")]
    assert listed == ["a/0.npy", "b/1.npy", "file.npy", "gone.npy", "real/2.npy"]
    with pytest.raises(ImageError, match=r"gone\.npy: no such file; the link leads nowhere"):
        read_image(tmp_path / "set" / "gone.npy")


def test_a_cycle_of_links_ends_and_is_named(tmp_path: Path) -> None:
    write(tmp_path / "set" / "z" / "0.npy", 1)
    (tmp_path / "set" / "z" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a").symlink_to(tmp_path / "set" / "z")
    with pytest.warns(UserWarning, match="2 links lead to folders that are listed already"):
        listed = list_images(tmp_path / "set")
    assert [file.relative_to(tmp_path).as_posix() for file in listed] == ["set/z/0.npy"]
