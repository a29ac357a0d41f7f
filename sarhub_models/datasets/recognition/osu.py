"""OpenSARUrban: Sentinel-1 patches of urban scenes, 10 classes.

Zhao, Zhang, Yao, Datcu, Xiong, Yu: OpenSARUrban: A Sentinel-1 SAR image dataset for urban interpretation. IEEE JSTARS
13, 2020. On disk: patches ``<Class>_x<column>_y<row>_Polygon<n>_<polarization>`` as ``.tif``, ``.png`` or ``.npy``,
in any folders below the root. The class is the first part of the name; it varies in case, and between singular and
plural.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...errors import DataError, OptionError
from ...io.images import SUFFIXES
from ..catalog import CatalogEntry
from ..lists import AnyPath, ImageIndex, label_array, list_files, read_list
from .base import SceneDataset

__all__ = ["CLASS_NAMES", "DATASET", "OpenSARUrban"]

CLASS_NAMES = (
    "highbuilding",
    "StorageArea",
    "GeneralResidential",
    "denselow",
    "Skyscraper",
    "SingleBuilding",
    "Vegetation",
    "highway",
    "airport",
    "railway",
)
_PATCH = re.compile(r"(?P<name>.+)_x\d+_y\d+_Polygon\d+_(?P<polarization>v[vh])", re.IGNORECASE)
_LISTED = re.compile(r"_v[vh](?=(\.\w+)?$)")
_LABELS = {name.lower(): label for label, name in enumerate(CLASS_NAMES)}


class OpenSARUrban(SceneDataset):
    """The patches of one polarization.

    Args:
        root: folder of the patches.
        split: take only the patches of the list ``osu_<split>.txt`` or ``<split>.txt``, with its labels, in its
            order; the suffix it writes may differ from that of the files. By default all patches, labeled by name.
        polarization: ``"vv"`` or ``"vh"``, whichever the list names.
        lists: folder of the lists; by default ``root``.

    Raises:
        OptionError: there is no such polarization.
        DataError: no patches were found, one has an unknown class or occurs twice, or the list does not fit.
    """

    list_prefix = "osu_"

    def __init__(
        self,
        root: AnyPath,
        split: str | None = None,
        *,
        polarization: str = "vv",
        lists: AnyPath | None = None,
    ) -> None:
        if polarization not in ("vv", "vh"):
            raise OptionError(f"expected polarization 'vv' or 'vh', got {polarization!r}")
        if split is None:
            files, labels = _named_patches(Path(root), polarization)
        else:
            entries = read_list(self._list(root, lists, split), len(CLASS_NAMES))
            files = ImageIndex(root).find([_LISTED.sub(f"_{polarization}", entry.path) for entry in entries])
            labels = label_array(entries, len(CLASS_NAMES))
        super().__init__(root, files, labels, CLASS_NAMES)


DATASET = CatalogEntry(
    OpenSARUrban,
    {"train": 11_503, "val": 3_287, "test": 1_644},
    class_names=CLASS_NAMES,
    classes={"train": (3152, 2660, 2161, 1138, 447, 652, 1061, 135, 64, 33)},
    whole=True,
    lists=tuple(f"Pre-training/data/OSU/osu_{split}.txt" for split in ("train", "val", "test")),
    recipe={
        "data": {"options": {"polarization": "vv"}},
        "preprocess": {
            "operator": "ptls",
            "operators": {"ptls": {"low": 0, "high": 3, "eval_value": 1.5}},
            "mean": 0.3159206957121415,
            "std": 0.034312685984107194,
        },
    },
)


def _named_patches(root: Path, polarization: str) -> tuple[list[Path], np.ndarray]:
    """Return the patches below a folder and the labels that their names tell."""
    label_of: dict[Path, int] = {}
    seen: dict[str, Path] = {}
    for file in list_files(root):
        match = _PATCH.fullmatch(file.stem)
        if match is None or match["polarization"].lower() != polarization:
            continue
        if file.stem in seen:
            raise DataError(
                f"{seen[file.stem]} and {file} are the same patch; give the folder of one format, or remove the others"
            )
        seen[file.stem] = file
        label_of[file] = _label(file, match["name"])
    if not label_of:
        raise DataError(
            f"{root}: expected patches named <Class>_x<column>_y<row>_Polygon<n>_{polarization} "
            f"({', '.join(SUFFIXES)}) in this folder or below, found none"
        )
    return list(label_of), np.array(list(label_of.values()), dtype=np.int64)


def _label(file: Path, name: str) -> int:
    label = _LABELS.get(name.lower(), _LABELS.get(name.lower().removesuffix("s")))
    if label is None:
        raise DataError(f"{file}: no class is called {name!r}; expected one of {', '.join(CLASS_NAMES)}")
    return label
