"""Pack a data set into WebDataset shards: ``python -m training.pack resnet18_ben data.root=DIR --out SHARDS``.

The samples are mixed with a fixed seed, for a stream of a folder sorted by class would be sorted by class. The same
input gives the same bytes. A shard gets its name once it is written and read back, the index ``<split>.json`` is
written last: what was interrupted goes on with the first missing shard. :mod:`.shard_format` tells the layout.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from operator import add
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from filelock import FileLock, Timeout
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from sarhub_models.engine.batches import WORKERS, Batches
from sarhub_models.engine.packer import Packer, Report
from sarhub_models.engine.readers import Scenes, open_split
from sarhub_models.engine.recipe import Data, Recipe
from sarhub_models.engine.shard_format import Index, Settings, encode, partial, read_index
from sarhub_models.engine.shards import as_it_is
from sarhub_models.engine.stream import MEND, check_size
from sarhub_models.errors import DataError, ImageError, OptionError, SarHubError
from sarhub_models.io.files import digests, write_text
from training.recipes import load_recipe

_PROBE = 32  # samples whose size stands for all
_BLOCK = 512  # bytes of a tar, of which a header takes one
_PATIENCE = 10.0  # seconds that a worker of a killed packing may take to notice
app = typer.Typer(add_completion=False, rich_markup_mode=None)


def pack_split(
    scenes: Scenes,
    data: Data,
    split: str,
    out: Path,
    shards: int,
    workers: int = 0,
    advance: Callable[[int], None] = lambda samples: None,
) -> Index:
    """Pack a split, or go on where the packing of it stopped.

    Args:
        scenes: the opened split.
        data: section of the recipe it was opened with.
        split: its name.
        out: folder for the shards.
        shards: how many to make.
        workers: processes beside this one.
        advance: called with the number of samples of each finished shard.

    Returns:
        The index, as it is written.

    Raises:
        OptionError: the folder holds other shards of that name, or another packing is at work there.
        DataError: a sample is damaged and ``data.on_error=stop``, or a shard that is there is.
    """
    settings = Settings(
        reader=data.name,
        options=data.options,
        full_scale=data.full_scale,
        samples=len(scenes),
        names_and_labels=names_and_labels(scenes),
        shards=shards,
    )
    packer = Packer(scenes, data, split, out, shards)
    with _only_one(out, split):
        before = _claim(out, split, settings)
        context = WORKERS if workers else None
        loader: DataLoader[Any] = DataLoader(
            packer, batch_size=None, collate_fn=as_it_is, num_workers=workers, multiprocessing_context=context
        )
        reports: list[Report] = []
        for report, part in zip(Batches(loader), packer.parts, strict=True):
            reports.append(report)
            advance(len(part))
        index = _index(scenes, split, settings, reports)
        if before is not None and before.shards != index.shards:
            changed = [new.name for new, old in zip(index.shards, before.shards, strict=True) if new != old]
            raise DataError(
                f"{out}: {', '.join(changed)} differ(s) from the index: the images have changed since; pack them into "
                "another folder"
            )
        write_text(out / f"{split}.json", index.model_dump_json(indent=1) + "\n")
        partial(out, split).unlink(missing_ok=True)
    return index


def names_and_labels(scenes: Scenes) -> str:
    """Return the SHA-256 over class names, image names and labels."""
    digest = hashlib.sha256(json.dumps([scenes.class_names, scenes.names]).encode())
    digest.update(scenes.labels.astype("<i8").tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _only_one(out: Path, split: str) -> Iterator[None]:
    """Keep other packings of a split out of a folder, and sweep up what a killed one left."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = FileLock(out / f".{split}.lock").acquire(timeout=_PATIENCE)
    except Timeout:
        raise OptionError(f"another packing of {split} is at work in {out}; wait for it") from None
    except OSError as err:
        raise DataError(f"cannot write in {out}: {err}; take another folder with --out") from err
    with held:
        for left in out.glob(f".{split}-*.tmp"):
            left.unlink(missing_ok=True)
        yield


def _claim(out: Path, split: str, settings: Settings) -> Index | None:
    """Check that the folder is free for these shards or holds some of them; return their index if it is there."""
    index = read_index(str(out), split) if (out / f"{split}.json").is_file() else None
    file = partial(out, split)
    if index is not None:
        found = index.settings
    elif file.is_file():
        found = _unfinished(file)
    elif next(out.glob(f"{split}-*.tar"), None) is None:
        write_text(file, settings.model_dump_json(indent=1) + "\n")
        return None
    else:
        raise OptionError(f"{out} holds shards of {split} without an index; take another folder with --out")
    if found != settings:
        differ = [
            f"{name}: {getattr(found, name)!r} there, {value!r} now"
            for name, value in settings
            if getattr(found, name) != value
        ]
        raise OptionError(f"{out} holds other shards of {split} ({'; '.join(differ)}); take another folder with --out")
    return index


def _unfinished(file: Path) -> Settings:
    try:
        return Settings.model_validate_json(file.read_bytes())
    except ValidationError:
        raise OptionError(f"{file} was written by another version; take another folder with --out") from None


