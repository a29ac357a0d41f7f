"""Readers of public SAR data sets, one file each. They know no manifest and no network architecture."""

from .dsn import DsnPatches, load_dsn
from .dsn_download import download_dsn

__all__ = ["DsnPatches", "download_dsn", "load_dsn"]
