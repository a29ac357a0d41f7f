"""A download becomes a folder for the configurations: ``python -m benchmarks.detection.prepare ssdd ROOT --out DIR``.

The images stay where they are. The folder holds

    DIR/annotations/{train,test}.json    in the format of COCO, of whatever annotations the download has; also the
                                         further splits that the catalog has, where there are images of them
    DIR/images                           a link to ROOT
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.experiments.command import command, known, new_app
from sarhub_models.datasets.annotations.coco import write_coco
from sarhub_models.datasets.annotations.files import SPLITS
from sarhub_models.datasets.catalog import find, names
from sarhub_models.errors import DataError

__all__ = ["prepare"]

app = new_app()


def prepare(dataset: str, root: Path, out: Path, annotations: Path | None = None) -> dict[str, tuple[int, int]]:
    """Write the annotations of a data set and link its images.

    Args:
        dataset: name of a detection data set in the catalog.
        root: where the download was unpacked; it is only read.
        out: the folder to write.
        annotations: folder of other annotations than those below ``root``, such as ``train.json`` and ``test.json``.

    Returns:
        For each split that has images, the number of them and of ships.

    Raises:
        UnknownNameError: there is no such data set.
        DataError: images or annotations are missing or damaged, or ``out`` holds the images of another folder.
    """
    known(names("detection"), [dataset], "data set")
    if annotations is not None and not annotations.is_dir():  # one file would be taken for both splits
        raise DataError(f"{annotations}: expected the folder of {' and '.join(f'{s}.json' for s in SPLITS)}")
    entry = find(dataset)
    found = {split: entry.reader(root, split, annotations=annotations) for split in (*SPLITS, *entry.subsets)}
    found = {split: images for split, images in found.items() if split in SPLITS or len(images)}
    out.mkdir(parents=True, exist_ok=True)
    _link(out / "images", root.resolve())
    for split, images in found.items():
        write_coco(images, out / "annotations" / f"{split}.json")
    return {split: (len(images), int(images.counts().sum())) for split, images in found.items()}


def _link(link: Path, folder: Path) -> None:
    if link.is_symlink() and link.resolve() == folder:
        return
    try:
        link.symlink_to(folder, target_is_directory=True)
    except FileExistsError as err:
        raise DataError(f"{link} exists and is no link to {folder}: give another --out or remove it") from err
    except OSError as err:
        raise DataError(f"{link} cannot be linked to {folder} ({err}): give an --out where links can be made") from err


@command(app)
def main(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(names('detection'))}.")],
    root: Annotated[Path, typer.Argument(help="Folder of the unpacked download.")],
    out: Annotated[Path, typer.Option(help="Folder to write, for --data of 'python -m benchmarks.detection train'.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of other annotations, such as COCO files train.json and test.json.")
    ] = None,
) -> None:
    """Write the annotations of a data set in COCO's format and link its images; again is harmless."""
    for split, (images, ships) in prepare(dataset, root, out, annotations).items():
        typer.echo(f"{split}: {images} images, {ships} ships")


if __name__ == "__main__":
    app()
