"""Groups of images that belong together, and splits that keep them on one side.

``group_lists/<data set>.csv`` has a line ``image,group`` for each image of a data set whose images share pixels: names
and numbers, found by the correlation of their speckle; those of SSDD with :mod:`.leaks`.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources

__all__ = ["SHARES", "read_groups", "split_groups"]

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
"""Share of the images of each split, by default."""


def read_groups(dataset: str) -> dict[str, str]:
    """Return the group of each image of a data set, by the name of the image in the data set's own terms."""
    file = resources.files(__package__) / "group_lists" / f"{dataset}.csv"
    with file.open(encoding="utf-8") as stream:
        return {row["image"]: row["group"] for row in csv.DictReader(stream)}


def split_groups(
    groups: Sequence[Hashable], *, labels: Sequence[Hashable] | None = None, shares: Mapping[str, float] = SHARES
) -> list[str]:
    """Return the split of each sample, no group of which is in two.

    The groups of a class come in the order of a digest of their names, and each goes to the split that lacks most of
    its share; so the splits depend on the names of the groups alone. A group counts as of the class of its first one.

    Args:
        groups: of each sample.
        labels: class of each sample, every one of which is shared out alike; by default there is one.
        shares: share of each split; they sum to 1.
    """
    members: dict[Hashable, int] = defaultdict(int)
    label_of: dict[Hashable, Hashable] = {}
    for group, label in zip(groups, labels if labels is not None else [0] * len(groups), strict=True):
        members[group] += 1
        label_of.setdefault(group, label)
    by_label: dict[Hashable, list[Hashable]] = defaultdict(list)
    for group in sorted(members, key=lambda group: hashlib.sha256(str(group).encode()).digest()):
        by_label[label_of[group]].append(group)
    split_of: dict[Hashable, str] = {}
    for chosen in by_label.values():
        lacking = {split: share * sum(members[group] for group in chosen) for split, share in shares.items()}
        for group in chosen:
            split = max(lacking, key=lambda name: lacking[name])
            split_of[group] = split
            lacking[split] -= members[group]
    return [split_of[group] for group in groups]
