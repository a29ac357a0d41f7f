"""Fine-tuning on images with masks: pairs in, one weights file that describes itself and a report out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.windows.masks import TABLE, MaskWindows
from ...errors import OptionError, StoppedError
from ...io.tables import read_table, write_table
from ...zoo.description import BEST
from ...zoo.tasks import DECODERS
from ..recipe import override
from ..run import is_finished, train
from ..sections import Recipe
from .masks_report import write_report
from .pairs import IMAGES, MASKS, choose_classes, divide_pairs, find_pairs, look_at_pairs, write_pairs
from .request import check_folder, write_request
from .settings import Start
from .table import SPLITS
from .windowed import SKIPPED, Trained, Windowed, describe_images, read_skipped, say_choice, write_skipped

_LR = 1e-3


@dataclass(frozen=True)
class MasksRequest(Windowed):
    """All that decides what a fine-tuning computes; the fields are the arguments of :func:`finetune_masks`."""

    masks: str
    classes: tuple[str, ...] | None
    ignore: int | None


def finetune_masks(
    data: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    masks: str | os.PathLike[str] | None = None,
    decoder: str = "unet",
    classes: Sequence[str] | None = None,
    ignore: int | None = None,
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
    """Fine-tune weights to tell the class of each pixel, and report what came out.

    The network sees windows of the images, prepared as its weights want it; pixels without data or class count neither
    in the loss nor in the scores. The same call resumes a run that was stopped or killed. The folder ``out`` then holds
    ``best.safetensors``, which describes itself, ``pairs.csv`` with the splits, the recipe, curves and metrics, and of
    the splits ``val`` and ``test`` the predicted masks, scores, scores of each class and pictures.

    Args:
        data: folder of the images, which may lie in folders ``train``, ``val``, ``test``; or one with ``images`` and
            ``masks``.
        model: weights to start from: a name, a file, a run; ``"none"`` or ``"imagenet"`` with a ``network``.
        out: folder of the run.
        masks: folder of the masks, PNG or GeoTIFF called like their images, or a CSV or Parquet file with the columns
            ``image``, ``mask`` (paths below ``data``) and, if wanted, ``split``; by default ``data/masks``.
        decoder: ``"unet"``, ``"fpn"`` or ``"deeplabv3plus"``.
        classes: ``"number=name"`` of each class, or names for 0, 1, 2, …; by default the numbers in the masks.
        ignore: number of pixels without a class.
        network: architecture where ``model`` names none.
        group_by: keep images of a group in one split: ``"parent"``, the folder they lie in, or a column of ``masks``.
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
        on_error: ``"stop"`` at an image or mask that cannot be used, or ``"skip"`` it.
        assignments: ``section.key=value`` over the recipe.
        say: gets one line of text at a time: what was chosen and found.

    Raises:
        DataError: images and masks do not fit, or are too few.
        ImageError: an image cannot be used.
        OptionError: arguments contradict each other, the network has no pyramid, or ``out`` holds something else.
        StoppedError: it was asked to stop; the same call resumes.
        SarHubError: as :func:`~sarhub_models.create_model` says.
    """
    if DECODERS.get(decoder) != "segmentation":
        known = ", ".join(name for name, task in DECODERS.items() if task == "segmentation")
        raise OptionError(f"expected a decoder for masks of {known}, got {decoder!r}")
    root, folder = Path(data), Path(out)
    if masks is None:
        root, masks = root / IMAGES, root / MASKS
    request = MasksRequest(
        data=str(root),
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
        masks=os.fspath(masks),
        classes=None if classes is None else tuple(classes),
        ignore=ignore,
    )
    check_folder(folder, request)
    skipped = read_skipped(folder) if (folder / TABLE).is_file() else _survey(request, folder, say)
    recipe = _recipe(request, folder, workers, say)
    if not is_finished(recipe, folder) and not train(recipe, folder):
        raise StoppedError("stopped; the same command resumes")
    return _report(request, recipe, folder, skipped)


def _survey(request: MasksRequest, folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Write the table of a run that begins; return why images were left out."""
    root = Path(request.data)
    found = find_pairs(root, Path(request.masks), group_by=request.group_by, bands=request.bands or ())
    start = request.start(root / found[0].image, size=request.size)
    if len(start.bands) > 1 and request.bands is None:  # files of one image count once
        found = find_pairs(root, Path(request.masks), group_by=request.group_by, bands=start.bands)
    transform = start.transform(radiometry=request.radiometry, full_scale=request.full_scale)
    pairs, skipped = look_at_pairs(
        root, found, request.reading(start), transform, full_scale=request.full_scale, on_error=request.on_error
    )
    named = choose_classes(pairs, request.classes, request.ignore)
    divided = divide_pairs(pairs, named, val=request.val, test=request.test, seed=request.seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_request(folder, request)
    if skipped:
        write_skipped(skipped, folder)
        say(f"{len(skipped)} images are left out, {next(iter(skipped.values()))}; all of them: {folder / SKIPPED}")
    write_table([{"number": number, "name": name} for number, name in named.items()], folder / "classes.csv")
    write_pairs(divided, named, folder)
    return skipped


def _recipe(request: MasksRequest, folder: Path, workers: int, say: Callable[[str], None]) -> Recipe:
    rows, named = read_table(folder / TABLE), read_table(folder / "classes.csv")
    sizes = [(int(row["height"]), int(row["width"])) for row in rows]
    first = Path(request.data) / rows[0]["image"]
    start: Start = request.start(first, size=request.size)
    window = request.window(start, sizes)
    start = request.start(first, size=window)
    options = {
        "window": window,
        "numbers": [int(row["number"]) for row in named],
        "class_names": [row["name"] for row in named],
        "ignore": request.ignore,
    }
    learnt = [size for row, size in zip(rows, sizes, strict=True) if row["split"] == "train"]
    values = request.recipe(start, "masks", options, folder=folder, sizes=learnt, lr=_LR, workers=workers)
    recipe = override(values, request.assignments)
    totals = [sum(int(row["pixels"].split(";")[index]) for row in rows) for index in range(len(named))]
    shares = [f"{row['name']} {total / sum(totals):.1%}" for row, total in zip(named, totals, strict=True)]
    counts = [sum(row["split"] == split for row in rows) for split in SPLITS]
    say_choice(
        say,
        recipe,
        request.model,
        f"{len(rows)} images of {len(named)} classes ({', '.join(shares[:20])} of the pixels): {counts[0]} to train "
        f"on, {counts[1]} to choose by, {counts[2]} to test on",
    )
    return recipe


def _report(request: MasksRequest, recipe: Recipe, folder: Path, skipped: dict[str, str]) -> Trained:
    assert recipe.data.root is not None
    describe_images(folder, request.images())

    def opened(split: str) -> MaskWindows:
        return MaskWindows(str(recipe.data.root), split, lists=folder, **recipe.data.options)

    val, classes = write_report(folder, opened("val"), "val")
    test: dict[str, float] = {}
    if any(row["split"] == "test" for row in read_table(folder / TABLE)):
        test, classes = write_report(folder, opened("test"), "test")
    return Trained(folder, folder / BEST, val, test, classes, skipped)
