"""From none or from SAR pre-trained weights: what the commands on composed scenes and mosaics have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from benchmarks.explanation.runs import NONE, SAR, grid, starting_point
from benchmarks.mm.run import history, load_config
from benchmarks.mm.trials import Cell, Task, run_cells
from sarhub_models import list_models, model_info
from sarhub_models.errors import OptionError
from sarhub_models.explain.figures import save_figure
from sarhub_models.io.files import write_text

from .patches import RECORD, SIMULATED

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["Content", "content_cells", "parse_pretrained", "run_content"]

_BUNDLED = {"mobilenetv3": "mobilenetv3_dsn"}
_LINES = {NONE: "--", SAR: "-"}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@dataclass(frozen=True)
class Content:
    """What is trained on.

    Attributes:
        task: detection or segmentation.
        dataset: ``"scenes"`` or ``"mosaics"``, as configurations and the report are called.
        metric: what decides on the epoch, as the MM package calls it.
        label: of that metric.
        scale: the largest value of the metric.
        draw: draws what runs predict, by label: folders of the runs, data, configuration, picture.
    """

    task: Task
    dataset: str
    metric: str
    label: str
    scale: float
    draw: Callable[[Mapping[str, Path], Path, Config, Path], None]


def parse_pretrained(texts: Sequence[str]) -> dict[str, str]:
    """Return where the SAR pre-trained weights of each network are, those of MobileNetV3 by default the bundled ones.

    Raises:
        OptionError: a text is not ``NETWORK=PLACE``.
    """
    places = dict(_BUNDLED)
    for text in texts:
        network, equals, place = text.partition("=")
        if not equals or not network or not place:
            raise OptionError(f"expected --pretrained NETWORK=RUN_DIR, NETWORK=NAME or NETWORK=FILE, got {text!r}")
        places[network] = place
    return places


def content_cells(dataset: str, networks: Sequence[str], pretrained: Mapping[str, str], seeds: int) -> list[Cell]:
    """Return the cells, seed by seed: every network from none and from its SAR pre-trained weights.

    Raises:
        OptionError: a network is unknown, or it is not said where its weights are.
        DataError: the folder that was given holds no finished run.
    """
    names = {network: _model_of(network) for network in networks}
    return [
        Cell(names[cell.network], dataset, starting_point(cell, pretrained), cell.seed, cell.start)
        for cell in grid(networks, seeds)
    ]


def _model_of(network: str) -> str:
    """Return a model with this network; which one is of no meaning, as the images are not prepared for its weights."""
    found = [name for name in list_models() if model_info(name).network == network]
    if not found:
        raise OptionError(f"no model has a network called {network!r}; 'sarhub list' shows them")
    return found[0]


def run_content(
    content: Content,
    cells: Sequence[Cell],
    data: Path,
    out: Path,
    epochs: int | None = None,
    threads: int | None = None,
) -> str:
    """Train and test the cells that are not finished; write table, curves and pictures.

    Leaves ``<dataset>.md`` (the table, and sentences on the data and on the epochs), ``<dataset>.png`` (the metric on
    the validation split by epoch), ``results.csv`` and, in ``pictures``, what the runs of seed 0 predict.

    Args:
        content: what is trained on.
        cells: of :func:`content_cells`.
        data: folder of the composed data set.
        out: for all output.
        epochs: at most; ``None`` leaves it to the configuration.
        threads: of the tools' processes.

    Returns:
        The text of the report.

    Raises:
        SarHubError: as :func:`~benchmarks.mm.trials.run_cells` says.
    """
    options = {} if epochs is None else {"train_cfg.max_epochs": epochs, "param_scheduler.1.T_max": epochs}
    table = run_cells(content.task, cells, data, out, options, threads)
    curves = {
        cell: {epoch: value / content.scale for epoch, value in history(out / cell.folder, content.metric).items()}
        for cell in cells
    }
    text = f"{table}\n{_composition(content, data)}\n\n{_epochs(content, curves)}\n"
    write_text(out / f"{content.dataset}.md", text)
    save_figure(curve_figure(curves, content.label), out / f"{content.dataset}.png")
    for model in dict.fromkeys(cell.model for cell in cells):
        folders = {cell.label: out / cell.folder for cell in cells if cell.model == model and cell.seed == 0}
        config = load_config(next(iter(folders.values())) / "config.py")
        content.draw(folders, data, config, out / "pictures" / f"{model_info(model).network}.png")
    return text


def _composition(content: Content, data: Path) -> str:
    record: dict[str, Any] = json.loads((data / RECORD).read_text(encoding="utf-8"))
    kind = "simulated" if record["patches"] == SIMULATED else "real"
    return (
        f"{content.dataset.capitalize()} composed of {kind} patches, {record['size']} by {record['size']} pixels: "
        f"{record['train']} to train on, {record['val']} to choose the epoch on, {record['test']} to report on; "
        f"seed {record['seed']}."
    )


def _epochs(content: Content, curves: Mapping[Cell, Mapping[int, float]]) -> str:
    parts = []
    for cell, curve in curves.items():
        name = f"{model_info(cell.model).network} from {cell.label}, seed {cell.seed}"
        best = max(curve, key=lambda epoch: curve[epoch], default=None)  # MMDetection gives none without a detection
        found = "no detection" if best is None else f"{curve[best]:.3f} at epoch {best} of {max(curve)}"
        parts.append(f"{name}: {found}")
    return f"Best {content.label} on the validation split: {'; '.join(parts)}."


def curve_figure(curves: Mapping[Cell, Mapping[int, float]], label: str) -> Figure:
    """Draw a metric in [0, 1] by epoch: a colour a network, from none dashed, a line a seed.

    Args:
        curves: value by epoch of every run.
        label: of the metric.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(cell.model for cell in curves))
    for cell, curve in curves.items():
        name = f"{model_info(cell.model).network} from {cell.label}"
        axes.plot(
            list(curve),
            list(curve.values()),
            _LINES[cell.label],
            marker=".",
            color=_COLOURS[models.index(cell.model) % len(_COLOURS)],
            label=name if cell.seed == 0 else None,
        )
    axes.set(xlabel="epoch", ylabel=f"{label} on the validation split", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
