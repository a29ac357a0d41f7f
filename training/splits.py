"""Fetch the split lists that the authors of SAR-HUB published: ``python -m training.splits ben --out splits``.

They come from the repository XAI4SAR/SAR-HUB at a pinned commit. GitHub's listing of that commit gives the git blob id
of every list, and what arrives must match it. Lists that are there already are kept, and a cut download is continued.
Tested against a local server; a download from GitHub itself was not tried.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sarhub_models.datasets.catalog import find, names
from sarhub_models.datasets.github import fetch_blob, list_tree, raw_url, require_network, tree_url
from sarhub_models.errors import IntegrityError, SarHubError, UnknownNameError, closest

__all__ = ["COMMIT", "LISTS", "REPOSITORY", "download_splits"]

REPOSITORY = "XAI4SAR/SAR-HUB"
COMMIT = "26788b2c7af55ed3365cd5c6efe286862dac9fca"
LISTS = {name: lists for name in names() if (lists := find(name).lists)}
"""Paths of the lists in the repository, by data set."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help=f"One of {', '.join(LISTS)}.")],
    out: Annotated[Path, typer.Option(help="Folder; the lists go to a folder named after the data set.")] = Path(
        "splits"
    ),
) -> None:
    """Download the authors' split lists of a data set."""
    try:
        files = download_splits(dataset, out)
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None
    for file in files:
        typer.echo(str(file))


def download_splits(
    dataset: str,
    out: str | os.PathLike[str],
    *,
    listing_url: str = tree_url(REPOSITORY, COMMIT),
    base_url: str = raw_url(REPOSITORY, COMMIT),
) -> list[Path]:
    """Download the split lists of one data set to ``<out>/<dataset>``.

    Args:
        dataset: one of :data:`LISTS`.
        out: created if need be.
        listing_url: the commit's tree as GitHub's API gives it.
        base_url: address below which the commit's files lie.

    Returns:
        The lists, in the order of :data:`LISTS`.

    Raises:
        UnknownNameError: there are no lists for that data set.
        OfflineError: ``SARHUB_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network.
        DownloadError: the listing or a list could not be fetched.
        IntegrityError: the listing is not usable or lacks a list, or a list differs from it.
    """
    if dataset not in LISTS:
        raise UnknownNameError(
            f"no split lists are known for {dataset!r}{closest(dataset, LISTS)}; known: {', '.join(LISTS)}"
        )
    require_network(f"the split lists of {dataset}")
    folder = Path(out) / dataset
    folder.mkdir(parents=True, exist_ok=True)
    blobs = list_tree(listing_url, folder / f".{COMMIT}.json")
    if absent := [path for path in LISTS[dataset] if path not in blobs]:
        raise IntegrityError(f"{listing_url} lists no {', '.join(absent)}")
    targets = [folder / path.rpartition("/")[2] for path in LISTS[dataset]]
    for path, target in zip(LISTS[dataset], targets, strict=True):
        fetch_blob(base_url, path, blobs[path], target)
    return targets


if __name__ == "__main__":
    app()
