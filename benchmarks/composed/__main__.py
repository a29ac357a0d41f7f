"""Tasks composed of real patches: ``python -m benchmarks.composed detection|segmentation|scenes|mosaics --data DIR``.

A small FCOS is trained on scenes with ships (:mod:`benchmarks.composed.scenes`), a small DeepLabv3 on mosaics of land
cover (:mod:`benchmarks.composed.mosaics`), from none and from SAR pre-trained weights, until AP50 or mIoU on the
validation images stops growing. The epoch that is best there is tested. Finished parts are not done again, so the same
command goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.detection.task import TASK as DETECTION
from benchmarks.experiments.command import command, new_app
from benchmarks.segmentation.task import TASK as SEGMENTATION
from sarhub_models.errors import OptionError

from .mosaics import MosaicSettings, compose_mosaics
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


@command(app)
def detection(
    data: Data = None,
    simulated: Simulated = False,
    out: Out = Path("outputs/composed/detection"),
    pretrained: Pretrained = None,
    networks: Networks = None,
    seeds: Seeds = 1,
    epochs: Epochs = None,
    threads: Threads = 1,
    train: Train = 160,
    val: Val = 40,
    test: Test = 60,
) -> None:
    """Compose scenes, train, test; writes scenes.md, scenes.png, results.csv and figures of scenes."""
    patches, trials = source(data, simulated), SCENES.trials(networks, pretrained, seeds)
    compose_scenes(patches, out / "scenes", SceneSettings(train, val, test))
    typer.echo(run_study(SCENES, trials, out / "scenes", out, epochs, threads))


@command(app)
def segmentation(
    data: Data = None,
    simulated: Simulated = False,
    out: Out = Path("outputs/composed/segmentation"),
    pretrained: Pretrained = None,
    networks: Networks = None,
    seeds: Seeds = 1,
    epochs: Epochs = None,
    threads: Threads = 1,
    train: Train = 400,
    val: Val = 40,
    test: Test = 60,
) -> None:
    """Compose mosaics, train, test; writes mosaics.md, mosaics.png, results.csv and figures of mosaics."""
    patches, trials = source(data, simulated), MOSAICS.trials(networks, pretrained, seeds)
    compose_mosaics(patches, out / "mosaics", MosaicSettings(train, val, test))
    typer.echo(run_study(MOSAICS, trials, out / "mosaics", out, epochs, threads))


@command(app)
def scenes(
    out: Out,
    data: Data = None,
    simulated: Simulated = False,
    train: Train = 160,
    val: Val = 40,
    test: Test = 60,
    size: Size = 512,
    fewest: Fewest = 3,
    most: Most = 10,
    seed: Seed = 0,
) -> None:
    """Compose scenes with ships; a folder that is there with the same settings is left as it is."""
    settings = SceneSettings(train, val, test, size, fewest, most, seed)
    _composed(compose_scenes(source(data, simulated), out, settings), train + val + test, "scenes", out)


@command(app)
def mosaics(
    out: Out,
    data: Data = None,
    simulated: Simulated = False,
    train: Train = 400,
    val: Val = 40,
    test: Test = 60,
    size: Size = 256,
    fewest: Fewest = 5,
    most: Most = 9,
    seed: Seed = 0,
) -> None:
    """Compose mosaics of land cover; a folder that is there with the same settings is left as it is."""
    settings = MosaicSettings(train, val, test, size, fewest, most, seed)
    _composed(compose_mosaics(source(data, simulated), out, settings), train + val + test, "mosaics", out)


def _composed(new: bool, count: int, kind: str, out: Path) -> None:
    typer.echo(f"{'composed' if new else 'found'} {count} {kind} in {out}")


if __name__ == "__main__":
    app()
