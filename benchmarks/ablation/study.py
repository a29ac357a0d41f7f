"""The ablation: which loss and which dynamic-range mapping, on the DSN-SLC patches, three seeds each.

``python -m benchmarks.ablation --data DIR`` trains MobileNetV3 with every loss and mapping, then larger networks with
the pair that is best on the validation split. A finished run is not run again, an interrupted one goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.experiments.command import command, new_app
from benchmarks.experiments.runner import finished, run_trials
from benchmarks.experiments.training import TrainingExperiment
from benchmarks.experiments.trial import Trial
from sarhub_models.engine.recipe import Recipe
from training.recipes import load_recipe

from .report import best_pair, rows_of, write_report

LOSSES = {
    "cross-entropy": ("loss.name=ce",),
    "CBL": ("loss.name=cbl",),
    "mini-CBL": ("loss.name=mini_cbl",),
    "mini-CBL focal": ("loss.name=mini_cbl", "loss.gamma=2"),
}
MAPPINGS = {
    "log amplitude": ("preprocess.operator=log_amplitude", "preprocess.draa=false"),
    "PTLS": ("preprocess.operator=ptls", "preprocess.draa=false"),
    "PTLS, DRAA": ("preprocess.operator=ptls", "preprocess.draa=true"),
    "Reinhard–Devlin": ("preprocess.operator=reinhard_devlin", "preprocess.draa=false"),
    "Reinhard–Devlin, DRAA": ("preprocess.operator=reinhard_devlin", "preprocess.draa=true"),
}
SMALL, LARGE = "mobilenetv3", ("resnet18", "resnet50", "swin_t")
SMALLEST = {"swin_t": 128}  # pixels; its windows do not fit into less
app = new_app()


@dataclass(frozen=True)
class Recipes:
    """The recipe of each trial.

    Attributes:
        data: folder of the patches.
        threads: CPU threads of a trial.
        epochs: of MobileNetV3 and of the larger networks.
        sizes: side of their input in pixels.
        assignments: ``section.key=value`` for all.
    """

    data: Path
    threads: int
    epochs: tuple[int, int]
    sizes: tuple[int, int]
    assignments: tuple[str, ...] = ()

    def __call__(self, trial: Trial) -> Recipe:
        """Return the recipe of a trial."""
        large = trial.network != SMALL
        size = max(self.sizes[large], SMALLEST.get(trial.network, 0))
        loss, mapping = trial.variant.split(" | ")
        assignments = [
            *(f"data.root={self.data}", f"runtime.seed={trial.seed}", f"runtime.threads={self.threads}"),
            *(f"optim.epochs={self.epochs[large]}", f"preprocess.size={size}", "augment.cutmix=0"),
            *(*LOSSES[loss], *MAPPINGS[mapping], *self.assignments),
        ]
        return load_recipe(f"{trial.network}_dsn", assignments)


def trials_of(network: str, pairs: Iterable[tuple[str, str]], seeds: int) -> list[Trial]:
    """Return the trials, seed by seed, so that a part of the table holds all of its rows."""
    product = itertools.product(range(seeds), list(pairs))
    return [Trial("pre-training", "dsn", network, seed=seed, variant=" | ".join(pair)) for seed, pair in product]


@command(app)
def main(
    data: Annotated[Path, typer.Option(help="Folder with s1.npz and tsx.npz.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of the report.")] = Path("outputs/ablation"),
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of MobileNetV3.")] = 8,
    size: Annotated[int, typer.Option(min=32, help="Side of MobileNetV3's input in pixels.")] = 128,
    large_epochs: Annotated[int, typer.Option(min=0, help="Of the larger networks; 0 leaves them out.")] = 6,
    large_size: Annotated[int, typer.Option(min=32, help="Side of their input; 64 is the patches' own.")] = 64,
    jobs: Annotated[int, typer.Option(min=0, help="Runs at a time; 0: one, in this process.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each.")] = 1,
    assignments: Annotated[list[str] | None, typer.Argument(help="section.key=value, over all recipes.")] = None,
) -> None:
    """Run the experiment and write its table (ablation.csv, ablation.md) and figure (ablation.png)."""
    recipes = Recipes(data, threads, (epochs, large_epochs), (size, large_size), tuple(assignments or ()))
    experiment = TrainingExperiment(out, recipes)
    trials: list[Trial] = []

    def run(more: Sequence[Trial]) -> None:
        run_trials(experiment, more, jobs=jobs, threads=threads)
        trials.extend(more)
        write_report(rows_of(finished(experiment, trials), recipes), out)

    run(trials_of(SMALL, itertools.product(LOSSES, MAPPINGS), seeds))
    best = best_pair(rows_of(finished(experiment, trials), recipes))
    for network in LARGE if large_epochs else ():
        run(trials_of(network, [best], seeds))
