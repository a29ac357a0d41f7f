"""The pictures of the page on explaining, from simulated chips, and the results of the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import sarhub_models as sarhub
from sarhub_models.datasets.simulated import simulate_chips
from sarhub_models.explain import Direct, KnowledgePoints, class_activation_maps, find_regions, prepare_chips
from sarhub_models.explain.figures import View, chip_figure, grid_figure
from sarhub_models.io.figures import save_figure

MODEL = "mobilenetv3_dsn"
RESULTS = Path(__file__).parents[1] / "results"


def explain_figures(folder: Path) -> None:
    """A vehicle with its shadow and ships at sea: knowledge points, and the same chips before and after training."""
    images, labels, names = simulate_chips(2, size=64, seed=4)
    chosen = np.concatenate([images[labels == names.index("vehicle")][:1], images[labels == names.index("ship")]])
    transform = sarhub.create_transform(MODEL)
    chips = prepare_chips(chosen, ["vehicle", "ship 1", "ship 2"], transform)
    regions = find_regions(chips.values.numpy())
    torch.manual_seed(0)
    networks = {"untrained": sarhub.create_model(MODEL), MODEL: sarhub.create_model(MODEL, pretrained=True)}
    views: dict[str, list[View]] = {}
    scale = {"mean": transform.mean, "std": transform.std, "progress": False}
    for name, network in networks.items():
        entropy = KnowledgePoints(network, estimator=Direct(steps=80), **scale).explain(chips.values).entropy
        cams = class_activation_maps(network, chips.values, **scale)
        views[name] = [
            View(chips.amplitude[n], regions.patches[n], regions.patch, entropy[n], cams[n], chips.names[n])
            for n in range(len(chips))
        ]
    save_figure(chip_figure(views[MODEL][0]), folder / "explain_chip.png")
    save_figure(chip_figure(views[MODEL][1], palette="colorblind"), folder / "explain_colorblind.png")
    title = "knowledge points, b = 0.25"
    save_figure(grid_figure(views, threshold=0.25, palette="colorblind", title=title), folder / "explain_grid.png")


def study_results(folder: Path) -> None:
    """The table, the figures and the verdict that ``benchmarks.explanation.study`` left in ``docs/results``."""
    table = RESULTS / "explanation.md"
    if table.is_file():
        figures = "\n".join(f"![Shares]({path.name})" for path in sorted(RESULTS.glob("explanation_*.png")))
        text = f"{table.read_text(encoding='utf-8')}\n{figures}\n"
        for path in RESULTS.glob("explanation_*.png"):
            (folder / path.name).write_bytes(path.read_bytes())
    else:
        text = "The study has not been run in full yet, so nothing is claimed here.\n"
    (folder / "explanation_study.md").write_text(text.replace("](explanation_", "](_generated/explanation_"), "utf-8")
