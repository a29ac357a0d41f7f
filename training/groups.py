"""Split images by groups that must stay together: ``python -m training.groups groups.csv --out lists``.

Chips that were cut from one scene, or show one object, are no independent samples: a split through them tells how
well they are remembered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sarhub_models.datasets.groups import SHARES
from sarhub_models.datasets.groups import split_groups as groups_to_splits
from sarhub_models.errors import DataError, SarHubError
from sarhub_models.io.files import write_text

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

    :func:`sarhub_models.datasets.groups.split_groups` decides, by the names of the groups alone.

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
    classes = rows["image"].str.partition("/")[0].astype("category").cat.codes
    parts = groups_to_splits(rows["group"].tolist(), labels=classes.tolist())
    lines: dict[str, list[str]] = {split: [] for split in SHARES}
    for image, label, split in zip(rows["image"], classes, parts, strict=True):
        lines[split].append(f"{image} {label}")
    out.mkdir(parents=True, exist_ok=True)
    for split, entries in lines.items():
        write_text(out / f"{split}.txt", "\n".join(sorted(entries)) + "\n")
    return {split: len(entries) for split, entries in lines.items()}


if __name__ == "__main__":
    app()
