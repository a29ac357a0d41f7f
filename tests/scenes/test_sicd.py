"""SICD scenes: a file that sarkit writes is read in windows, calibrated by its own polynomial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sarhub_models.errors import ImageError
from sarhub_models.scenes.plan import Window
from sarhub_models.scenes.products import open_scene

sicd = pytest.importorskip("sarkit.sicd")  # wants Python 3.11
etree = pytest.importorskip("lxml.etree")

SHAPE = (40, 60)
XML = """<SICD xmlns="urn:SICD:1.3.0">
<CollectionInfo><CollectorName>none</CollectorName><CoreName>made up</CoreName><CollectType>MONOSTATIC</CollectType>
<RadarMode><ModeType>SPOTLIGHT</ModeType></RadarMode><Classification>UNCLASSIFIED</Classification></CollectionInfo>
<ImageData><PixelType>RE32F_IM32F</PixelType><NumRows>40</NumRows><NumCols>60</NumCols><FirstRow>0</FirstRow>
<FirstCol>0</FirstCol><FullImage><NumRows>40</NumRows><NumCols>60</NumCols></FullImage>
<SCPPixel><Row>20</Row><Col>30</Col></SCPPixel></ImageData>
<GeoData><EarthModel>WGS_84</EarthModel><SCP><ECF><X>6378137</X><Y>0</Y><Z>0</Z></ECF>
<LLH><Lat>0</Lat><Lon>0</Lon><HAE>0</HAE></LLH></SCP><ImageCorners>
<ICP index="1:FRFC"><Lat>0.001</Lat><Lon>-0.002</Lon></ICP><ICP index="2:FRLC"><Lat>0.001</Lat><Lon>0.002</Lon></ICP>
<ICP index="3:LRLC"><Lat>-0.001</Lat><Lon>0.002</Lon></ICP><ICP index="4:LRFC"><Lat>-0.001</Lat><Lon>-0.002</Lon></ICP>
</ImageCorners></GeoData>
<Grid><Row><UVectECF><X>0</X><Y>0</Y><Z>-1</Z></UVectECF><SS>0.5</SS></Row>
<Col><UVectECF><X>0</X><Y>1</Y><Z>0</Z></UVectECF><SS>0.25</SS></Col></Grid>
<SCPCOA><ARPPos><X>6878137</X><Y>0</Y><Z>500000</Z></ARPPos><ARPVel><X>0</X><Y>7500</Y><Z>0</Z></ARPVel>
<SideOfTrack>R</SideOfTrack></SCPCOA>
<Timeline><CollectStart>2021-06-01T05:41:08Z</CollectStart><CollectDuration>1</CollectDuration></Timeline>
<ImageFormation><TxRcvPolarizationProc>V:V</TxRcvPolarizationProc></ImageFormation>
%s</SICD>"""
CALIBRATED = """<Radiometric><SigmaZeroSFPoly order1="1" order2="1"><Coef exponent1="0" exponent2="0">2.0</Coef>
<Coef exponent1="1" exponent2="0">0.01</Coef><Coef exponent1="0" exponent2="1">0.02</Coef>
<Coef exponent1="1" exponent2="1">0</Coef></SigmaZeroSFPoly></Radiometric>"""


pytestmark = pytest.mark.filterwarnings("ignore:.*SCHEMASV:UserWarning")  # blocks that nobody here reads are left out


def write_sicd(file: Path, pixels: np.ndarray, radiometric: str) -> Path:
    security = {"security": {"clas": "U"}}
    metadata = sicd.NitfMetadata(
        xmltree=etree.ElementTree(etree.fromstring(XML % radiometric)),
        file_header_part={"ostaid": "nowhere", **security},
        im_subheader_part={"isorce": "made up", **security},
        de_subheader_part=security,
    )
    with file.open("wb") as stream, sicd.NitfWriter(stream, metadata) as writer:
        writer.write_image(pixels)
    return file


@pytest.fixture
def pixels() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)).astype(np.complex64)


def test_power_is_multiplied_by_the_polynomial_of_the_place(tmp_path: Path, pixels: np.ndarray) -> None:
    with open_scene(write_sicd(tmp_path / "s.nitf", pixels, CALIBRATED)) as scene:
        assert (scene.shape, scene.bands, scene.radiometry, scene.spacing) == (SHAPE, ("VV",), "sigma0", (0.5, 0.25))
        found, valid = scene.read(Window(10, 20, 15, 30))
    rows, columns = np.meshgrid(np.arange(10, 25), np.arange(20, 50), indexing="ij")
    factor = 2 + 0.01 * (rows - 20) * 0.5 + 0.02 * (columns - 30) * 0.25
    np.testing.assert_allclose(found[0], np.abs(pixels[10:25, 20:50]) ** 2 * factor, rtol=1e-5)
    assert valid.all()


def test_without_a_calibration_pixels_stay_complex(tmp_path: Path, pixels: np.ndarray) -> None:
    file = write_sicd(tmp_path / "s.ntf", pixels, "")
    with open_scene(file) as scene:
        assert scene.radiometry == "dn"
        np.testing.assert_array_equal(scene.read(Window(0, 0, *SHAPE))[0][0], pixels)
    with pytest.raises(ImageError, match="not calibrated to sigma0"):
        open_scene(file, radiometry="sigma0")


def test_the_corners_are_its_control_points(tmp_path: Path, pixels: np.ndarray) -> None:
    with open_scene(write_sicd(tmp_path / "s.nitf", pixels, CALIBRATED)) as scene:
        x, y = scene.georeference.coordinates(20, 30)
    assert (x[0], y[0]) == pytest.approx((0, 0), abs=1e-9)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.nitf").write_bytes(b"NITF02.10" + bytes(900))
    with pytest.raises(ImageError, match="cannot be read as SICD"):
        open_scene(tmp_path / "s.nitf")


def test_a_band_that_it_does_not_hold_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    file = write_sicd(tmp_path / "s.nitf", pixels, CALIBRATED)
    for options in ({"band": "VH"}, {"band": 2}, {"wanted": ("VV", "VH")}):
        with pytest.raises(ImageError, match=r"s\.nitf: "):
            open_scene(file, **options)
    with open_scene(file, wanted=("VV",), band=1) as scene:
        assert scene.bands == ("VV",)
