"""Readers of public SAR data sets, one file each. They know no manifest and no network architecture."""

from .detection.base import Detection, DetectionDataset
from .detection.coco import write_coco
from .detection.hrsid import HRSID
from .detection.ls_ssdd import LsSsdd
from .detection.ssdd import SSDD
from .recognition.base import Sample, SceneDataset
from .recognition.bigearthnet import BigEarthNetS1
from .recognition.dsn.download import download_dsn
from .recognition.dsn.reader import DsnPatches, DsnSLC, load_dsn
from .recognition.folder import FolderDataset, ListDataset
from .recognition.fusar import FUSARShip
from .recognition.mstar.reader import MSTAR
from .recognition.opensarship import OpenSARShip
from .recognition.opensarurban import OpenSARUrban
from .recognition.tsx import TerraSARX
from .segmentation.spacenet6 import Segmentation, SpaceNet6

__all__ = [
    "HRSID",
    "MSTAR",
    "SSDD",
    "BigEarthNetS1",
    "Detection",
    "DetectionDataset",
    "DsnPatches",
    "DsnSLC",
    "FUSARShip",
    "FolderDataset",
    "ListDataset",
    "LsSsdd",
    "OpenSARShip",
    "OpenSARUrban",
    "Sample",
    "SceneDataset",
    "Segmentation",
    "SpaceNet6",
    "TerraSARX",
    "download_dsn",
    "load_dsn",
    "write_coco",
]
