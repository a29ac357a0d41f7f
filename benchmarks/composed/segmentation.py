"""Does SAR pre-training help to map land cover? ``python -m benchmarks.composed.segmentation --data DIR``.

Mosaics are composed of real patches (:mod:`benchmarks.composed.mosaics`), and a small DeepLabv3 is trained on them
from none and from SAR pre-trained weights, until mIoU on the validation mosaics stops growing. The epoch that is best
there is tested. Finished parts are not done again, so the same command goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

import typer

from benchmarks.segmentation.task import TASK, draw_predictions
from sarhub_models.errors import SarHubError

from . import options
from .mosaics import MosaicSettings, compose_mosaics
from .patches import check_source
from .study import Content, content_cells, parse_pretrained, run_content

MOSAICS = Content(TASK, "mosaics", "mIoU", "mIoU", 100.0, draw_predictions)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    data: options.Data = None,
    simulated: options.Simulated = False,
    out: options.Out = Path("outputs/segmentation_content"),
    pretrained: options.Pretrained = None,
    networks: options.Networks = None,
    seeds: options.Seeds = 1,
    epochs: options.Epochs = None,
    threads: options.Threads = 1,
    train: options.Train = 400,
    val: options.Val = 40,
    test: options.Test = 60,
) -> None:
    """Compose, train, test; writes mosaics.md, mosaics.png, results.csv and pictures of mosaics."""
    try:
        check_source(data, simulated)
        cells = content_cells("mosaics", networks or ["mobilenetv3"], parse_pretrained(pretrained or []), seeds)
        compose_mosaics(data, out / "mosaics", MosaicSettings(train, val, test))
        typer.echo(run_content(MOSAICS, cells, out / "mosaics", out / "runs", epochs, threads))
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
