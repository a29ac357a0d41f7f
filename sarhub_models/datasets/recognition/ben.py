"""BigEarthNet-S1: Sentinel-1 patches of 120 by 120 pixels with land-cover labels, 19 classes.

Sumbul, de Wall, Kreuziger, Marcelino, Costa, Benevides, Caetano, Demir, Markl: BigEarthNet-MM. IEEE Geoscience and
Remote Sensing Magazine 9(3), 2021. On disk: a folder for each patch with ``<patch>_VV.tif`` and ``<patch>_VH.tif``
(float32, backscatter in dB) and ``<patch>_labels_metadata.json`` with CORINE level-3 names. Of these 43 names, 32
make up the 19 classes of that paper and 11 are dropped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError, IncompleteError, OptionError, closest
from ...io.images import read_image
from ...io.json_files import read_object
from ..catalog import CatalogEntry
from ..lists import AnyPath, ImageIndex, label_array, read_list
from .base import SceneDataset

__all__ = ["CLASS_NAMES", "CORINE_TO_CLASS", "DATASET", "BigEarthNetS1", "corine_labels", "db_to_amplitude"]

_MEMBERS = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Industrial or commercial units": ("Industrial or commercial units",),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards",
        "Fruit trees and berry plantations",
        "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Pastures": ("Pastures",),
    "Complex cultivation patterns": ("Complex cultivation patterns",),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
    ),
    "Agro-forestry areas": ("Agro-forestry areas",),
    "Broad-leaved forest": ("Broad-leaved forest",),
    "Coniferous forest": ("Coniferous forest",),
    "Mixed forest": ("Mixed forest",),
    "Natural grassland and sparsely vegetated areas": ("Natural grassland", "Sparsely vegetated areas"),
    "Moors, heathland and sclerophyllous vegetation": ("Moors and heathland", "Sclerophyllous vegetation"),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Beaches, dunes, sands": ("Beaches, dunes, sands",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}
_DROPPED = (
    "Road and rail networks and associated land",
    "Port areas",
    "Airports",
    "Mineral extraction sites",
    "Dump sites",
    "Construction sites",
    "Green urban areas",
    "Sport and leisure facilities",
    "Bare rock",
    "Burnt areas",
    "Intertidal flats",
)
CLASS_NAMES = tuple(_MEMBERS)
CORINE_TO_CLASS: dict[str, int | None] = {
    **{corine: label for label, members in enumerate(_MEMBERS.values()) for corine in members},
    **dict.fromkeys(_DROPPED),
}
"""Class of each of the 43 CORINE names, or ``None`` where it was dropped."""

# fmt: off
_TRAIN_COUNTS = (6153, 1732, 15493, 2213, 7835, 8023, 11012, 2281, 11365, 15940, 16285, 1070, 1572, 13225, 125, 2264,
                 194, 7006, 6235)
# fmt: on
_PATCH = re.compile(r"S1[A-D]_\w+_\d{8}T\d{6}_\w+_\d+_\d+")
_BAND_AND_SUFFIX = re.compile(r"(_V[VH])?(\.\w+)?$")


class BigEarthNetS1(SceneDataset):
    """One polarization of the patches.

    Images are amplitude, float32: backscatter of the published GeoTIFFs in dB becomes 10^(dB/20). Bright targets
    exceed 1. Images of the ``.npy`` layout, one ``<patch>_VV.npy`` or ``<patch>_VH.npy`` for each patch, are
    returned as they are.

    Args:
        root: the patch folders, or the ``.npy`` files, in this folder or below.
        split: take only the patches of the list ``ben_<split>.txt`` or ``<split>.txt``, with its labels (indices
            into the 19 classes), in its order. By default all patch folders, labeled by their metadata; a patch
            that keeps none of the 19 is left out. The ``.npy`` layout needs a list.
        band: ``"VV"`` or ``"VH"``, whichever the list names.
        lists: folder of the lists; by default ``root``.

    Attributes:
        excluded: patches left out because none of their labels is among the 19.

    Raises:
        OptionError: there is no such band.
        DataError: no patches were found, a file of one is missing, metadata are damaged or have unknown labels,
            a patch is ambiguous, or the list does not fit.
    """

    list_prefix = "ben_"

    def __init__(
        self, root: AnyPath, split: str | None = None, *, band: str = "VV", lists: AnyPath | None = None
    ) -> None:
        if band not in ("VV", "VH"):
            raise OptionError(f"expected band 'VV' or 'VH', got {band!r}")
        root = Path(root)
        folders = _patch_folders(root)
        self.excluded: tuple[str, ...] = ()
        if split is None:
            names, labels, self.excluded = _labeled_patches(root, folders)
            files = _band_files(root, folders, names, band)
        else:
            entries = read_list(self._list(root, lists, split), len(CLASS_NAMES), multilabel=True)
            labels = label_array(entries, len(CLASS_NAMES), multilabel=True)
            listed = [_BAND_AND_SUFFIX.sub("", entry.path, count=1) for entry in entries]
            if folders:
                files = _band_files(root, folders, [re.split(r"[/\\]", path)[-1] for path in listed], band)
            else:
                files = ImageIndex(root, suffixes=(".npy",)).find([f"{path}_{band}.npy" for path in listed])
        super().__init__(root, files, labels, CLASS_NAMES)

    def notes(self) -> tuple[str, ...]:
        """Return a remark on the patches that were left out."""
        if not self.excluded:
            return ()
        return (f"{len(self.excluded)} patches keep none of the classes and were left out, {self.excluded[0]} first",)

    def _read(self, file: Path) -> np.ndarray:
        image = read_image(file)
        return db_to_amplitude(image) if file.suffix == ".tif" else image


DATASET = CatalogEntry(
    BigEarthNetS1,
    {"train": 44_274, "val": 9_839, "test": None},
    class_names=CLASS_NAMES,
    classes={"train": _TRAIN_COUNTS},
    whole=True,
    lists=tuple(f"Pre-training/data/BEN/ben_{split}.txt" for split in ("train", "val", "test")),
    recipe={
        # backscatter of the GeoTIFFs becomes amplitude, which exceeds 1 only at bright targets
        "data": {"options": {"band": "VV"}, "full_scale": 1.0},
        "preprocess": {
            "operator": "ptls",
            "operators": {"ptls": {"low": 0, "high": 2, "eval_value": 1}},
            "mean": 0.5995,
            "std": 0.0005743462,
        },
    },
)


def db_to_amplitude(backscatter: np.ndarray) -> np.ndarray:
    """Return 10^(dB/20) as float32: the amplitude whose power is the backscatter."""
    return np.power(10.0, np.asarray(backscatter, dtype=np.float64) / 20.0).astype(np.float32)


def corine_labels(names: Iterable[str]) -> np.ndarray:
    """Return the 19 classes of some CORINE names.

    Args:
        names: of the 43 names that the metadata use.

    Returns:
        uint8 (19,) of zeros and ones; all zeros if every name was dropped.

    Raises:
        DataError: a name is not one of the 43.
    """
    labels = np.zeros(len(CLASS_NAMES), dtype=np.uint8)
    for name in names:
        if name not in CORINE_TO_CLASS:
            raise DataError(f"{name!r} is not a CORINE class of BigEarthNet{closest(str(name), CORINE_TO_CLASS)}")
        if (label := CORINE_TO_CLASS[name]) is not None:
            labels[label] = 1
    return labels


def _patch_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each patch below the root, sorted by name."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with the patches of BigEarthNet-S1")
    found: dict[str, Path] = {}
    for parent, subfolders, _ in os.walk(root):
        deeper = []
        for name in subfolders:
            if not _PATCH.fullmatch(name):
                deeper.append(name)
            elif name in found:
                raise DataError(f"{found[name]} and {Path(parent, name)} are the same patch; remove one of them")
            else:
                found[name] = Path(parent, name)
        subfolders[:] = deeper
    return dict(sorted(found.items()))


def _labeled_patches(root: Path, folders: dict[str, Path]) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Return the patches that keep a label, their labels (N, 19), and the patches that keep none."""
    if not folders:
        raise DataError(
            f"{root}: expected folders such as S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39, with _VV.tif, _VH.tif "
            "and _labels_metadata.json, in this folder or below, found none; .npy files need split=… and a list"
        )
    labels = np.stack([_read_labels(folder / f"{name}_labels_metadata.json") for name, folder in folders.items()])
    names = np.array(list(folders))
    kept = labels.max(axis=1) == 1
    return names[kept].tolist(), labels[kept], tuple(names[~kept].tolist())


