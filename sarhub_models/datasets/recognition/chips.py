"""Images that a table lists, with their labels and splits: one band or several, one label or several an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...io.images import read_pixels
from ...io.tables import read_table
from ..catalog import CatalogEntry
from ..lists import AnyPath
from .base import SceneDataset

__all__ = ["DATASET", "SEPARATOR", "TABLE", "ChipsDataset"]

TABLE = "chips.csv"
"""Name of the table."""

SEPARATOR = ";"
"""Stands between the labels of an image that has several."""


class ChipsDataset(SceneDataset):
    """Images of a table.

    Args:
        root: folder of the images.
        split: take only the rows of this split.
        lists: folder of the table ``chips.csv``, by default the root: a header, and the columns ``name`` (path below
            the root), ``label`` (a class by name, or several with ``;`` between them) and ``split``. The classes are
            those of the whole table, sorted.
        bands: names of the bands to read, in their order (:func:`~sarhub_models.io.images.read_bands`); by default the
            only one.
        given: names of the bands in the files, where these do not say them.
        band: positions of the bands to read, counted from 1, in place of names.
        nodata: policy for pixels without data (:func:`~sarhub_models.io.raster.fill_nodata`).
        multilabel: whether images carry several labels; by default, if one of the table does.

    Raises:
        DataError: the table cannot be read, lacks a column, or names no image of the split; or an image has no label.
    """

    def __init__(
        self,
        root: AnyPath,
        split: str | None = None,
        *,
        lists: AnyPath | None = None,
        bands: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: Sequence[int] | None = None,
        nodata: str = "refuse",
        multilabel: bool | None = None,
    ) -> None:
        table = Path(root if lists is None else lists) / TABLE
        rows = read_table(table)
        if missing := [name for name in ("name", "label", "split") if rows and name not in rows[0]]:
            raise DataError(f"{table}: expected a column {missing[0]}, got {', '.join(rows[0])}")
        several = any(SEPARATOR in row["label"] for row in rows) if multilabel is None else multilabel
        sets = [_labels(row["label"], several) for row in rows]
        names = sorted(set().union(*sets))
        if blank := [row["name"] for row, found in zip(rows, sets, strict=True) if not found and not several]:
            raise DataError(f"{table}: {blank[0]} has no label")
        chosen = [index for index, row in enumerate(rows) if split in (None, row["split"])]
        if not chosen:
            raise DataError(f"{table} lists no image of the split {split}")
        files = [Path(root) / rows[index]["name"] for index in chosen]
        index_of = {name: index for index, name in enumerate(names)}
        labels = np.zeros((len(chosen), len(names)), dtype=np.uint8)
        for row, index in zip(labels, chosen, strict=True):
            row[[index_of[name] for name in sets[index]]] = 1
        super().__init__(root, files, labels if several else labels.argmax(axis=1).astype(np.int64), names)
        self.bands, self.given, self.band, self.nodata = tuple(bands), given, band, nodata

    def _read(self, file: Path) -> np.ndarray:
        return read_pixels(file, wanted=self.bands, given=self.given, band=self.band, nodata=self.nodata)


def _labels(text: str, several: bool) -> set[str]:
    parts = text.split(SEPARATOR) if several else [text]
    return {part.strip() for part in parts if part.strip()}


DATASET = CatalogEntry(ChipsDataset, {"train": None, "val": None, "test": None}, whole=True)
