"""Pictures of composed scenes and mosaics of simulated chips, and the results of the runs on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.composed.mosaics import MosaicSettings, compose_mosaic, land_cover
from benchmarks.composed.patches import gray_levels, load_patches
from benchmarks.composed.scenes import SceneSettings, compose_scene, sea_patches, ship_chips
from benchmarks.detection.figures import Boxes, box_figure
from benchmarks.segmentation.figures import mask_figure
from sarhub_models.io.figures import save_figure

RESULTS = Path(__file__).parents[1] / "results"
_PALETTE = [[86, 180, 233], [213, 94, 0], [240, 228, 66], [0, 158, 115]]


def content_figures(folder: Path) -> None:
    """A scene with the boxes of its ships, and two mosaics with their masks."""
    patches = load_patches(None, "s1", "test")
    rng = np.random.default_rng(3)
    scene = compose_scene(sea_patches(patches), ship_chips(patches), SceneSettings(most=8), rng)
    image = gray_levels(scene.amplitude)
    panels = [Boxes(np.empty((0, 4))), Boxes(scene.boxes)]
    save_figure(box_figure([(image, panels)], ["scene", "boxes"]), folder / "scene_simulated.png")
    cover = land_cover(patches)
    mosaics = [compose_mosaic(cover, MosaicSettings(), np.random.default_rng(seed)) for seed in (1, 4)]
    rows = [[gray_levels(mosaic.amplitude), mosaic.mask] for mosaic in mosaics]
    figure = mask_figure(rows, ["mosaic", "mask"], cover.class_names, _PALETTE)
    save_figure(figure, folder / "mosaics_simulated.png")


def content_results(folder: Path) -> None:
    """The reports and curves that the commands on real content left in ``results``."""
    by_epoch, by_labels = "Validation by epoch", "Accuracy over the share of labels"
    for name, alt in (("scenes", by_epoch), ("mosaics", by_epoch), ("recognition", by_labels)):
        report, curves = RESULTS / f"{name}.md", RESULTS / f"{name}.png"
        if report.is_file():
            text = report.read_text(encoding="utf-8")
            if curves.is_file():
                (folder / curves.name).write_bytes(curves.read_bytes())
                text += f"\n![{alt}](_generated/{curves.name})\n"
        else:
            text = "The command has not been run in full yet, so nothing is claimed here.\n"
        (folder / f"{name}_results.md").write_text(text, encoding="utf-8")
