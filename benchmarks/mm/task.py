"""Detection and segmentation as experiments: trials whose networks the MM tools train and test."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from safetensors.torch import save

from benchmarks.experiments.command import known
from benchmarks.experiments.initializations import Initialization, parse_initialization
from benchmarks.experiments.provenance import Provenance
from benchmarks.experiments.results import merged, read_results, table, write_report
from benchmarks.experiments.runner import Experiment, finished, run_trials
from benchmarks.experiments.trial import Trial, check_folders
from sarhub_models import model_info
from sarhub_models.datasets.catalog import names
from sarhub_models.engine.initialization import starting_weights
from sarhub_models.errors import OptionError

from .run import OWN, Package, prepared_steps, read_config, run, set_weights

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["MMExperiment", "Task", "parse_trials", "run_table", "weights_of"]

_INIT = "init.safetensors"
# What the initialization and the seed of a trial decide, so that trials of one table differ in it.
_OF_TRIALS = (
    "randomness.seed",
    *(f"model.backbone.{key}" for key in ("pretrained", "frozen_stages", "norm_eval", "norm_requires_grad")),
)


@dataclass(frozen=True)
class Task:
    """Parts in which detection and segmentation differ.

    Attributes:
        name: of the task, in the table.
        package: whose tools train and test.
        configs: folder of the configurations: ``<dataset>.py``, and ``<name>.py`` for others of the catalog.
        adapt: fits the parts behind the backbone of a configuration to a named model.
        scores: turns the scores of the test into ours, by name and in [0, 1].
        place: tells a configuration where the data set's folder is.
        test_arguments: further arguments of the test for a run's folder.
        draw: draws predictions of runs, by label: folders of the runs, data, configuration, file of the figure.
        part_scores: scores of a part of the test images, by name: folder of the run, data, configuration.
    """

    name: str
    package: Package
    configs: Path
    adapt: Callable[[Config, str], None]
    scores: Callable[[Mapping[str, float]], dict[str, float]]
    place: Callable[[Config, Path], None]
    test_arguments: Callable[[Path], tuple[str, ...]]
    draw: Callable[[Mapping[str, Path], Path, Config, Path], None]
    part_scores: Callable[[Path, Path, Config], dict[str, float]] = lambda *_: {}

    def load_config(self, model: str, dataset: str) -> Config:
        """Return the configuration of a data set for the network and the preprocessing of a named model.

        Raises:
            UnknownNameError: there is no such model or data set.
            MissingDependencyError: MMEngine is not installed.
        """
        own = [path.stem for path in self.configs.glob("*.py") if path.stem != self.name]
        known([*own, *names(self.name)], [dataset], "data set")
        config = read_config(self.configs / f"{dataset if dataset in own else self.name}.py")
        config.model.backbone.name = model
        for step in prepared_steps(config._cfg_dict):  # whatever the initialization: all see the same images
            step["name"] = model
        self.adapt(config, model)
        return config


@dataclass(frozen=True)
class MMExperiment(Experiment):
    """Trials of a task on one data set; their network is the name of a model.

    Attributes:
        out: folder of the trials and the table.
        task: what to do.
        data: folder of the prepared data set.
        options: changes of the configuration, by dotted key.
        threads: of the tools' processes.
    """

    task: Task
    data: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    digests: dict[Initialization | None, str | None] = field(default_factory=dict, compare=False)

    def config(self, trial: Trial) -> Config:
        """Return the complete configuration of a trial."""
        config = self.task.load_config(trial.network, trial.dataset)
        set_weights(config, trial.initialization.init, self.out / trial.folder / _INIT)
        self.task.place(config, self.data)
        config.randomness = {"seed": trial.seed}
        config.merge_from_dict(dict(self.options))
        return config

    def provenance(self, trial: Trial) -> Provenance:
        """Return what a trial is computed from."""
        if None not in self.digests:
            self.digests[None] = _data_digest(self.data)
        if trial.initialization not in self.digests:
            self.digests[trial.initialization] = _weights_digest(trial)
        settings = settings_of(self.config(trial))
        return Provenance(settings, {"folder": self.digests[None]}, self.digests[trial.initialization])

    def execute(self, trial: Trial, folder: Path) -> dict[str, float]:
        """Train and test; draw some predictions."""
        if trial.initialization.init not in (OWN, "none"):
            (folder / _INIT).write_bytes(weights_of(trial))
        config = self.config(trial)
        found = run(self.task.package, config, folder, self.threads, self.task.test_arguments(folder))
        self.task.draw({"predicted": folder}, self.data, config, folder / "predictions.png")
        return {**self.task.scores(found), **self.task.part_scores(folder, self.data, config)}

    def shown(self, trial: Trial) -> Trial:
        """Return a trial as tables call it: runs on images prepared in different ways are not compared."""
        network = model_info(trial.network).network
        if any(prepared_steps(self.task.load_config(trial.network, trial.dataset)._cfg_dict)):
            network = f"{network} ({trial.network.removeprefix(f'{network}_')})"
        return replace(trial, network=network)


def settings_of(config: Config) -> dict[str, Any]:
    """Return the values of a configuration, without the place of the starting weights."""
    settings: dict[str, Any] = config._cfg_dict.to_dict()
    if isinstance(settings["model"]["backbone"].get("pretrained"), str):
        settings["model"]["backbone"]["pretrained"] = _INIT
    return settings


def weights_of(trial: Trial) -> bytes:
    """Return the starting weights of a trial as a safetensors file.

    Raises:
        SarHubError: they cannot be had, or do not fit.
    """
    tensors = starting_weights(model_info(trial.network).network, trial.initialization.init)
    return save({key: tensor.contiguous() for key, tensor in tensors.items()})


def _weights_digest(trial: Trial) -> str | None:
    if trial.initialization.init == OWN:
        checksum = model_info(trial.network).checksum
        # without one, the cache keeps the file that came first
        return None if checksum is None else f"{checksum.algorithm} {checksum.value}"
    return None if trial.initialization.init == "none" else f"sha256 {hashlib.sha256(weights_of(trial)).hexdigest()}"


def _data_digest(data: Path) -> str:
    """Return the digest of all texts (annotations, settings, lists of classes) and names and sizes of other files."""
    found = hashlib.sha256()
    for file in sorted(path for path in data.rglob("*") if path.is_file()):
        content = file.read_bytes() if file.suffix in (".json", ".txt") else str(file.stat().st_size).encode()
        found.update(f"{file.relative_to(data).as_posix()}\0{len(content)}\0".encode() + content)
    return f"sha256 {found.hexdigest()}"


def parse_trials(task: Task, model: str, dataset: str, inits: Sequence[str], seeds: int) -> list[Trial]:
    """Return the trials of a command line, all seeds of an initialization together.

    Args:
        task: detection or segmentation.
        model: a name of :func:`~sarhub_models.list_models`.
        dataset: name of a configuration.
        inits: ``own``, or as :func:`~benchmarks.experiments.initializations.parse_initialization` takes them.
        seeds: runs of each.

    Raises:
        UnknownNameError: there is no such model, or an initialization is unknown.
        DataError: a folder holds no finished run.
        OptionError: an initialization is of another network, or a part of it is empty.
    """
    network = model_info(model).network
    own = Initialization(model, OWN, network)
    found = [own if text == OWN else parse_initialization(text) for text in inits]
    if other := [one for one in found if one.network not in (None, network)]:
        raise OptionError(
            f"--init {other[0].init}: these are weights of {other[0].network}, but {model} is a {network}"
        )
    return [Trial(task.name, dataset, model, one, seed=seed) for one, seed in itertools.product(found, range(seeds))]


def run_table(experiment: MMExperiment, trials: Sequence[Trial]) -> str:
    """Run the trials that are not finished, one after the other, and add each to the table when it is done.

    Returns:
        The table. ``results.csv`` and ``results.md`` also keep what earlier calls left there.

    Raises:
        OptionError: earlier trials of these networks are of other settings or data.
        SarHubError: as :func:`~benchmarks.experiments.runner.run_trials` says, or ``results.csv`` is no table.
    """

    def report(done: Sequence[Trial]) -> str:
        file = experiment.out / "results.csv"
        scores = {experiment.shown(trial): found for trial, found in finished(experiment, done).items()}
        with FileLock(experiment.out / ".lock"):
            rows = merged(read_results(file), table(scores)) if file.is_file() else table(scores)
            return write_report(rows, experiment.out, "metric")

    check_folders(trials)
    own = {experiment.out / trial.folder for trial in trials}  # which are checked when it is their turn
    for trial in {(one.dataset, one.network): one for one in trials}.values():
        others = sorted({*(experiment.out / trial.folder).parent.glob("*")} - own)
        experiment.provenance(trial).check_beside(others, _OF_TRIALS)
    run_trials(experiment, trials, done=lambda trial: report([trial]))
    return report(trials)
