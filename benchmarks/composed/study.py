"""The study of networks that start from none and from SAR pre-trained weights on composed scenes and mosaics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.experiments.command import known
from benchmarks.experiments.initializations import none_and_sar
from benchmarks.experiments.results import PALETTE
from benchmarks.experiments.trial import Trial
from benchmarks.mm.prepared import RECORD
from benchmarks.mm.run import CONFIG, history, read_config
from benchmarks.mm.task import MMExperiment, Task, run_table
from sarhub_models import list_models, model_info
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import write_text
from sarhub_models.networks import names as network_names

from .patches import SIMULATED

__all__ = ["Composed", "run_study"]

_LINES = {"none": "--", "SAR": "-"}


@dataclass(frozen=True)
class Composed:
    """A composed data set and its task.

    Attributes:
        task: detection or segmentation.
        dataset: ``"scenes"`` or ``"mosaics"``, the name of the configuration and the report.
        metric: what decides on the epoch, as the MM package calls it.
        label: of that metric.
        scale: the largest value of the metric.
    """

    task: Task
    dataset: str
    metric: str
    label: str
    scale: float

    def trials(self, networks: Sequence[str] | None, pretrained: Sequence[str] | None, seeds: int) -> list[Trial]:
        """Return the trials, seed by seed: every network from none and from its SAR pre-trained weights.

        Raises:
            SarHubError: a network is unknown, or as :func:`.none_and_sar` says.
        """
        chosen = known(network_names(), networks or ["mobilenetv3"], "network")
        starts = none_and_sar(chosen, pretrained or [])
        return [
            # which model of a network is of no meaning, as the images are not prepared for its weights
            Trial(self.task.name, self.dataset, list_models(f"{network}_*")[0], start, seed=seed)
            for seed in range(seeds)
            for network in chosen
            for start in starts[network]
        ]


def run_study(
    study: Composed,
    trials: Sequence[Trial],
    data: Path,
    out: Path,
    epochs: int | None = None,
    threads: int | None = None,
) -> str:
    """Train and test the trials that are not finished; write table, curves and figures.

    Leaves ``<dataset>.md`` (the table, and sentences on the data and on the epochs), ``<dataset>.png`` (the metric on
    the validation split by epoch), ``results.csv`` and, in ``figures``, what the runs of seed 0 predict.

    Args:
        study: what is trained on.
        trials: of :meth:`Composed.trials`.
        data: folder of the composed data set.
        out: for all output.
        epochs: at most; ``None`` leaves it to the configuration.
        threads: of the tools' processes.

    Returns:
        The text of the report.

    Raises:
        SarHubError: as :func:`~benchmarks.mm.task.run_table` says.
    """
    options = {} if epochs is None else {"train_cfg.max_epochs": epochs, "param_scheduler.1.T_max": epochs}
    table = run_table(MMExperiment(out, study.task, data, options, threads), trials)
    curves = {
        trial: {epoch: value / study.scale for epoch, value in history(out / trial.folder, study.metric).items()}
        for trial in trials
    }
    text = f"{table}\n{_composition(study, data)}\n\n{_epochs(study, curves)}\n"
    write_text(out / f"{study.dataset}.md", text)
    save_figure(curve_figure(curves, study.label), out / f"{study.dataset}.png")
    for model in dict.fromkeys(trial.network for trial in trials):
        folders = {trial.label: out / trial.folder for trial in trials if trial.network == model and trial.seed == 0}
        config = read_config(next(iter(folders.values())) / CONFIG)
        study.task.draw(folders, data, config, out / "figures" / f"{model_info(model).network}.png")
    return text


def _composition(study: Composed, data: Path) -> str:
    record: dict[str, Any] = json.loads((data / RECORD).read_text(encoding="utf-8"))
    kind = "simulated" if record["patches"] == SIMULATED else "real"
    return (
        f"{study.dataset.capitalize()} composed of {kind} patches, {record['size']} by {record['size']} pixels: "
        f"{record['train']} to train on, {record['val']} to choose the epoch on, {record['test']} to report on; "
        f"seed {record['seed']}."
    )


def _epochs(study: Composed, curves: Mapping[Trial, Mapping[int, float]]) -> str:
    parts = []
    for trial, curve in curves.items():
        best = max(curve, key=lambda epoch: curve[epoch], default=None)  # MMDetection gives none without a detection
        found = "no detection" if best is None else f"{curve[best]:.3f} at epoch {best} of {max(curve)}"
        parts.append(f"{_name(trial)}, seed {trial.seed}: {found}")
    return f"Best {study.label} on the validation split: {'; '.join(parts)}."


def _name(trial: Trial) -> str:
    return f"{model_info(trial.network).network} from {trial.label}"


def curve_figure(curves: Mapping[Trial, Mapping[int, float]], label: str) -> Figure:
    """Draw a metric in [0, 1] by epoch: a color a network, from none dashed, a line a seed.

    Args:
        curves: value by epoch of every run.
        label: of the metric.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(trial.network for trial in curves))
    for trial, curve in curves.items():
        color, _ = PALETTE[models.index(trial.network) % len(PALETTE)]
        name = _name(trial) if trial.seed == 0 else None
        axes.plot(list(curve), list(curve.values()), _LINES[trial.label], marker=".", color=color, label=name)
    axes.set(xlabel="epoch", ylabel=f"{label} on the validation split", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
