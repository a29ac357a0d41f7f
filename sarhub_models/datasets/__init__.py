"""Readers of public SAR data sets, one file each. They know no manifest and no network architecture."""

from .base import Sample, SceneDataset
from .bigearthnet import BigEarthNetS1
from .coco import write_coco
from .detection import Detection, DetectionDataset
from .dsn import DsnPatches, DsnSLC, load_dsn
from .dsn_download import download_dsn
from .folder import FolderDataset, ListDataset
from .fusar import FUSARShip
from .hrsid import HRSID
from .ls_ssdd import LsSsdd
from .mstar import MSTAR
from .opensarship import OpenSARShip
from .opensarurban import OpenSARUrban
from .spacenet6 import Segmentation, SpaceNet6
from .ssdd import SSDD
from .tsx import TerraSARX

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
