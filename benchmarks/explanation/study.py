"""The study of SAR pre-training and knowledge points on ships: ``python -m benchmarks.explanation --data DIR``.

MobileNetV3 and ResNet-18 are fine-tuned on the ship types of OpenSARShip (in DSN-SLC), from random and from SAR
pre-trained weights, three seeds each. On the ship chips of the test split their knowledge points and class-activation
maps are found and measured: with SAR-HUB's regions (target, shadow), and with the ship's own pixels, which stand out
of the sea's clutter; knowledge points also without the grid that strides leave in the maps. Finished parts are not
done again, so the same command goes on where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer

from benchmarks.experiments.command import command, known, new_app
from benchmarks.experiments.initializations import none_and_sar
from benchmarks.experiments.provenance import Provenance
from benchmarks.experiments.runner import run_trials
from benchmarks.experiments.training import TrainingExperiment
from benchmarks.experiments.trial import Trial
from sarhub_models.datasets.recognition.dsn.reader import load_dsn
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import Run, load_run
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
from sarhub_models.explain.figures import grid_figure
from sarhub_models.explain.regions import tidy
from sarhub_models.explain.results import Found, read_folder, write_folder
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import digests
from sarhub_models.networks import names as network_names
from sarhub_models.zoo.description import BEST
from training.evaluate import score_run
from training.recipes import load_recipe

from .report import write_report

CAMS = ("gradcam", "layercam")
_RULES = ("SAR-HUB", "ship")  # of the regions: SAR-HUB's, and pixels above the clutter
_CLUTTER = 3.16  # times the median: what Rayleigh-distributed sea exceeds once in a thousand pixels, √(2·ln 1000)/1.177
_PERIOD = 4  # patches of 8 pixels in the stride of the last stage, 32 pixels
app = new_app()


def recipe_of(data: Path, assignments: tuple[str, ...], trial: Trial) -> Recipe:
    """Return the recipe of the fine-tuning of a trial."""
    fixed = [f"data.root={data}", "data.options.parts=[opensarship]", f"runtime.seed={trial.seed}"]
    return load_recipe(f"{trial.network}_dsn", [*fixed, *assignments, f"model.init={trial.initialization.init}"])


@dataclass(frozen=True)
class Study:
    """Settings that all explanations share.

    Attributes:
        data: folder of the patches.
        out: folder of all output.
        steps: of the direct estimator.
        limit: number of chips, ``None`` for all.
    """

    data: Path
    out: Path
    steps: int
    limit: int | None

    def chips(self, run: Run, split: str = "test") -> ChipBatch:
        """Return the chips of a split as a run's network sees them."""
        patches = load_dsn(self.data, parts=("opensarship",), split=split)
        order = np.random.default_rng(0).permutation(len(patches.images))[: self.limit]
        order.sort()
        names = [patches.names[index] for index in order]
        return prepare_chips(
            (patches.images[index] for index in order), names, run.transform(), full_scale=run.recipe.data.full_scale
        )

    def explain(self, trial: Trial) -> list[dict[str, Any]]:
        """Return the measures of a trial, a row a chip; maps that are there are read."""
        run = load_run(self.out / trial.folder, [f"data.root={self.data}"])
        accuracy = score_run(run, "test", again=False)["overall_accuracy"]
        chips = self.chips(run)
        found = [self.maps(trial, run, chips, kind) for kind in ("kp", *CAMS)]
        found.insert(1, replace(found[0], maps=without_grid(found[0].maps)))
        shown = {"network": trial.network, "init": trial.label, "seed": trial.seed}
        rows = []
        for number, one in enumerate(found):
            for rule in _RULES:
                regions = one.regions if rule == "SAR-HUB" else ship_regions(one.amplitude, one.regions.patch)
                label = f"{rule}, grid removed" if number == 1 else rule
                described = {**shown, "regions": label, "accuracy": accuracy}
                rows += [described | row | described for row in replace(one, regions=regions).rows()]
        return rows

    def maps(self, trial: Trial, run: Run, chips: ChipBatch, kind: str) -> Found:
        """Return knowledge points (``kp``) or class-activation maps; those of other weights or chips are replaced."""
        folder = self.out / replace(trial, variant=kind).folder
        settings = {"chips": list(chips.names), **({"steps": self.steps} if kind == "kp" else {})}
        provenance = Provenance(settings, weights=digests(run.folder / BEST).sha256)
        if not (provenance.matches(folder) and (folder / "explain.json").is_file()):
            name = replace(trial, variant="").folder.name
            found = self._points(name, run, chips) if kind == "kp" else self._cam(name, run, chips, kind)
            write_folder(folder, found, pictures=None)
            provenance.keep(folder)
        return read_folder(folder)

    def _points(self, name: str, run: Run, chips: ChipBatch) -> Found:
        transform, runtime, model = run.transform(), run.recipe.runtime, run.model()
        if runtime.channels_last:
            model.to(memory_format=torch.channels_last)
        estimator = Direct(steps=self.steps)
        points = KnowledgePoints(model, mean=transform.mean, std=transform.std, estimator=estimator)
        with torch.autocast("cpu", torch.bfloat16, enabled=runtime.precision == "bf16"):
            explanation = points.explain(chips.values, chips.names)
        regions = find_regions(chips.values.numpy(), patch=explanation.patch)
        return Found.of_points(name, chips.names, chips.amplitude, regions, explanation, settings=points.settings())

    def _cam(self, name: str, run: Run, chips: ChipBatch, method: str) -> Found:
        transform = run.transform()
        maps = class_activation_maps(
            run.model(), chips.values, method=method, mean=transform.mean, std=transform.std, names=chips.names
        )
        return Found(name, method, chips.names, chips.amplitude, find_regions(chips.values.numpy()), maps)

    def draw(self, trials: Sequence[Trial], count: int = 6) -> None:
        """Draw chips as the networks of the first seed see them, for people to look at: they show data of others."""
        for kind in ("kp", *CAMS):
            shown = [replace(trial, variant=kind) for trial in trials if trial.seed == 0]
            found = {f"{trial.network}-{trial.label}-0": read_folder(self.out / trial.folder) for trial in shown}
            picks = np.linspace(0, len(next(iter(found.values())).names) - 1, count).astype(int)
            views = {name: [one.view(index) for index in np.unique(picks)] for name, one in found.items()}
            save_figure(grid_figure(views, threshold=0.25, title=kind), self.out / "figures" / f"{kind}.png")


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


