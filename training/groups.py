"""Split images by groups that must stay together: ``python -m training.groups groups.csv --out lists``.

Chips that were cut from one scene, or show one object, are no independent samples: a split through them tells how
well they are remembered.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sarhub_models.errors import DataError, SarHubError
from sarhub_models.io.files import write_text

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    groups: Annotated[Path, typer.Argument(help="CSV file with the columns image (class/name) and group.")],
    out: Annotated[Path, typer.Option(help="Folder of train.txt, val.txt and test.txt.")],
) -> None:
    """Write lists of three splits, no group of which is in two."""
    try:
        for split, count in split_groups(groups, out).items():
            typer.echo(f"{out / split}.txt: {count} images")
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


def split_groups(groups: Path, out: Path) -> dict[str, int]:
    """Write lists ``path label`` of three splits, about 70/15/15 % of every class, and return their sizes.

    The groups of a class come in the order of a hash of their names, each goes to the split that is furthest from its
    share; so the lists depend on the names alone.

    Args:
        groups: CSV file with the columns ``image``, ``<class>/<name>``, and ``group``.
        out: folder of ``train.txt``, ``val.txt`` and ``test.txt``; it is made.

    Raises:
        DataError: the file cannot be read, or lacks a column or the class of an image.
    """
    try:
        rows = pd.read_csv(groups, dtype=str)[["image", "group"]]
    except (OSError, ValueError, KeyError) as err:
        raise DataError(f"{groups}: expected a CSV file with the columns image and group ({err})") from err
    if bad := [image for image in rows["image"] if "/" not in str(image)]:
        raise DataError(f"{groups}: expected images as <class>/<name>, got {bad[0]!r}")
    rows["label"] = rows["image"].str.partition("/")[0].astype("category").cat.codes
    lines: dict[str, list[str]] = {split: [] for split in SHARES}
    for label, members in rows.groupby("label"):
        missing = {split: share * len(members) for split, share in SHARES.items()}
        found = defaultdict(list)
        for image, group in zip(members["image"], members["group"], strict=True):
            found[group].append(image)
        for group in sorted(found, key=lambda name: hashlib.sha256(str(name).encode()).digest()):
            split = max(missing, key=missing.__getitem__)
            missing[split] -= len(found[group])
            lines[split] += [f"{image} {label}" for image in found[group]]
    out.mkdir(parents=True, exist_ok=True)
    for split, entries in lines.items():
        write_text(out / f"{split}.txt", "\n".join(sorted(entries)) + "\n")
    return {split: len(entries) for split, entries in lines.items()}


if __name__ == "__main__":
    app()
