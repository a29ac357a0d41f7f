"""Measure what matters in pre-training on several sources, judged on frozen features of other tasks.

``python -m benchmarks.factors --data sar_acd=FOLDER data.sources.dsn.root=DIR …`` trains a network by the recipe
``<network>_sar``, shortened, with every start, objective and mapping; then, from the best, without each source, and
with other ways to treat classes of different sizes; then the best with more seeds. A finished run is not run again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.experiments.command import command, new_app
from benchmarks.experiments.initializations import NONE, Initialization
from benchmarks.experiments.provenance import Provenance, RecipeInputs, recipe_settings
from benchmarks.experiments.runner import Experiment, finished, run_trials
from benchmarks.experiments.trial import Trial
from benchmarks.transfer.study import Task, parse_task
from benchmarks.transfer.study import run as measure
from sarhub_models import engine
from sarhub_models.engine.provenance import source_digest
from sarhub_models.engine.run import train
from sarhub_models.engine.splits import open_training
from sarhub_models.errors import StoppedError
from training.recipes import load_recipe

from .report import SCORES, mean_score, write_report

OBJECTIVES = ("supervised", "self-supervised", "both")
MAPPINGS = {
    "log": ("preprocess.operator=log_amplitude", "preprocess.draa=false"),
    "PTLS": ("preprocess.operator=ptls", "preprocess.draa=false"),
    "DRAA-PTLS": ("preprocess.operator=ptls", "preprocess.draa=true"),
    "DRAA of three": (
        *("preprocess.operator=ptls", "preprocess.draa=true"),
        "augment.operators=[log_amplitude,reinhard_devlin,ptls]",
    ),
}
CLASSES = {
    "drawn equally": {"balanced": True},
    "as they come": {"balanced": False},
    "CBL": {"balanced": False, "loss": {"name": "cbl"}},
    "mini-CBL": {"balanced": False, "loss": {"name": "mini_cbl"}},
}
"""Values of each source that has a head, by the way in which classes of different sizes are treated."""
ALL, USUAL = "all", "drawn equally"
IMAGENET = Initialization("ImageNet", "imagenet")
app = new_app()


def trial(network: str, start: Initialization, *factors: str, seed: int = 0) -> Trial:
    """Return the trial of a start and of an objective, a mapping, sources and classes."""
    return Trial("pre-training", "sar", network, start, seed=seed, variant=" | ".join(factors))


@dataclass(frozen=True)
class Factors(Experiment):
    """Trials that pre-train and measure the features on other tasks.

    Attributes:
        out: folder of the trials and the report.
        tasks: on which features are measured.
        assignments: ``section.key=value`` for all recipes.
    """

    tasks: tuple[Task, ...]
    assignments: tuple[str, ...]
    inputs: RecipeInputs = field(default_factory=RecipeInputs, compare=False)
    _known: dict[str, str] = field(default_factory=dict, compare=False)

    def recipe(self, trial: Trial) -> engine.Recipe:
        """Return what is computed in a trial."""
        objective, mapping, left_out, classes = trial.variant.split(" | ")
        init = f"model.init={trial.initialization.init}"
        given = [init, f"runtime.seed={trial.seed}", *MAPPINGS[mapping], *self.assignments]
        values = load_recipe(f"{trial.network}_sar", given).model_dump(mode="json")
        sources: dict[str, Any] = values["data"]["sources"]
        sources.pop(left_out, None)
        if objective == "supervised":
            values["contrast"]["weight"] = 0.0
            sources = {name: source for name, source in sources.items() if source["loss"] is not None}
        for source in sources.values():
            if objective == "self-supervised":
                source["loss"] = None
            elif source["loss"] is not None and source["train"] != "all" and source["name"] != "targets":
                source.update(CLASSES[classes])
        values["data"]["sources"] = sources
        return engine.from_dict(values)

    def provenance(self, trial: Trial) -> Provenance:
        """Return what a trial is computed from."""
        recipe = self.recipe(trial)
        found = {name: self._digest(recipe, name) for name in recipe.data.sources}
        for task in self.tasks:
            read = self.inputs.read(task.recipe).data
            found |= {f"{task.name} {split}": digest for split, digest in read.items() if digest is not None}
        return Provenance(recipe_settings(recipe), found, self.inputs.weights(recipe.model.init))

    def _digest(self, recipe: engine.Recipe, name: str) -> str:
        """Return the digest of a source, which is read once."""
        if name not in self._known:
            one = recipe.model_dump(mode="json")
            one["data"]["sources"] = {name: one["data"]["sources"][name]}
            one["contrast"]["weight"] = 1.0
            self._known[name] = source_digest(open_training(engine.from_dict(one).data, 0))
        return self._known[name]

    def execute(self, trial: Trial, folder: Path) -> dict[str, float]:
        """Pre-train, measure, and return ``<task> knn``, ``probe`` and ``few`` of each task.

        Raises:
            StoppedError: the process was asked to stop.
            SarHubError: as :func:`~sarhub_models.engine.run.train` says.
        """
        if not train(self.recipe(trial), folder):
            raise StoppedError("stopped; the same command goes on")
        rows = measure([str(folder)], self.tasks, folder / "transfer.csv", twins=False)
        return {f"{row['task']} {score}": float(row[score]) for row in rows for score in SCORES}


@command(app)
def main(
    data: Annotated[
        list[str],
        typer.Option(metavar="NAME=FOLDER[,LISTS]", help="A task to judge by, as of benchmarks.transfer; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of the report.")] = Path("outputs/factors"),
    network: Annotated[str, typer.Option(help="One with a recipe <network>_sar.")] = "efficientnet_lite0",
    splits: Annotated[str, typer.Option(help="Where to learn and where to test; never the test split.")] = "train,val",
    epochs: Annotated[int, typer.Option(min=1, help="Of each run.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="Of the two best and of the ways to treat classes.")] = 3,
    jobs: Annotated[int, typer.Option(min=0, help="Runs at a time; 0: one, in this process.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each.")] = 1,
    assignments: Annotated[list[str] | None, typer.Argument(help="section.key=value, over all recipes.")] = None,
) -> None:
    """Run the study and write its table (factors.csv, factors.md)."""
    tasks = tuple(parse_task(text, splits) for text in data)
    given = (f"optim.epochs={epochs}", f"runtime.threads={threads}", *(assignments or ()))
    experiment = Factors(out, tasks, given)
    trials: list[Trial] = []

    def run(more: Sequence[Trial]) -> dict[Trial, dict[str, float]]:
        new = [one for one in dict.fromkeys(more) if one not in trials]
        run_trials(experiment, new, jobs=jobs, threads=threads)
        trials.extend(new)
        found = finished(experiment, trials)
        write_report(found, out)
        return found

    grid = itertools.product((NONE, IMAGENET), OBJECTIVES, MAPPINGS)
    found = run([trial(network, start, objective, mapping, ALL, USUAL) for start, objective, mapping in grid])
    ranked = sorted(found, key=lambda one: -mean_score(found[one]))
    best, second = ranked[:2]
    start = best.initialization
    objective, mapping = best.variant.split(" | ")[:2]
    sources = experiment.recipe(best).data.sources
    run([trial(network, start, objective, mapping, name, USUAL) for name in sources])
    finalists = [trial(network, start, "both", mapping, ALL, classes) for classes in CLASSES]
    pairs = itertools.product(range(seeds), [*finalists, best, second])
    run([trial(network, one.initialization, *one.variant.split(" | "), seed=seed) for seed, one in pairs])
    typer.echo(write_report(finished(experiment, trials), out))
