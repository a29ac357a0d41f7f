"""Does SAR pre-training move knowledge points to the ship? ``python -m benchmarks.explanation.study --data DIR``.

MobileNetV3 and ResNet-18 are fine-tuned on the ship types of OpenSARShip (in DSN-SLC), from random and from SAR
pre-trained weights, three seeds each. On the ship chips of the test split their knowledge points and class-activation
maps are found and measured: with SAR-HUB's regions (target, shadow), and with the ship's own pixels, which stand out
of the sea's clutter; knowledge points also without the grid that strides leave in the maps. Finished parts are not
done again, so the same command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from sarhub_models.datasets.recognition.dsn.reader import load_dsn
from sarhub_models.engine.run import Run, load_run
from sarhub_models.errors import OptionError, SarHubError
from sarhub_models.explain import (
    ChipBatch,
    Direct,
    KnowledgePoints,
    Regions,
    class_activation_maps,
    find_regions,
    prepare_chips,
    regions_from_masks,
)
from sarhub_models.explain.figures import grid_figure, save_figure
from sarhub_models.explain.regions import tidy
from sarhub_models.explain.results import Found, read_folder, write_folder
from training.evaluate import score_run

from .report import Result, write_report
from .runs import Cell, finetune, grid

CAMS = ("gradcam", "layercam")
_RULES = ("SAR-HUB", "ship")  # of the regions: SAR-HUB's, and pixels above the clutter
_CLUTTER = 3.16  # times the median: what Rayleigh-distributed sea exceeds once in a thousand pixels, √(2·ln 1000)/1.177
_PERIOD = 4  # patches of 8 pixels in the stride of the last stage, 32 pixels
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Study:
    """What all cells share."""

    data: Path
    out: Path
    steps: int
    limit: int | None

    def chips(self, run: Run, split: str = "test") -> ChipBatch:
        """Return the chips of a split as a run's network sees them."""
        patches = load_dsn(self.data, ("opensarship",), split)
        order = np.random.default_rng(0).permutation(len(patches.images))[: self.limit]
        order.sort()
        names = [patches.names[index] for index in order]
        return prepare_chips(
            (patches.images[index] for index in order), names, run.transform(), full_scale=run.recipe.data.full_scale
        )

    def explain(self, cell: Cell) -> list[Result]:
        """Return the measures of a cell; maps that are there are read."""
        run = load_run(self.out / "runs" / cell.name, [f"data.root={self.data}"])
        accuracy = score_run(run, "test", again=False)["overall_accuracy"]
        chips = self.chips(run)
        found = [self._points(cell, run, chips), *(self._cam(cell, run, chips, method) for method in CAMS)]
        found.insert(1, replace(found[0], maps=without_grid(found[0].maps)))
        results = []
        for number, one in enumerate(found):
            for rule in _RULES:
                regions = one.regions if rule == "SAR-HUB" else ship_regions(one.amplitude, one.regions.patch)
                label = f"{rule}, grid removed" if number == 1 else rule
                rows = replace(one, regions=regions).rows()
                results += [Result(cell.network, cell.start, cell.seed, label, accuracy, row) for row in rows]
        return results

    def _points(self, cell: Cell, run: Run, chips: ChipBatch) -> Found:
        folder = self.out / "kp" / cell.name
        if not _same(folder, chips, self.steps):
            transform = run.transform()
            runtime, model = run.recipe.runtime, run.model()
            if runtime.channels_last:
                model.to(memory_format=torch.channels_last)
            estimator = Direct(steps=self.steps)
            points = KnowledgePoints(model, mean=transform.mean, std=transform.std, estimator=estimator)
            with torch.autocast("cpu", torch.bfloat16, enabled=runtime.precision == "bf16"):
                explanation = points.explain(chips.values, chips.names)
            regions = find_regions(chips.values.numpy(), patch=explanation.patch)
            found = Found.of_points(
                cell.name, chips.names, chips.amplitude, regions, explanation, settings=points.settings()
            )
            write_folder(folder, found, pictures=None)
        return read_folder(folder)

    def _cam(self, cell: Cell, run: Run, chips: ChipBatch, method: str) -> Found:
        folder = self.out / method / cell.name
        if not _same(folder, chips, None):
            transform = run.transform()
            maps = class_activation_maps(
                run.model(), chips.values, method=method, mean=transform.mean, std=transform.std, names=chips.names
            )
            regions = find_regions(chips.values.numpy())
            write_folder(folder, Found(cell.name, method, chips.names, chips.amplitude, regions, maps), pictures=None)
        return read_folder(folder)

    def pictures(self, cells: Sequence[Cell], count: int = 6) -> None:
        """Draw chips as the networks of the first seed see them, for people to look at: they show data of others."""
        for kind in ("kp", *CAMS):
            found = {cell.name: read_folder(self.out / kind / cell.name) for cell in cells if cell.seed == 0}
            picks = np.linspace(0, len(next(iter(found.values())).names) - 1, count).astype(int)
            views = {name: [one.view(index) for index in np.unique(picks)] for name, one in found.items()}
            save_figure(grid_figure(views, threshold=0.25, title=kind), self.out / "pictures" / f"{kind}.png")


