"""Pack a data set into WebDataset shards: ``python -m training.pack resnet18_ben data.root=DIR --out SHARDS``.

The samples are mixed with a fixed seed, for a stream of a folder sorted by class would be sorted by class. The same
input gives the same bytes. The index ``<split>.json`` grows with every shard: the same command resumes an interrupted
packing, and packs again what is missing or damaged.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise, starmap
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch.utils.data import Dataset
from webdataset import TarWriter

from sarhub_models.datasets.recognition.base import Sample
from sarhub_models.engine.batches import Batches, damaged
from sarhub_models.engine.provenance import chips_digest
from sarhub_models.engine.readers import Scenes, amplitude, open_split
from sarhub_models.engine.run import only_one
from sarhub_models.engine.sections import Data
from sarhub_models.engine.seeds import generator
from sarhub_models.engine.shards import Index, Settings, Shard, check_shard, read_index
from sarhub_models.errors import DataError, ImageError, OptionError, SarHubError
from sarhub_models.io.files import clear_abandoned, digests, replacing, write_text
from sarhub_models.io.progress import progress_bar
from training.recipes import load_recipe

_SEED = 0  # of the order; another one would change all shards
_PROBE = 32  # samples whose size stands for all
app = typer.Typer(add_completion=False, rich_markup_mode=None)


class _Packer(Dataset[Any]):
    """The shards of a split; reading item ``k`` makes shard ``k``. An error is an item, too, as Batches expects."""

    def __init__(self, scenes: Scenes, data: Data, split: str, out: Path, shards: int) -> None:
        self.scenes, self.data = scenes, data
        order = torch.randperm(len(scenes), generator=generator(_SEED, "pack", split)).tolist()
        # of almost equal sizes, so that all workers of a training have the same to read
        bounds = [number * len(scenes) // shards for number in range(shards + 1)]
        self.parts = [[(position, order[position]) for position in part] for part in starmap(range, pairwise(bounds))]
        self.files = [out / f"{split}-{number:06d}.tar" for number in range(shards)]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Shard | SarHubError:
        file = self.files[number]
        try:
            with replacing(file) as temporary:
                return self._pack(self.parts[number], temporary, file.name)
        except SarHubError as err:
            return err
        except OSError as err:
            return DataError(f"cannot write {file}: {err}; with space and permission, the same command resumes")

    def _pack(self, part: Sequence[tuple[int, int]], temporary: Path, name: str) -> Shard:
        counts, skipped = np.zeros(len(self.scenes.class_names), dtype=np.int64), []
        with temporary.open("wb") as stream, TarWriter(stream, user="", group="", mtime=0) as tar:
            for position, index in part:
                if (sample := self._read(index)) is None:
                    skipped.append(self.scenes.names[index])
                    continue
                label = {"cls" if isinstance(sample.label, int) else "labels.npy": sample.label}
                tar.write({"__key__": f"{position:08d}", "npy": sample.image, **label, "json": {"name": sample.name}})
                counts[sample.label if isinstance(sample.label, int) else sample.label.astype(bool)] += 1
        return Shard(
            name=name,
            samples=len(part) - len(skipped),
            counts=counts.tolist(),
            skipped=skipped,
            bytes=temporary.stat().st_size,
            sha256=digests(temporary).sha256,
        )

    def _read(self, index: int) -> Sample | None:
        """Return a sample, or ``None`` for a damaged one that is to be skipped."""
        try:
            sample = self.scenes[index]
            amplitude(sample.image, self.data.full_scale)  # training could not use it either
            return sample
        except (ImageError, DataError) as err:
            if self.data.on_error == "skip":
                return None
            raise damaged(self.scenes.names[index], err) from err


def pack_split(
    scenes: Scenes,
    data: Data,
    split: str,
    out: Path,
    shards: int,
    *,
    workers: int = 0,
    advance: Callable[[int], None] = lambda samples: None,
) -> Index:
    """Pack a split, or resume the packing of it.

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
        OptionError: the folder holds other shards of that name.
        DataError: another packing is at work there, the folder cannot be written, a sample is damaged and
            ``data.on_error=stop``, or images have changed since some of the shards were packed.
    """
    settings = Settings(
        reader=data.name,
        options=data.options,
        full_scale=data.full_scale,
        samples=len(scenes),
        names_and_labels=chips_digest(scenes),
        shards=shards,
    )
    packer = _Packer(scenes, data, split, out, shards)
    with only_one(out / f".{split}.lock", f"another packing of {split} is at work in {out}: wait for it"):
        for prefix in (f"{split}-", f"{split}.json."):
            clear_abandoned(out, prefix=prefix)
        index = _claim(out, split, scenes, settings)
        _write(out, index)  # whose shards these are
        known = {shard.name: shard for shard in index.shards}
        todo = [n for n, file in enumerate(packer.files) if file.name not in known or _wrong(file, known[file.name])]
        advance(sum(len(packer.parts[number]) for number in range(shards) if number not in todo))
        for number, packed in zip(todo, Batches(packer, workers, sampler=todo), strict=True):
            if known.setdefault(packed.name, packed) != packed:
                raise DataError(
                    f"{packer.files[number]} differs from what was packed before: the images have changed since; pack "
                    "them into another folder"
                )
            index = index.model_copy(update={"shards": list(known.values())})
            _write(out, index)
            advance(len(packer.parts[number]))
    if not index.samples:
        raise DataError(f"none of the {len(scenes)} images of {split} can be read, {scenes.names[0]} among them")
    return index


def _write(out: Path, index: Index) -> None:
    write_text(out / f"{index.split}.json", index.model_dump_json(indent=1) + "\n")


def _claim(out: Path, split: str, scenes: Scenes, settings: Settings) -> Index:
    """Check that the folder is free for these shards or holds some of them; return their index, which may be empty."""
    if not (out / f"{split}.json").is_file():
        if next(out.glob(f"{split}-*.tar"), None) is not None:
            raise OptionError(f"{out} holds shards of {split} without an index; take another folder with --out")
        names = list(scenes.class_names)
        return Index(split=split, settings=settings, class_names=names, multilabel=scenes.multilabel, shards=[])
    index = read_index(str(out), split, unfinished=True)
    there, now = index.settings.model_dump(), settings.model_dump()
    if differ := [f"{name}: {there[name]!r} there, {now[name]!r} now" for name in now if there[name] != now[name]]:
        raise OptionError(f"{out} holds other shards of {split} ({'; '.join(differ)}); take another folder with --out")
    return index


def _wrong(file: Path, shard: Shard) -> str:
    """Return what is wrong with a shard, or nothing."""
    try:
        check_shard(file, str(file), shard)
    except DataError as err:
        return str(err)
    return ""


def verify_split(out: Path, split: str) -> list[str]:
    """Hash the shards of a split again; return a line for each that is missing or damaged.

    Raises:
        DataError: there is no index.
    """
    found = (_wrong(out / shard.name, shard) for shard in read_index(str(out), split).shards)
    return [wrong for wrong in found if wrong]


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
    limit, sizes = int(match[1]), []
    if match[2]:
        for index in np.linspace(0, len(scenes) - 1, min(_PROBE, len(scenes))).astype(int).tolist():
            with contextlib.suppress(ImageError, DataError):  # packing will tell
                sizes.append(scenes[index].image.nbytes + 4096)  # three files' headers and padding
        limit = max(1, int(limit * 1e6 / (sum(sizes) / len(sizes)))) if sizes else limit
    return math.ceil(len(scenes) / limit)


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
    """Pack the splits of a data set into WebDataset shards; the same command resumes where it was interrupted."""
    try:
        loaded = load_recipe(recipe, assignments or [])
        data, evaluation = loaded.data, loaded.evaluation
        splits = split or list(dict.fromkeys(name for name in (data.train, evaluation.split, data.test) if name))
        if check:
            if wrong := [line for name in splits for line in verify_split(out, name)]:
                raise DataError("\n".join(wrong))
            return
        opened = {name: open_split(data, name) for name in splits}  # whatever is missing shows before the work begins
        for name, scenes in opened.items():
            with progress_bar(name, len(scenes)) as advance:
                count = shard_count(scenes, shard_size)
                index = pack_split(scenes, data, name, out, count, workers=workers, advance=advance)
            skipped = len(index.skipped)
            left_out = f", {skipped} damaged left out, see the index" if skipped else ""
            typer.echo(f"{out}: {name}, {index.samples} samples in {len(index.shards)} shard(s){left_out}")
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
