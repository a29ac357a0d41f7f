"""Check a downloaded data set: ``sarhub index``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...datasets.catalog import names
from ...errors import OptionError
from .. import console
from ..arguments import Json

if TYPE_CHECKING:
    from ...datasets.check import Entry, SplitIndex
    from ...datasets.leaks import Leaks

_SHOWN = 10  # names of missing and damaged files of a split


def command(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help=f"One of {', '.join(names())}.",
        ),
    ],
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set, as it was unpacked.")],
    lists: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the split lists, or of COCO or VOC files. Default: as DIR."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to check; may be repeated. Default: the published ones."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every file with its label and size to this .csv or .parquet file."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only look for the files; do not open them.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Decode every pixel, not the headers alone.")] = False,
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Also find images that share pixels; takes minutes for a thousand images.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a downloaded data set: what is complete, missing or damaged.

    Counts images of each split and class against what was published, and opens every file. The exit code is 1 if
    anything is missing, damaged, or too many. With --leaks it names the splits whose images share pixels with those of
    another one, and --out has their groups.

    \b
    Examples:
      sarhub index mstar data/MSTAR
      sarhub index opensarship data/OpenSARShip --lists splits/opensarship --out index.csv
      sarhub index ssdd data/Official-SSDD-OPEN/BBox_SSDD/coco_style --full
      sarhub index folder data/ships --leaks --out groups.csv
    """
    from ...datasets.check import index_dataset, open_splits, write_index
    from ...datasets.leaks import find_leaks
    from ...io.progress import progress_bar
    from ...io.tables import check_table

    if quick and full:
        raise OptionError("--quick opens no file and --full decodes all; choose one")
    if out is not None:
        check_table(out)
    found = index_dataset(
        dataset.replace("-", "_"),
        root,
        lists=lists,
        splits=split,
        depth="names" if quick else "pixels" if full else "headers",
        progress=lambda title, total: progress_bar(title, total, show=not as_json),
    )
    shared = None
    if leaks:
        opened = open_splits(dataset.replace("-", "_"), root, lists=lists, splits=split)
        with progress_bar("comparing images", sum(map(len, opened.values())), show=not as_json) as advance:
            shared = find_leaks(opened, advance=advance)
    if out is not None:
        write_index(found, out, groups=None if shared is None else _groups(shared))
    if as_json:
        console.print_json([_summary(index) | _shared(index.split, shared) for index in found])
    else:
        console.print_table(("split", "class", "published", "found", "missing", "damaged", ""), _rows(found))
        for index in found:
            _print_details(index)
            for other, count in _shared(index.split, shared).get("shared", {}).items():
                what = "others" if other == index.split else "images"
                print(f"\n{index.split}: {count} of {index.found} images share pixels with {what} of {other}")
        if out is not None:
            print(f"\n{out}: {sum(len(index.entries) for index in found)} files")
    if not all(index.ok for index in found):
        console.note(f"{dataset} in {root} differs from what was published")
        raise typer.Exit(console.FAILED)


def _groups(leaks: Leaks) -> dict[tuple[str, str], int]:
    return {
        (split, name): int(group)
        for split, names_of in leaks.names.items()
        for name, group in zip(names_of, leaks.groups[split], strict=True)
    }


def _shared(split: str, leaks: Leaks | None) -> dict[str, dict[str, int]]:
    """Return how many images of a split share pixels with images of each split, its own included."""
    if leaks is None or split not in leaks.groups:
        return {}
    return {"shared": {other: leaks.shared(split, other) for other in leaks.groups}}


def _rows(found: list[SplitIndex]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for index in found:
        counts = (_number(index.expected), str(index.found), str(len(index.missing)), str(len(index.damaged)))
        rows.append((index.split, "", *counts, "ok" if index.ok else "NOT OK"))
        for name, count, expected in index.classes:
            wrong = expected is not None and count != expected
            rows.append(("", name, _number(expected), str(count), "", "", "NOT OK" if wrong else ""))
    return rows


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)


def _print_details(index: SplitIndex) -> None:
    """Print what a table has no room for."""
    for text in index.problems:
        print(f"\n{index.split}: {text}")
    for title, entries in (("missing", index.missing), ("damaged", index.damaged)):
        if entries:
            print(f"\n{index.split}, {title}:", *(f"  {_line(entry)}" for entry in entries[:_SHOWN]), sep="\n")
        if len(entries) > _SHOWN:
            print(f"  … and {len(entries) - _SHOWN} more; --out FILE lists all")
    for text in index.notes:
        print(f"\n{index.split}: {text}")


def _line(entry: Entry) -> str:
    return entry.name if entry.problem in (None, "missing") else str(entry.problem)


def _summary(index: SplitIndex) -> dict[str, object]:
    return {
        "split": index.split,
        "ok": index.ok,
        "published": index.expected,
        "found": index.found,
        "classes": {name: count for name, count, _ in index.classes},
        "missing": [entry.name for entry in index.missing],
        "damaged": {entry.name: entry.problem for entry in index.damaged},
        "problems": index.problems,
        "notes": index.notes,
    }
