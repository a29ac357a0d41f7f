"""Readers of public SAR data sets, one file each. They know no manifest and no network architecture."""

from .base import Sample, SceneDataset
from .bigearthnet import BigEarthNetS1
from .dsn import DsnPatches, DsnSLC, load_dsn
from .dsn_download import download_dsn
from .folder import FolderDataset, ListDataset
from .fusar import FUSARShip
from .mstar import MSTAR
from .opensarship import OpenSARShip
from .opensarurban import OpenSARUrban
from .tsx import TerraSARX

__all__ = [
    "MSTAR",
    "BigEarthNetS1",
    "DsnPatches",
    "DsnSLC",
    "FUSARShip",
    "FolderDataset",
    "ListDataset",
    "OpenSARShip",
    "OpenSARUrban",
    "Sample",
    "SceneDataset",
    "TerraSARX",
    "download_dsn",
    "load_dsn",
]
