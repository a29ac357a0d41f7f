"""Fine-tuning on images with masks: pairs in, one weights file that describes itself and a report out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ...datasets.windows.masks import TABLE, MaskWindows
from ...io.tables import read_table, write_table
from .masks_report import write_report
from .options import MaskOptions, takes
from .pairs import IMAGES, MASKS, choose_classes, divide_pairs, find_pairs, look_at_pairs, write_pairs
from .request import begin
from .settings import choose_start
from .windowed import Kind, Trained, bands_of, finetune_windows

_CLASSES = "classes.csv"


@takes(MaskOptions)
def finetune_masks(options: MaskOptions) -> Trained:
    """Fine-tune weights to tell the class of each pixel, and report what came out.

    The network sees windows of the images, prepared as its weights want it; pixels without data or class count neither
    in the loss nor in the scores. The same call resumes a run that was stopped or killed. The folder ``out`` then holds
    ``best.safetensors``, which describes itself, ``pairs.csv`` with the splits, the recipe, curves and metrics, and of
    the splits ``val`` and ``test`` the predicted masks, scores, scores of each class and pictures.

    Raises:
        DataError: images and masks do not fit, or are too few.
        ImageError: an image cannot be used.
        OptionError: arguments contradict each other, the network has no pyramid, or ``out`` holds something else.
        StoppedError: it was asked to stop; the same call resumes.
        SarHubError: as :func:`~sarhub_models.create_model` says.
    """
    if options.masks is None:
        root = options.files()
        options = dataclasses.replace(options, data=root / IMAGES, masks=root / MASKS)
    return finetune_windows(options, _KIND)


def _survey(options: MaskOptions, folder: Path) -> dict[str, str]:
    root, masks = options.files(), Path(str(options.masks))
    found = find_pairs(root, masks, group_by=options.group_by, bands=options.bands or ())
    start = choose_start(options, root / found[0].image, dense=True)
    if len(start.bands) > 1 and options.bands is None:  # files of one image count once
        found = find_pairs(root, masks, group_by=options.group_by, bands=start.bands)
    transform = start.transform(radiometry=options.radiometry, full_scale=options.full_scale)
    pairs, skipped = look_at_pairs(
        root, found, bands_of(options, start), transform, full_scale=options.full_scale, on_error=options.on_error
    )
    named = choose_classes(pairs, options.classes, options.ignore)
    divided = divide_pairs(pairs, named, val=options.val, test=options.test, seed=options.seed)
    begin(folder, options, skipped)
    write_table([{"number": number, "name": name} for number, name in named.items()], folder / _CLASSES)
    write_pairs(divided, named, folder)
    return skipped


def _reading(options: MaskOptions, folder: Path) -> dict[str, Any]:
    named = read_table(folder / _CLASSES)
    numbers, names = [int(row["number"]) for row in named], [row["name"] for row in named]
    return {"numbers": numbers, "class_names": names, "ignore": options.ignore}


def _found(learnt: MaskWindows) -> str:
    counts = learnt.counts()
    shares = [f"{name} {share:.1%}" for name, share in zip(learnt.class_names, counts / counts.sum(), strict=True)]
    return f"{len(shares)} classes: {', '.join(shares[:20])} of the pixels to train on"


_KIND = Kind("masks", "segmentation", TABLE, 1e-3, MaskWindows, _survey, _reading, _found, write_report)