def _index(scenes: Scenes, split: str, settings: Settings, reports: Sequence[Report]) -> Index:
    total = functools.reduce(add, (report.tally for report in reports))
    if not total.pixels:
        raise DataError(f"none of the {len(scenes)} images of {split} can be read, {scenes.names[0]} among them")
    return Index(
        format=1,
        split=split,
        settings=settings,
        class_names=list(scenes.class_names),
        multilabel=scenes.multilabel,
        counts=total.counts.tolist(),
        samples=sum(report.shard.samples for report in reports),
        skipped=[name for report in reports for name in report.skipped],
        pixels=total.statistics(),
        shards=[report.shard for report in reports],
    )


def verify_split(out: Path, split: str, advance: Callable[[int], None] = lambda samples: None) -> list[str]:
    """Hash the shards of a split again; return what is wrong, a line for each damaged one.

    Raises:
        DataError: there is no index.
    """
    wrong = []
    for shard in read_index(str(out), split).shards:
        try:
            check_size(str(out), shard.name, shard.bytes)
            if digests(out / shard.name).sha256 != shard.sha256:
                wrong.append(f"{out / shard.name} is damaged: its SHA-256 is not the index's; {MEND}")
        except DataError as err:
            wrong.append(str(err))
        advance(shard.samples)
    return wrong


def shard_count(scenes: Scenes, size: str) -> int:
    """Return into how many shards a split goes.

    Args:
        scenes: the split.
        size: samples per shard, such as ``1000``, or megabytes, such as ``300MB``; then some samples, spread over the
            split, tell how large one is.

    Raises:
        OptionError: ``size`` is neither.
    """
    match = re.fullmatch(r"([1-9]\d*)\s*(MB)?", size.strip(), flags=re.IGNORECASE)
    if match is None:
        raise OptionError(f"--shard-size: expected samples such as 1000, or megabytes such as 300MB, got {size!r}")
    limit = int(match[1])
    if match[2]:
        limit = max(1, int(limit * 1e6 / _bytes_per_sample(scenes)))
    return math.ceil(len(scenes) / limit)


def _bytes_per_sample(scenes: Scenes) -> float:
    sizes = []
    for index in np.linspace(0, len(scenes) - 1, min(_PROBE, len(scenes))).astype(int).tolist():
        with contextlib.suppress(ImageError, DataError):  # packing will tell
            files = encode("", scenes[index])
            sizes.append(
                sum(_BLOCK * (1 + math.ceil(len(data) / _BLOCK)) for key, data in files.items() if key[0] != "_")
            )
    return sum(sizes) / len(sizes) if sizes else 1.0


def splits_of(recipe: Recipe) -> list[str]:
    """Return the splits that a recipe trains on, validates on, if on any, and tests on."""
    names = (recipe.data.train, recipe.evaluation.split, recipe.data.test)
    return list(dict.fromkeys(name for name in names if name is not None))


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )


def pack(data: Data, splits: Sequence[str], out: Path, size: str, workers: int) -> None:
    """Pack some splits with a progress bar; raises as :func:`pack_split` and :func:`.open_split`."""
    opened = {split: open_split(data, split) for split in splits}  # whatever is missing shows before the work begins
    with _bar() as bar:
        for split, scenes in opened.items():
            task = bar.add_task(split, total=len(scenes))
            count = shard_count(scenes, size)
            index = pack_split(scenes, data, split, out, count, workers, functools.partial(bar.advance, task))
            left_out = f", {len(index.skipped)} damaged left out, see the index" if index.skipped else ""
            bar.console.print(f"{out}: {split}, {index.samples} samples in {len(index.shards)} shard(s){left_out}")


def verify(splits: Sequence[str], out: Path) -> None:
    """Verify packed splits with a progress bar.

    Raises:
        DataError: a shard is damaged or missing, or an index is missing.
    """
    wrong = []
    with _bar() as bar:
        for split in splits:
            task = bar.add_task(split, total=read_index(str(out), split).samples)
            wrong += verify_split(out, split, functools.partial(bar.advance, task))
    if wrong:
        raise DataError("\n".join(wrong))


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(help="<network>_<data>; only its data section counts.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    assignments: Annotated[list[str] | None, typer.Argument(help="data.root=DIR, data.on_error=skip, ….")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Once for each split [the recipe's].")] = None,
    shard_size: Annotated[str, typer.Option(help="Samples per shard, or megabytes: 300MB.")] = "1000",
    workers: Annotated[int, typer.Option(min=0, help="Processes beside this one.")] = 0,
    check: Annotated[bool, typer.Option("--verify", help="Only hash the shards that are there.")] = False,
) -> None:
    """Pack the splits of a data set into WebDataset shards; the same command goes on where it was interrupted."""
    try:
        loaded = load_recipe(recipe, assignments or [])
        data, splits = loaded.data, split or splits_of(loaded)
        if check:
            verify(splits, out)
        else:
            pack(data, splits, out, shard_size, workers)
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