@command(app)
def main(
    data: Annotated[Path, typer.Option(help="Folder with opensarship.npz.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs, maps, figures and the report.")] = Path(
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
    jobs: Annotated[int, typer.Option(min=1, help="Fine-tunings at a time.")] = 1,
    assignments: Annotated[
        list[str] | None, typer.Argument(help="section.key=value for the fine-tuning, such as runtime.threads=1.")
    ] = None,
) -> None:
    """Fine-tune, explain, measure; writes measures.csv, explanation.md, explanation_*.png and figures of chips."""
    chosen = known(network_names(), networks or ["mobilenetv3", "resnet18"], "network")
    pairs = [(n, start) for n, found in none_and_sar(chosen, pretrained or []).items() for start in found]
    trials = [
        Trial("recognition", "dsn", *pair, seed=seed, variant="finetune")
        for seed, pair in itertools.product(range(seeds), pairs)
    ]
    recipe = partial(recipe_of, data, (f"optim.epochs={epochs}", *(assignments or ())))
    run_trials(TrainingExperiment(out, recipe), trials, jobs=jobs)
    study = Study(data, out, steps, limit)
    rows = pd.DataFrame([row for trial in trials for row in study.explain(trial)])
    study.draw(trials)
    typer.echo(write_report(rows, out))
