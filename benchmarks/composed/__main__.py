"""Tasks composed of real patches: ``python -m benchmarks.composed detection|segmentation|scenes|mosaics --data DIR``.

A small FCOS is trained on scenes with ships (:mod:`benchmarks.composed.scenes`), a small DeepLabv3 on mosaics of land
cover (:mod:`benchmarks.composed.mosaics`), from none and from SAR pre-trained weights, until AP50 or mIoU on the
validation images stops growing. The epoch that is best there is tested. Finished parts are not done again, so the same
command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.detection.task import TASK as DETECTION
from benchmarks.experiments.command import command, new_app
from benchmarks.segmentation.task import TASK as SEGMENTATION
from sarhub_models.errors import OptionError

from .mosaics import MosaicSettings, compose_mosaics
from .patches import Settings
from .scenes import SceneSettings, compose_scenes
from .study import Composed, run_study

Data = Annotated[Path | None, typer.Option(help="Folder with the packed files of DSN-SLC.")]
Simulated = Annotated[bool, typer.Option("--simulated", help="Simulated chips in place of --data.")]
Train = Annotated[int, typer.Option(help="Images to train on.")]
Val = Annotated[int, typer.Option(help="Images to choose the epoch on.")]
Test = Annotated[int, typer.Option(help="Images to report on.")]
Out = Annotated[Path, typer.Option(help="Folder of all output.")]
Pretrained = Annotated[
    list[str] | None,
    typer.Option(metavar="NETWORK=RUN_DIR|NAME|FILE", help="SAR pre-trained weights; may be repeated."),
]
Networks = Annotated[list[str] | None, typer.Option(help="May be repeated. Default: mobilenetv3.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")]
Epochs = Annotated[int | None, typer.Option(min=1, help="At most; default: the configuration's.")]
Threads = Annotated[int, typer.Option(min=1, help="Of PyTorch.")]
Size = Annotated[int, typer.Option(help="Side in pixels.")]
Fewest = Annotated[int, typer.Option(help="Ships or regions of an image, at least.")]
Most = Annotated[int, typer.Option(help="Ships or regions of an image, at most.")]
Seed = Annotated[int, typer.Option(help="Of all choices.")]

SCENES = Composed(DETECTION, "scenes", "coco/bbox_mAP_50", "AP50", 1.0)
MOSAICS = Composed(SEGMENTATION, "mosaics", "mIoU", "mIoU", 100.0)
app = new_app(no_args_is_help=True)


def source(data: Path | None, simulated: bool) -> Path | None:
    """Return the folder of real patches, or ``None`` for simulated ones.

    Raises:
        OptionError: neither was asked for, or both.
    """
    if (data is None) != simulated:
        raise OptionError("expected --data FOLDER for real patches or --simulated, one of them")
    return data


def add_commands(study: Composed, compose: Callable[..., bool], settings: type[Settings]) -> None:
    """Add the commands that compose a data set, called after it, and that train and test on it, after its task."""

    @command(app, study.task.name)
    def run(
        data: Data = None,
        simulated: Simulated = False,
        out: Out = Path("outputs/composed", study.task.name),
        pretrained: Pretrained = None,
        networks: Networks = None,
        seeds: Seeds = 1,
        epochs: Epochs = None,
        threads: Threads = 1,
        train: Train = settings.train,
        val: Val = settings.val,
        test: Test = settings.test,
    ) -> None:
        """Compose, train, test; writes <data set>.md, <data set>.png, results.csv and figures of predictions."""
        patches, trials = source(data, simulated), study.trials(networks, pretrained, seeds)
        compose(patches, out / study.dataset, settings(train, val, test))
        typer.echo(run_study(study, trials, out / study.dataset, out, epochs, threads))

    @command(app, study.dataset)
    def write(
        out: Out,
        data: Data = None,
        simulated: Simulated = False,
        train: Train = settings.train,
        val: Val = settings.val,
        test: Test = settings.test,
        size: Size = settings.size,
        fewest: Fewest = settings.fewest,
        most: Most = settings.most,
        seed: Seed = 0,
    ) -> None:
        """Compose the data set only; a folder that is there with the same settings is left as it is."""
        new = compose(source(data, simulated), out, settings(train, val, test, size, fewest, most, seed))
        typer.echo(f"{'composed' if new else 'found'} {train + val + test} {study.dataset} in {out}")


add_commands(SCENES, compose_scenes, SceneSettings)
add_commands(MOSAICS, compose_mosaics, MosaicSettings)

if __name__ == "__main__":
    app()
