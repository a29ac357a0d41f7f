"""Readers of public SAR data sets, one file each, and the catalog of them.

They know no manifest and no network architecture. Names are resolved on first use (PEP 562), so that the names of the
data sets cost no import of a reader. The class of every data set in the catalog can be imported from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotations.coco import write_coco
    from .detection.base import Detection, DetectionDataset
    from .recognition.base import Sample, SceneDataset
    from .recognition.dsn.download import download_dsn
    from .recognition.dsn.reader import DsnPatches, load_dsn
    from .recognition.folder import ListDataset
    from .segmentation.base import Segmentation, SegmentationDataset

_HOME = {
    "Detection": "detection.base",
    "DetectionDataset": "detection.base",
    "DsnPatches": "recognition.dsn.reader",
    "ListDataset": "recognition.folder",
    "Sample": "recognition.base",
    "SceneDataset": "recognition.base",
    "Segmentation": "segmentation.base",
    "SegmentationDataset": "segmentation.base",
    "download_dsn": "recognition.dsn.download",
    "load_dsn": "recognition.dsn.reader",
    "write_coco": "annotations.coco",
}

__all__ = [
    "Detection",
    "DetectionDataset",
    "DsnPatches",
    "ListDataset",
    "Sample",
    "SceneDataset",
    "Segmentation",
    "SegmentationDataset",
    "download_dsn",
    "load_dsn",
    "write_coco",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name[:1].isupper():  # a module of this package is no reader
        from .catalog import find, names

        for reader in (find(dataset).reader for dataset in names()):
            if reader.__name__ == name:
                return reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
