"""Does SAR pre-training help to find ships? ``python -m benchmarks.composed.detection --data DIR``.

Scenes are composed of real patches (:mod:`benchmarks.composed.scenes`), and a small FCOS is trained on them from none
and from SAR pre-trained weights, until AP50 on the validation scenes stops growing. The epoch that is best there is
tested. Finished parts are not done again, so the same command goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

import typer

from benchmarks.detection.task import TASK, draw_detections
from sarhub_models.errors import SarHubError

from . import options
from .patches import check_source
from .scenes import SceneSettings, compose_scenes
from .study import Content, content_cells, parse_pretrained, run_content

SCENES = Content(TASK, "scenes", "coco/bbox_mAP_50", "AP50", 1.0, draw_detections)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    data: options.Data = None,
    simulated: options.Simulated = False,
    out: options.Out = Path("outputs/detection_content"),
    pretrained: options.Pretrained = None,
    networks: options.Networks = None,
    seeds: options.Seeds = 1,
    epochs: options.Epochs = None,
    threads: options.Threads = 1,
    train: options.Train = 160,
    val: options.Val = 40,
    test: options.Test = 60,
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
