"""Fine-tuning on images with boxes: COCO in, one weights file that describes itself and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...datasets.windows.boxes import TABLE, BoxWindows
from ...io.tables import read_table, write_table
from ..tasks.detection import average_precision
from .boxed import divide_boxed, find_boxes, look_at_boxes, write_boxed
from .boxes_report import write_report
from .options import BoxOptions, takes
from .request import begin
from .settings import choose_start
from .windowed import Kind, Trained, bands_of, finetune_windows

_CLASSES = "classes.csv"


@takes(BoxOptions)
def finetune_boxes(options: BoxOptions) -> Trained:
    """Fine-tune weights to find objects and their boxes, and report what came out.

    The network sees windows of the images, prepared as its weights want it. The same call resumes a run that was
    stopped or killed. The folder ``out`` then holds ``best.safetensors``, which describes itself, ``boxes.csv`` with
    the splits, the recipe, curves and metrics, and of the splits ``val`` and ``test`` the predicted boxes (COCO),
    scores, scores of each class and pictures.

    Raises:
        DataError: images and boxes do not fit, or are too few.
        ImageError: an image cannot be used.
        OptionError: arguments contradict each other, the network has no pyramid, or ``out`` holds something else.
        StoppedError: it was asked to stop; the same call resumes.
        SarHubError: as :func:`~sarhub_models.create_model` says.
    """
    average_precision()  # pycocotools is missing now, not after the training
    return finetune_windows(options, _KIND)


def _survey(options: BoxOptions, folder: Path) -> dict[str, str]:
    root = options.files()
    names, found = find_boxes(root, Path(options.boxes), group_by=options.group_by)
    start = choose_start(options, root / found[0].image, dense=True)
    transform = start.transform(radiometry=options.radiometry, full_scale=options.full_scale)
    images, skipped = look_at_boxes(
        root, found, bands_of(options, start), transform, full_scale=options.full_scale, on_error=options.on_error
    )
    divided = divide_boxed(images, names, val=options.val, test=options.test, seed=options.seed)
    begin(folder, options, skipped)
    write_table([{"name": name} for name in names], folder / _CLASSES)
    write_boxed(divided, folder)
    return skipped


def _reading(options: BoxOptions, folder: Path) -> dict[str, Any]:
    return {"class_names": [row["name"] for row in read_table(folder / _CLASSES)]}


def _found(learnt: BoxWindows) -> str:
    counts = zip(learnt.class_names, learnt.counts().tolist(), strict=True)
    return f"boxes to train on: {', '.join(f'{name} {count}' for name, count in list(counts)[:20])}"


_KIND = Kind("boxes", "detection", TABLE, 5e-4, BoxWindows, _survey, _reading, _found, write_report)
