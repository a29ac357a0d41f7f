from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sarhub_models.errors import ImageError
from sarhub_models.io.images import SUFFIXES, image_size, list_images, read_bands, read_image, read_raster

RAMP = np.arange(48).reshape(6, 8)
WITHOUT_HEADER = [suffix for suffix in SUFFIXES if suffix not in (".img", ".bin")]  # in a file of its own


pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def write_tiff(path: Path, *bands: np.ndarray, dtype: str | None = None) -> Path:
    height, width = bands[0].shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": len(bands)}
    with rasterio.open(path, "w", dtype=dtype or bands[0].dtype.name, **profile) as dataset:
        for number, band in enumerate(bands, start=1):
            dataset.write(band, number)
    return path


def refusal(path: Path, **options: int) -> str:
    """The message with which an image is refused; it must name the file."""
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", ".TIFF"])
def test_a_band_is_read_as_it_was_written(tmp_path: Path, dtype: str, suffix: str) -> None:
    image = RAMP.astype(dtype) * (1 - 2j if dtype.startswith("complex") else 1)
    image = image.astype(dtype)
    path = tmp_path / f"chip{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    elif suffix == ".npz":
        np.savez_compressed(path, chip=image)
    else:
        write_tiff(path, image)
    result = read_image(path)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result, image)


def test_complex_integers_of_a_tiff_become_complex64(tmp_path: Path) -> None:
    image = (RAMP - 20 + 1j * RAMP).astype(np.complex64)
    path = write_tiff(tmp_path / "slc.tif", image, dtype="complex_int16")
    result = read_image(path)
    assert result.dtype == np.complex64
    np.testing.assert_array_equal(result, image)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<u2", ">u2", "<c8", ">c16", "i1"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.integers(0, 100),
    )
)
def test_every_byte_order_and_memory_order_is_read(tmp_path: Path, image: np.ndarray) -> None:
    for array in (image, np.asfortranarray(image)):
        np.save(tmp_path / "a.npy", array)
        result = read_image(tmp_path / "a.npy")
        np.testing.assert_array_equal(result, image)
        assert result.dtype.isnative
        assert result.flags.c_contiguous


def test_one_of_several_bands_is_picked(tmp_path: Path) -> None:
    bands = np.stack([RAMP, RAMP * 2, RAMP * 3]).astype(np.float32)
    np.save(tmp_path / "a.npy", bands)
    np.savez(tmp_path / "a.npz", image=bands, label=3)
    write_tiff(tmp_path / "a.tif", *bands)
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_image(path, band=2), bands[1])
        assert "3 bands" in refusal(path)
        assert "band=1" in refusal(path)
        for absent in (0, 4):
            assert f"no band {absent}" in refusal(path, band=absent)


def test_one_band_needs_no_choice(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RAMP[None])
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), RAMP)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", band=1), RAMP)


def test_an_npz_with_several_arrays_needs_one_called_image(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, label=np.array(1), image=RAMP)
    np.testing.assert_array_equal(read_image(path), RAMP)
    np.savez(path, iq=RAMP, label=np.array(1))
    assert "iq, label" in refusal(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_gray_pictures_are_read(tmp_path: Path, suffix: str) -> None:
    gray = np.full((16, 16), 77, np.uint8)
    for name, pixels in (("l", gray), ("rgb", np.stack([gray] * 3, axis=-1))):
        path = tmp_path / f"{name}{suffix}"
        Image.fromarray(pixels).save(path)
        result = read_image(path)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, gray)


def test_png_keeps_sixteen_bits_and_drops_alpha(tmp_path: Path) -> None:
    deep = (RAMP * 1300).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png").dtype == np.uint16
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), deep)
    gray = RAMP.astype(np.uint8)
    for mode in ("LA", "RGBA", "P", "1"):
        Image.fromarray(gray).convert(mode).save(tmp_path / "a.png")
        expected = np.asarray(Image.fromarray(gray).convert(mode).convert("L"))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_color_needs_a_choice(tmp_path: Path) -> None:
    colors = np.stack([RAMP, RAMP * 2, RAMP * 3], axis=-1).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(colors).save(path)
    assert "band=1, 2 or 3" in refusal(path)
    np.testing.assert_array_equal(read_image(path, band=3), colors[..., 2])
    assert "no band 4" in refusal(path, band=4)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("disguised", ["TIFF", "EPS", "GIF", "BMP", "PPM"])
def test_pictures_of_other_formats_are_not_opened(tmp_path: Path, suffix: str, disguised: str) -> None:
    path = tmp_path / f"a{suffix}"
    pixels = RAMP.astype(np.int32) * 70000 if disguised == "TIFF" else RAMP.astype(np.uint8)
    Image.fromarray(pixels).save(path, format=disguised)
    assert "cannot identify image file" in refusal(path)  # and not an error from inside another format's decoder


@pytest.mark.parametrize("suffix", WITHOUT_HEADER)
def test_truncated_and_foreign_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"chip{suffix}"
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    if suffix in (".npy", ".npz"):
        {".npy": np.save, ".npz": np.savez}[suffix](path, image)
    elif suffix.startswith(".tif"):
        write_tiff(path, image)
    else:
        Image.fromarray(image).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no image at all", b"<VRTDataset/>"):
        path.write_bytes(content)
        refusal(path)


