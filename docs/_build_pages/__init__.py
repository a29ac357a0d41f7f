"""Pages and pictures made from the package itself when the site is built, so that they cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import typer
from typer.testing import CliRunner

import sarhub_models as sarhub
from benchmarks.ablation import report
from sarhub_models import cli
from sarhub_models.datasets.simulated import simulate_chips
from sarhub_models.transforms import RADIOMETRIES
from sarhub_models.zoo import text
from sarhub_models.zoo.entries import Input, Preprocessing

from . import inputs, zoo
from .composed import content_figures, content_results
from .explanations import explain_figures, study_results

RESULTS = Path(__file__).parents[1] / "results"  # tables that the experiments' commands wrote


def everything(folder: Path) -> None:
    """Write all generated files into ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "models.md").write_text(models_table(), encoding="utf-8")
    (folder / "preprocessing.md").write_text(preprocessing_table(), encoding="utf-8")
    (folder / "radiometry.md").write_text(radiometry_table(), encoding="utf-8")
    (folder / "bands.md").write_text(bands_table(), encoding="utf-8")
    (folder / "inputs.md").write_text(inputs.page(), encoding="utf-8")
    (folder / "bundled.md").write_text(bundled_scores("mobilenetv3_dsn"), encoding="utf-8")
    (folder / "zoo.html").write_text(zoo.html(), encoding="utf-8")
    (folder / "commands.md").write_text(command_help(), encoding="utf-8")
    operators_figure(folder / "operators.png")
    report.write_report(report.read_rows(RESULTS / "ablation.csv"), folder)

    explain_figures(folder)
    study_results(folder)
    content_figures(folder)
    content_results(folder)


def models_table() -> str:
    """One row a model."""
    header = ["name", "network", "pre-trained on", "bands", "radiometry", "classes", "parameters", "weights"]
    rows = [f"| {' | '.join(header)} |", "| --- " * len(header) + "|"]
    for name in sarhub.list_models():
        info = sarhub.model_info(name)
        where = ", ".join(dict.fromkeys(source["type"].replace("_", " ") for source in info.sources))
        params = f"{info.params / 1e6:.1f} M" if info.params else "–"
        classes = "in the file" if info.num_classes is None else info.num_classes or "none"
        takes = f"{', '.join(info.input.bands)} | {info.input.radiometry or 'not stated'}"
        rows.append(f"| `{name}` | {info.network} | {info.dataset.title} | {takes} | {classes} | {params} | {where} |")
    return "\n".join(rows) + "\n"


def preprocessing_table() -> str:
    """One row for each distinct preprocessing with an operator."""
    rows = [
        "| weights | operator | parameter in training | at evaluation | mean | std | resize | full scale |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[Preprocessing, list[str]] = {}
    for name in sarhub.list_models():
        p = sarhub.model_info(name).preprocessing
        if p.operator is not None:
            groups.setdefault(p, []).append(name)
    for p, names in groups.items():
        label = inputs.names_in_short(names)
        span = f"{p.low:g} to {p.high:g}" if p.low != p.high else f"{p.low:g}"
        rows.append(
            f"| {label} | {p.operator} | {span} | {p.eval_value:g} | {_each(p.mean)} | {_each(p.std)} "
            f"| {p.size or 'no'} | {'not published' if p.full_scale is None else f'{p.full_scale:g}'} |"
        )
    return "\n".join(rows) + "\n"


def _each(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)


def radiometry_table() -> str:
    """One row for each radiometry."""
    rows = [f'| `"{name}"` | {row.title} | {row.formula} |' for name, row in RADIOMETRIES.items()]
    return "\n".join(["| `radiometry` | pixels hold | of the amplitude a |", "| --- | --- | --- |", *rows]) + "\n"


def bands_table() -> str:
    """One row for each distinct preprocessing of several bands."""
    rows = ["| weights | bands | radiometry | steps |", "| --- | --- | --- | --- |"]
    groups: dict[tuple[Preprocessing, Input], list[str]] = {}
    for name in sarhub.list_models():
        info = sarhub.model_info(name)
        if info.preprocessing.operator is None:
            groups.setdefault((info.preprocessing, info.input), []).append(name)
    for (_, given), names in groups.items():
        labels = inputs.names_in_short(names)
        steps = "; ".join(text.preprocessing_steps(sarhub.model_info(names[0])))
        rows.append(f"| {labels} | {', '.join(given.bands)} | {given.radiometry or 'not stated'} | {steps} |")
    return "\n".join(rows) + "\n"


def bundled_scores(name: str) -> str:
    """Return what the list of weights says of how a model was made and what it reached."""
    training = sarhub.model_info(name).training
    assert training is not None
    rows = ["| split | overall accuracy | class average | macro F1 |", "| --- | --- | --- | --- |"]
    for split, label in (("val", "validation"), ("test", "test")):
        if (scores := training.get(split)) is None:  # trained on it
            continue
        numbers = (f"{scores[key]:.4f}" for key in ("overall_accuracy", "class_average", "macro_f1"))
        rows.append(f"| {label} | {' | '.join(numbers)} |")
    return f"```console\n$ {training['command']}\n```\n\n" + "\n".join(rows) + "\n"


def command_help() -> str:
    """Return what ``--help`` prints, command by command."""
    runner = CliRunner()
    parts = []
    for arguments in _commands(typer.main.get_command(cli.app)):
        text = runner.invoke(cli.app, [*arguments, "--help"], prog_name="sarhub", terminal_width=100).output
        parts.append(f"## sarhub {' '.join(arguments)}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def _commands(command: Any, arguments: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield arguments
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*arguments, name))


def operators_figure(path: Path) -> None:
    """Simulated chips as they are, and behind each operator at three parameters."""
    chips, labels, names = simulate_chips(1, size=128, seed=3)
    columns = [
        ("amplitude", lambda x: x),
        *((f"PTLS, p = {p:g}", lambda x, p=p: sarhub.ptls(x, p)) for p in (0.5, 1.5, 3.0)),
        *((f"Reinhard–Devlin, b = {b:g}", lambda x, b=b: sarhub.reinhard_devlin(x, b)) for b in (3.5, 4.5)),
        ("log, 16 bits", lambda x: sarhub.log_amplitude(x, 16)),
    ]
    figure, axes = plt.subplots(len(names), len(columns), figsize=(2 * len(columns), 2.1 * len(names)), squeeze=False)
    for row, label in enumerate(np.unique(labels)):
        chip = chips[labels == label][0]
        for column, (title, operator) in enumerate(columns):
            axis = axes[row, column]
            axis.imshow(operator(chip), cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(title, fontsize=9)
            if column == 0:
                axis.set_ylabel(names[label], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