def _read_labels(file: Path) -> np.ndarray:
    try:
        names = read_object(file, keys=("labels",))["labels"]
        if not isinstance(names, list):
            raise TypeError(f"'labels' is {type(names).__name__}")
        return corine_labels(names)
    except FileNotFoundError as err:
        raise DataError(f"expected the labels of the patch in {file}, found no such file") from err
    except DataError as err:
        raise DataError(str(err) if str(file) in str(err) else f"{file}: {err}") from err
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{file} does not hold a JSON object with a list 'labels' ({err!r}); fetch it again") from err


def _band_files(root: Path, folders: dict[str, Path], names: Sequence[str], band: str) -> list[Path]:
    missing = [name for name in names if name not in folders]
    if missing:
        message = f"{len(missing)} of {len(names)} listed patches are not below {root}, {missing[0]} first"
        found = [folders[name] / f"{name}_{band}.tif" for name in names if name in folders]
        raise IncompleteError(message, missing=missing, found=[file for file in found if file.is_file()])
    files = [folders[name] / f"{name}_{band}.tif" for name in names]
    absent = [file for file in files if not file.is_file()]
    if absent:
        raise IncompleteError(
            f"{len(absent)} of {len(files)} images are missing, {absent[0]} first; unpack the data set again",
            missing=[file.relative_to(root).as_posix() for file in absent],
            found=[file for file in files if file.is_file()],
        )
    return files