def test_a_tiff_cannot_lead_to_other_files(tmp_path: Path) -> None:
    target = write_tiff(tmp_path / "target.tif", RAMP.astype(np.uint8))
    path = tmp_path / "link.tif"
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="6"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    refusal(path)


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

    np.save(tmp_path / "a.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", np.array([[Trap()]], dtype=object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npy", "b.npz", "c.npy"):
        refusal(tmp_path / name)
    assert "pickle" in refusal(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan)])
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_pixels_that_are_not_finite_are_counted(tmp_path: Path, bad: complex, suffix: str) -> None:
    image = RAMP.astype(np.complex64 if isinstance(bad, complex) else np.float32)
    image[1, 2] = image[3, 4] = bad
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    else:
        write_tiff(path, image)
    assert "2 of 48 pixels are NaN" in refusal(path)


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros(4), r"(4,)"),
        (np.zeros((1, 1, 4, 4)), "(1, 1, 4, 4)"),
        (np.zeros((0, 4)), "(0, 4)"),
        (np.zeros((4, 4), bool), "bool"),
        (np.array([["a", "b"]]), "<U1"),
        (np.float32(3), "()"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path: Path, array: np.ndarray, hint: str) -> None:
    np.save(tmp_path / "a.npy", array)
    assert hint in refusal(tmp_path / "a.npy")


def test_missing_files_and_unknown_suffixes_are_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "a.npy")
    assert ".tiff" in refusal(tmp_path / "a.mat")
    (tmp_path / "folder.npy").mkdir()
    assert "no such file" in refusal(tmp_path / "folder.npy")


def test_a_huge_header_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**7)})
    (tmp_path / "a.npy").write_bytes(content.getvalue())
    refusal(tmp_path / "a.npy")


def test_images_are_listed_in_the_same_order_everywhere(tmp_path: Path) -> None:
    names = ["b/2.npy", "b/10.TIF", "a.png", "b-c/x.npz", ".hidden/x.npy", "b/._1.npy", "notes.txt", "b/deep/er/z.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.npy").mkdir()
    listed = [file.relative_to(tmp_path).as_posix() for file in list_images(tmp_path)]
    assert listed == ["a.png", "b/10.TIF", "b/2.npy", "b/deep/er/z.jpg", "b-c/x.npz"]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ImageError, match="no images"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="no such folder"):
        list_images(tmp_path / "absent")


@pytest.mark.parametrize("suffix", WITHOUT_HEADER)
@pytest.mark.parametrize("bands", [1, 3])
def test_the_size_is_read_from_the_header(tmp_path: Path, suffix: str, bands: int) -> None:
    path = tmp_path / f"chip{suffix}"
    planes = np.stack([RAMP.astype(np.uint8) + band for band in range(bands)])
    if suffix == ".npy":
        np.save(path, planes if bands > 1 else planes[0])
    elif suffix == ".npz":
        np.savez(path, planes if bands > 1 else planes[0])
    elif suffix in (".tif", ".tiff"):
        write_tiff(path, *planes)
    else:
        Image.fromarray(np.moveaxis(planes, 0, -1) if bands > 1 else planes[0]).save(path)
    assert image_size(path) == (6, 8)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ImageError, match=rf"chip\{suffix}: cannot be read as"):
        image_size(path)


def test_no_size_without_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"chip\.png: no such file"):
        image_size(tmp_path / "chip.png")
    with pytest.raises(ImageError, match=r"cannot read \.gif"):
        image_size(tmp_path / "chip.gif")
    np.save(tmp_path / "chip.npy", np.arange(4))
    with pytest.raises(ImageError, match=r"expected shape \(H, W\) or \(bands, H, W\), got \(4,\)"):
        image_size(tmp_path / "chip.npy")


def test_the_luma_of_a_picture_is_that_of_pillow(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert "a color picture" in refusal(tmp_path / "a.png")
    expected = np.asarray(Image.fromarray(colors).convert("L"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", band="luma"), expected)
    Image.fromarray(expected).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png", band="luma"), expected)


def test_bmp_is_read(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), RAMP)
    assert image_size(tmp_path / "a.bmp") == (6, 8)


def write_envi(path: Path, *bands: np.ndarray, names: tuple[str, ...] = ()) -> Path:
    height, width = bands[0].shape
    profile = {"height": height, "width": width, "count": len(bands), "dtype": bands[0].dtype.name}
    with rasterio.open(path, "w", driver="ENVI", **profile) as dataset:
        for number, band in enumerate(bands, start=1):
            dataset.write(band, number)
            if names:
                dataset.set_band_description(number, names[number - 1])
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
    return path


def test_envi_rasters_are_read_with_their_header(tmp_path: Path) -> None:
    complex_image = (RAMP - 1j * RAMP).astype(np.complex64)
    np.testing.assert_array_equal(read_image(write_envi(tmp_path / "slc.bin", complex_image)), complex_image)
    path = write_envi(tmp_path / "two.img", -RAMP.astype(np.float32), RAMP.astype(np.float32), names=("VH", "VV"))
    assert read_raster(path).bands == ("VH", "VV")
    np.testing.assert_array_equal(read_bands(path, ["VV", "VH"]), np.stack([RAMP, -RAMP]))
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    assert [file.name for file in list_images(tmp_path)] == ["slc.bin", "two.img"], "a .bin without header is no image"
    assert "expected the header of an ENVI raster beside it, weights.hdr" in refusal(tmp_path / "weights.bin")


def test_damaged_envi_rasters_are_refused(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "a.img", RAMP.astype(np.float32))
    path.write_bytes(path.read_bytes()[:-4])
    assert "expected 192 bytes of pixels as its header says, got 188" in refusal(path)
    path.with_suffix(".hdr").write_text("<VRTDataset/>")
    assert "does not begin with ENVI" in refusal(path)
