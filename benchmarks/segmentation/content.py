"""Does SAR pre-training help to map land cover? ``python -m benchmarks.segmentation.content --data DIR``.

Mosaics are composed of real patches (:mod:`benchmarks.segmentation.mosaics`), and a small DeepLabv3 is trained on them
from none and from SAR pre-trained weights, until mIoU on the validation mosaics stops growing. The epoch that is best
there is tested. Finished parts are not done again, so the same command goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.composing import check_source
from benchmarks.content import Content, content_cells, parse_pretrained, run_content
from sarhub_models.errors import SarHubError

from .mosaics import MosaicSettings, compose_mosaics
from .task import TASK, draw_predictions

MOSAICS = Content(TASK, "mosaics", "mIoU", "mIoU", 100.0, draw_predictions)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    data: Annotated[Path | None, typer.Option(help="Folder with s1.npz.")] = None,
    simulated: Annotated[bool, typer.Option("--simulated", help="Simulated chips in place of --data.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of all output.")] = Path("outputs/segmentation_content"),
    pretrained: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK=RUN_DIR|NAME|FILE", help="SAR pre-trained weights; may be repeated."),
    ] = None,
    networks: Annotated[list[str] | None, typer.Option(help="May be repeated. Default: mobilenetv3.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; default: the configuration's.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch.")] = 1,
    train: Annotated[int, typer.Option(help="Mosaics to train on.")] = 400,
    val: Annotated[int, typer.Option(help="Mosaics to choose the epoch on.")] = 40,
    test: Annotated[int, typer.Option(help="Mosaics to report on.")] = 60,
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
