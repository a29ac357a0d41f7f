"""The study of pre-training and knowledge points: ``python -m benchmarks.explanation --data DIR``.

Networks are fine-tuned from random and from pre-trained weights, several seeds each: MobileNetV3 and ResNet-18 on the
ship types of OpenSARShip (in DSN-SLC), or others on the vehicles of MSTAR. On chips of the test split their knowledge
points and class-activation maps are found and measured: with SAR-HUB's regions (target, shadow), and with known ones
(:mod:`.targets`); knowledge points also without the grid that strides leave in the maps. Finished parts are not done
again, so the same command goes on where it stopped.
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
from benchmarks.experiments.initializations import Initialization, none_and_sar, without_imagenet
from benchmarks.experiments.provenance import Provenance
from benchmarks.experiments.runner import run_trials
from benchmarks.experiments.training import TrainingExperiment
from benchmarks.experiments.trial import Trial
from sarhub_models.engine.run import Run, load_run
from sarhub_models.explain import (
    ChipBatch,
    Direct,
    KnowledgePoints,
    bootstrap,
    class_activation_maps,
    find_regions,
)
from sarhub_models.explain.figures import grid_figure
from sarhub_models.explain.results import Found, read_folder, write_folder
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import digests
from sarhub_models.networks import names as network_names
from sarhub_models.zoo.description import BEST
from training.evaluate import score_run

from .report import write_report
from .targets import RULE, Ships, Targets, Vehicles, overlap

CAMS = ("gradcam", "layercam")
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_PERIOD = 4  # patches of 8 pixels in the stride of the last stage, 32 pixels
app = new_app()


@dataclass(frozen=True)
class Study:
    """Settings that all explanations share.

    Attributes:
        targets: what is explained.
        data: folder of the chips.
        out: folder of all output.
        steps: of the direct estimator.
        limit: number of chips, ``None`` for all.
    """

    targets: Targets
    data: Path
    out: Path
    steps: int
    limit: int | None

    def explain(self, trial: Trial) -> list[dict[str, Any]]:
        """Return the measures of a trial, a row a chip; maps that are there are read."""
        run = load_run(self.out / trial.folder, [f"data.root={self.data}"])
        accuracy = score_run(run, "test", again=False)["overall_accuracy"]
        chips = self.targets.chips(run, self.limit)
        found = [self.maps(trial, run, chips, kind) for kind in ("kp", *CAMS)]
        found.insert(1, replace(found[0], maps=without_grid(found[0].maps)))
        shown = {"network": trial.network, "init": trial.label, "seed": trial.seed}
        rows = []
        for number, one in enumerate(found):
            for rule, regions in ((RULE, one.regions), (self.targets.known, self.targets.regions(one))):
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
        transform, runtime, model = run.transform(), run.recipe.runtime, run.model().to(_DEVICE)
        if runtime.channels_last:
            model.to(memory_format=torch.channels_last)
        estimator = Direct(steps=self.steps)
        points = KnowledgePoints(model, mean=transform.mean, std=transform.std, estimator=estimator)
        with torch.autocast(_DEVICE, torch.bfloat16, enabled=runtime.precision == "bf16"):
            explanation = points.explain(chips.values, chips.names)
        regions = find_regions(chips.values.numpy(), patch=explanation.patch)
        return Found.of_points(name, chips.names, chips.amplitude, regions, explanation, settings=points.settings())

    def _cam(self, name: str, run: Run, chips: ChipBatch, method: str) -> Found:
        transform = run.transform()
        maps = class_activation_maps(
            run.model().to(_DEVICE),
            chips.values,
            method=method,
            mean=transform.mean,
            std=transform.std,
            names=chips.names,
        )
        return Found(name, method, chips.names, chips.amplitude, find_regions(chips.values.numpy()), maps)

    def agreement(self, trial: Trial) -> str:
        """Return a sentence on how well SAR-HUB's rules find the known regions of the chips of a trial."""
        found = read_folder(self.out / replace(trial, variant="kp").folder)
        values = overlap(found.regions, self.targets.regions(found))
        parts = [f"{name} {bootstrap(chips)}" for name, chips in values.items() if np.isfinite(chips).any()]
        return f"Intersection over union of the regions {RULE} and {self.targets.known}: {'; '.join(parts)}."

    def draw(self, trials: Sequence[Trial], count: int = 6) -> None:
        """Draw chips as the networks of the first seed see them, for people to look at: they show data of others."""
        for kind in ("kp", *CAMS):
            shown = [replace(trial, variant=kind) for trial in trials if trial.seed == 0]
            found = {f"{trial.network}-{trial.label}-0": read_folder(self.out / trial.folder) for trial in shown}
            picks = np.linspace(0, len(next(iter(found.values())).names) - 1, count).astype(int)
            views = {name: [one.view(index) for index in np.unique(picks)] for name, one in found.items()}
            save_figure(grid_figure(views, threshold=0.25, title=kind), self.out / "figures" / f"{kind}.png")


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
    data: Annotated[Path, typer.Option(help="Folder with opensarship.npz, or of MSTAR.")],
    masks: Annotated[
        Path | None, typer.Option(help="SARBake's masks: the vehicles of MSTAR are explained, not ships.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, maps, figures and the report.")] = Path(
        "outputs/explanation"
    ),
    pretrained: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK=RUN_DIR|NAME|FILE", help="SAR pre-trained weights; may be repeated."),
    ] = None,
    imagenet: Annotated[
        bool, typer.Option("--imagenet", help="Also from ImageNet, where there are such weights.")
    ] = False,
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
    targets: Targets = Ships(data) if masks is None else Vehicles(data, masks)
    starts = none_and_sar(chosen, pretrained or [])
    for network in set(chosen).difference(without_imagenet(chosen) if imagenet else chosen):
        starts[network].append(Initialization("ImageNet", "imagenet", network))
    pairs = [(network, start) for network, found in starts.items() for start in found]
    trials = [
        Trial("recognition", targets.dataset, *pair, seed=seed, variant="finetune")
        for seed, pair in itertools.product(range(seeds), pairs)
    ]
    recipe = partial(targets.recipe, assignments=(f"optim.epochs={epochs}", *(assignments or ())))
    run_trials(TrainingExperiment(out, recipe), trials, jobs=jobs)
    study = Study(targets, data, out, steps, limit)
    rows = pd.DataFrame([row for trial in trials for row in study.explain(trial)])
    study.draw(trials)
    typer.echo(write_report(rows, out, note=study.agreement(trials[0])))
