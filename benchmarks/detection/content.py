"""Does SAR pre-training help to find ships? ``python -m benchmarks.detection.content --data DIR``.

Scenes are composed of real patches (:mod:`benchmarks.detection.scenes`), and a small FCOS is trained on them from none
and from SAR pre-trained weights, until AP50 on the validation scenes stops growing. The epoch that is best there is
tested. Finished parts are not done again, so the same command goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.composing import check_source
from benchmarks.content import Content, content_cells, parse_pretrained, run_content
from sarhub_models.errors import SarHubError

from .scenes import SceneSettings, compose_scenes
from .task import TASK, draw_detections

SCENES = Content(TASK, "scenes", "coco/bbox_mAP_50", "AP50", 1.0, draw_detections)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    data: Annotated[Path | None, typer.Option(help="Folder with s1.npz and opensarship.npz.")] = None,
    simulated: Annotated[bool, typer.Option("--simulated", help="Simulated chips in place of --data.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of all output.")] = Path("outputs/detection_content"),
    pretrained: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK=RUN_DIR|NAME|FILE", help="SAR pre-trained weights; may be repeated."),
    ] = None,
    networks: Annotated[list[str] | None, typer.Option(help="May be repeated. Default: mobilenetv3.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; default: the configuration's.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch.")] = 1,
    train: Annotated[int, typer.Option(help="Scenes to train on.")] = 160,
    val: Annotated[int, typer.Option(help="Scenes to choose the epoch on.")] = 40,
    test: Annotated[int, typer.Option(help="Scenes to report on.")] = 60,
) -> None:
    """Compose, train, test; writes scenes.md, scenes.png, results.csv and pictures of scenes."""
    try:
        check_source(data, simulated)
        cells = content_cells("scenes", networks or ["mobilenetv3"], parse_pretrained(pretrained or []), seeds)
        compose_scenes(data, out / "scenes", SceneSettings(train, val, test))
        typer.echo(run_content(SCENES, cells, out / "scenes", out / "runs", epochs, threads))
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