def ship_regions(amplitude: np.ndarray, patch: int) -> Regions:
    """Return the ship of each chip, (N, H, W) of amplitude: what stands out of the sea's clutter, tidied."""
    return regions_from_masks(np.stack([tidy(image > _CLUTTER * np.median(image)) for image in amplitude]), patch=patch)


def without_grid(entropy: np.ndarray, period: int = _PERIOD) -> np.ndarray:
    """Return entropies (N, R, C) without what all chips have at the positions that the network samples alike.

    Layers of stride 2 read some pixels more often than their neighbors: in a ResNet the shortcuts, 1×1 convolutions,
    read every other pixel only. The entropy of a patch then depends on where it lies within the last stage's stride,
    whatever the chip shows. The mean over chips and patches of each of these positions is taken out.
    """
    even = entropy.astype(np.float64)
    for row in range(period):
        for column in range(period):
            part = even[:, row::period, column::period]
            part -= part.mean()
    return even + entropy.mean()


def _same(folder: Path, chips: ChipBatch, steps: int | None) -> bool:
    """Return whether a folder holds the maps of these chips, found in so many steps."""
    if not (folder / "explain.json").is_file():
        return False
    found = read_folder(folder)
    return found.names == chips.names and found.settings.get("estimator", {}).get("steps") == steps


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="Folder with opensarship.npz.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs, maps, pictures and the report.")] = Path(
        "outputs/explanation"
    ),
    pretrained: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK=RUN_DIR|NAME|FILE", help="SAR pre-trained weights; may be repeated."),
    ] = None,
    networks: Annotated[list[str] | None, typer.Option(help="Default: mobilenetv3 and resnet18.")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of the fine-tuning.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Of the direct estimator.")] = 150,
    limit: Annotated[int | None, typer.Option(min=2, help="Explain so many chips of the test split.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Argument(help="section.key=value for the fine-tuning, such as runtime.threads=1.")
    ] = None,
) -> None:
    """Fine-tune, explain, measure; writes measures.csv, explanation.md, explanation_*.png and pictures of chips."""
    weights = {"mobilenetv3": "mobilenetv3_dsn"}
    study = Study(data, out, steps, limit)
    try:
        for text in pretrained or []:
            network, equals, place = text.partition("=")
            if not equals:
                raise OptionError(f"expected --pretrained NETWORK=RUN_DIR, got {text!r}")
            weights[network] = place
        cells = grid(networks or ["mobilenetv3", "resnet18"], seeds)
        finetune(cells, data, out / "runs", weights, epochs, assignments or [])
        results = [result for cell in cells for result in study.explain(cell)]
        study.pictures(cells)
        typer.echo(write_report(results, out))
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
