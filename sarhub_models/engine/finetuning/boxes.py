"""Fine-tuning on images with boxes: COCO in, one weights file that describes itself and a report out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.windows.boxes import TABLE, BoxWindows
from ...errors import OptionError, StoppedError
from ...io.tables import read_table, write_table
from ...zoo.description import BEST
from ...zoo.tasks import DECODERS
from ..recipe import override
from ..run import is_finished, train
from ..sections import Recipe
from ..tasks.detection import average_precision
from .boxed import divide_boxed, find_boxes, look_at_boxes, write_boxed
from .boxes_report import write_report
from .request import check_folder, write_request
from .table import SPLITS
from .windowed import SKIPPED, Trained, Windowed, describe_images, read_skipped, say_choice, write_skipped

_CLASSES = "classes.csv"
_LR = 5e-4


@dataclass(frozen=True)
class BoxesRequest(Windowed):
    """All that decides what a fine-tuning computes; the fields are the arguments of :func:`finetune_boxes`."""

    boxes: str


def finetune_boxes(
    data: str | os.PathLike[str],
    *,
    boxes: str | os.PathLike[str],
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    decoder: str = "fcos",
    network: str | None = None,
    group_by: str | None = None,
    bands: Sequence[str] | None = None,
    band: Sequence[int] | None = None,
    radiometry: str | None = None,
    full_scale: float | None = None,
    freeze: bool = False,
    size: int | None = None,
    steps: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    workers: int = 0,
    on_error: str = "stop",
    assignments: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Trained:
    """Fine-tune weights to find objects and their boxes, and report what came out.

    The network sees windows of the images, prepared as its weights want it. The same call resumes a run that was
    stopped or killed. The folder ``out`` then holds ``best.safetensors``, which describes itself, ``boxes.csv`` with
    the splits, the recipe, curves and metrics, and of the splits ``val`` and ``test`` the predicted boxes (COCO),
    scores, scores of each class and pictures.

    Args:
        data: folder of the images, which may lie deeper.
        boxes: a COCO file, or a folder with ``train.json`` and, if wanted, ``val.json`` and ``test.json``.
        model: weights to start from: a name, a file, a run; ``"none"`` or ``"imagenet"`` with a ``network``.
        out: folder of the run.
        decoder: ``"fcos"`` or ``"retinanet"``.
        network: architecture where ``model`` names none.
        group_by: ``"parent"`` keeps the images of a folder in one split.
        bands: names of the bands in the files, where these do not say them.
        band: positions of the bands to read, counted from 1.
        radiometry: what the pixels hold; by default what the weights expect.
        full_scale: value of amplitude 1.
        freeze: train the decoder alone.
        size: side of the windows, a multiple of 32; by default that of the largest image, up to 256.
        steps: of the optimizer; by default by the number of windows.
        lr: peak of the learning rate.
        batch_size: windows of a step; by default by their number.
        val: share of the images that the best epoch is chosen on.
        test: share of the images that is only scored; 0 for none.
        seed: of all random numbers.
        workers: processes that read images.
        on_error: ``"stop"`` at an image or box that cannot be used, or ``"skip"`` the image.
        assignments: ``section.key=value`` over the recipe.
        say: gets one line of text at a time: what was chosen and found.

    Raises:
        DataError: images and boxes do not fit, or are too few.
        ImageError: an image cannot be used.
        OptionError: arguments contradict each other, the network has no pyramid, or ``out`` holds something else.
        StoppedError: it was asked to stop; the same call resumes.
        SarHubError: as :func:`~sarhub_models.create_model` says.
    """
    if DECODERS.get(decoder) != "detection":
        known = ", ".join(name for name, task in DECODERS.items() if task == "detection")
        raise OptionError(f"expected a decoder for boxes of {known}, got {decoder!r}")
    average_precision()  # pycocotools is missing now, not after the training
    folder = Path(out)
    request = BoxesRequest(
        data=os.fspath(data),
        model=os.fspath(model),
        network=network,
        decoder=decoder,
        group_by=group_by,
        bands=None if bands is None else tuple(bands),
        band=None if band is None else tuple(band),
        radiometry=radiometry,
        full_scale=full_scale,
        freeze=freeze,
        size=size,
        steps=steps,
        lr=lr,
        batch_size=batch_size,
        val=val,
        test=test,
        seed=seed,
        on_error=on_error,
        assignments=tuple(assignments),
        boxes=os.fspath(boxes),
    )
    check_folder(folder, request)
    skipped = read_skipped(folder) if (folder / TABLE).is_file() else _survey(request, folder, say)
    recipe = _recipe(request, folder, workers, say)
    if not is_finished(recipe, folder) and not train(recipe, folder):
        raise StoppedError("stopped; the same command resumes")
    return _report(request, recipe, folder, skipped)


def _survey(request: BoxesRequest, folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Write the table of a run that begins; return why images were left out."""
    root = Path(request.data)
    names, found = find_boxes(root, Path(request.boxes), group_by=request.group_by)
    start = request.start(root / found[0].image, size=request.size)
    transform = start.transform(radiometry=request.radiometry, full_scale=request.full_scale)
    images, skipped = look_at_boxes(
        root, found, request.reading(start), transform, full_scale=request.full_scale, on_error=request.on_error
    )
    divided = divide_boxed(images, names, val=request.val, test=request.test, seed=request.seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_request(folder, request)
    if skipped:
        write_skipped(skipped, folder)
        say(f"{len(skipped)} images are left out, {next(iter(skipped.values()))}; all of them: {folder / SKIPPED}")
    write_table([{"name": name} for name in names], folder / _CLASSES)
    write_boxed(divided, folder)
    return skipped


def _recipe(request: BoxesRequest, folder: Path, workers: int, say: Callable[[str], None]) -> Recipe:
    rows, names = read_table(folder / TABLE), [row["name"] for row in read_table(folder / _CLASSES)]
    sizes = [(int(row["height"]), int(row["width"])) for row in rows]
    first = Path(request.data) / rows[0]["image"]
    window = request.window(request.start(first, size=request.size), sizes)
    learnt = [size for row, size in zip(rows, sizes, strict=True) if row["split"] == "train"]
    values = request.recipe(
        request.start(first, size=window),
        "boxes",
        {"window": window, "class_names": names},
        folder=folder,
        sizes=learnt,
        lr=_LR,
        workers=workers,
    )
    recipe = override(values, request.assignments)
    counts = [sum(row["split"] == split for row in rows) for split in SPLITS]
    known = BoxWindows(request.data, "train", lists=folder, **recipe.data.options).counts().tolist()
    shown = ", ".join(f"{name} {count}" for name, count in list(zip(names, known, strict=True))[:20])
    say_choice(
        say,
        recipe,
        request.model,
        f"{len(rows)} images: {counts[0]} to train on (boxes: {shown}), {counts[1]} to choose by, {counts[2]} to test "
        "on",
    )
    return recipe


def _report(request: BoxesRequest, recipe: Recipe, folder: Path, skipped: dict[str, str]) -> Trained:
    assert recipe.data.root is not None
    describe_images(folder, request.images())

    def opened(split: str) -> BoxWindows:
        return BoxWindows(str(recipe.data.root), split, lists=folder, **recipe.data.options)

    val, classes = write_report(folder, opened("val"), "val")
    test: dict[str, float] = {}
    if any(row["split"] == "test" for row in read_table(folder / TABLE)):
        test, classes = write_report(folder, opened("test"), "test")
    return Trained(folder, folder / BEST, val, test, classes, skipped)
