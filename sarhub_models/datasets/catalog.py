"""What a complete download of each public data set holds: splits, images and classes as they were published.

The numbers of images are those of the papers, named in the module of each reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """One data set.

    Attributes:
        reader: name of its class in :mod:`sarhub_models.datasets`.
        splits: images of each split; ``None`` where the number was not published. The first ones are checked unless
            others are asked for.
        default: how many of the splits are the first ones.
        prefix: what names of lists begin with; ``None`` where the reader takes no lists, but annotations.
        whole: whether the reader opens everything there is where there are no lists.
        total: images of the first splits together, where only this was published.
        classes: images of each class, in the order of their labels, by split.
        class_count: number of classes, by split.
    """

    reader: str
    splits: Mapping[str, int | None]
    default: int
    prefix: str | None = ""
    whole: bool = False
    total: int | None = None
    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    class_count: Mapping[str, int] = field(default_factory=dict)


_SCENES: dict[str, int | None] = {"train": None, "val": None, "test": None}
# fmt: off
PUBLISHED = {
    "tsx": Published("TerraSARX", _SCENES, 3, "tsx_"),
    "ben": Published(
        "BigEarthNetS1", {"train": 44_274, "val": 9_839, "test": None}, 3, "ben_", whole=True,
        classes={
            "train": (6153, 1732, 15493, 2213, 7835, 8023, 11012, 2281, 11365, 15940, 16285, 1070, 1572, 13225, 125,
                      2264, 194, 7006, 6235),
        },
    ),
    "osu": Published(
        "OpenSARUrban", {"train": 11_503, "val": 3_287, "test": 1_644}, 3, "osu_", whole=True,
        classes={"train": (3152, 2660, 2161, 1138, 447, 652, 1061, 135, 64, 33)},
    ),
    "dsn": Published("DsnSLC", _SCENES, 3, None),
    "mstar": Published(
        "MSTAR", {"train": 2_747, "test": 2_425, "train_30": 817, "train_10": 268}, 2,
        # Chen, Wang, Xu, Jin: Target classification using the deep convolutional networks for SAR images. TGRS 54, 2016
        classes={
            "train": (299, 233, 298, 256, 233, 299, 299, 232, 299, 299),
            "test": (274, 195, 274, 195, 196, 274, 273, 196, 274, 274),
        },
    ),
    "opensarship": Published(
        "OpenSARShip",
        {f"{size}_{part}": None for size in ("low", "medium", "large") for part in ("train", "test")}, 6, whole=True,
        class_count={
            f"{size}_{part}": count
            for size, count in (("low", 14), ("medium", 13), ("large", 7)) for part in ("train", "test")
        },
    ),
    "fusar": Published("FUSARShip", {"train6": 1_678, "test6": 1_662}, 2, "FuSAR_", whole=True),
    "ssdd": Published("SSDD", {"train": 928, "test": 232}, 2, None),
    "hrsid": Published("HRSID", {"train": None, "test": None}, 2, None, total=5_604),
    "ls_ssdd": Published("LsSsdd", {"train": 6_000, "test": 3_000}, 2, None),
    "spacenet6": Published("SpaceNet6", {"train": 2_380, "test": 1_021}, 2, whole=True, total=3_401),
    "folder": Published("FolderDataset", _SCENES, 3, whole=True),
}
# fmt: on
"""Every data set that ``sarhub index`` knows, by name."""
