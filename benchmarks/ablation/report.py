"""The table and the figure of the ablation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.experiments.results import markdown_table, plot_spread, spread
from benchmarks.experiments.trial import Trial
from sarhub_models.engine.recipe import Recipe
from sarhub_models.io.figures import save_figure
from sarhub_models.io.files import write_text

__all__ = ["best_pair", "effects", "markdown", "paired", "read_rows", "rows_of", "write_report"]

SCORES = ("overall_accuracy", "class_average", "macro_f1")
_RUN = ["network", "loss", "mapping", "seed"]


def rows_of(scores: Mapping[Trial, Mapping[str, float]], recipe: Callable[[Trial], Recipe]) -> pd.DataFrame:
    """Return one row a run: network, loss, mapping, seed, epochs, size, and scores of the validation and test split."""
    rows = []
    for trial, found in scores.items():
        made, columns = recipe(trial), [f"{split}_{name}" for split in ("val", "test") for name in SCORES]
        values = {name: found[name.removeprefix("test_")] for name in columns}
        shown = dict(zip(_RUN, (trial.network, *trial.variant.split(" | "), trial.seed), strict=True))
        rows.append({**shown, "epochs": made.optim.epochs, "size": made.preprocess.size, **values})
    return pd.DataFrame(rows)


def read_rows(file: Path) -> pd.DataFrame:
    """Return the rows of an ``ablation.csv``, to the digits that it holds."""
    return pd.read_csv(file)


def best_pair(rows: pd.DataFrame) -> tuple[str, str]:
    """Return the loss and mapping with the highest mean overall accuracy on the validation split."""
    loss, mapping = rows.groupby(["loss", "mapping"], sort=False)["val_overall_accuracy"].mean().idxmax()
    return loss, mapping


def write_report(rows: pd.DataFrame, out: Path) -> None:
    """Write every run (``ablation.csv``), mean ± deviation (``ablation.md``), the figure (``ablation.png``) and what
    each choice changes (``ablation_effects.md``); the last two of the first network, which has the whole grid.
    """
    write_text(out / "ablation.csv", rows.to_csv(index=False, float_format="%.4f"))
    write_text(out / "ablation.md", markdown(rows))
    small = rows[rows["network"] == rows["network"].iloc[0]]
    write_text(out / "ablation_effects.md", effects(small))
    plot(small, out / "ablation.png")


def markdown(rows: pd.DataFrame) -> str:
    """Return the table of mean ± standard deviation over the seeds; the best of a column and network is bold."""
    columns = ["val_overall_accuracy", *(f"test_{name}" for name in SCORES)]
    lines = []
    first = rows["network"].iloc[0]
    for network, part in sorted(rows.groupby("network"), key=lambda item: (item[0] != first, item[0])):
        groups = part.groupby(["mapping", "loss"], sort=False)
        means = groups[columns].mean()
        for (mapping, loss), found in groups:
            shown = [spread(found[column]) for column in columns]
            best = [len(means) > 1 and means.loc[(mapping, loss), column] == means[column].max() for column in columns]
            runs = f"{network}, {found['size'].iloc[0]} px, {found['epochs'].iloc[0]} epochs"
            cells = [f"**{text}**" if is_best else text for text, is_best in zip(shown, best, strict=True)]
            lines.append((runs, mapping, loss, *cells))
    heads = ("network", "mapping", "loss", "val. overall accuracy", "overall accuracy", "class average", "macro F1")
    return markdown_table(heads, lines) + "\n"


def effects(rows: pd.DataFrame) -> str:
    """Return a table of what a choice changes on the test split, paired over runs alike in all else.

    Every mapping against the logarithm, DRAA against the fixed parameter, and every loss against cross-entropy: mean
    difference ± its standard error.
    """
    mappings, losses = list(rows["mapping"].unique()), list(rows["loss"].unique())
    choices = [("mapping", mappings[0], other) for other in mappings[1:]]
    choices += [("mapping", name, f"{name}, DRAA") for name in mappings if f"{name}, DRAA" in mappings]
    choices += [("loss", losses[0], other) for other in losses[1:]]
    lines = []
    for field, base, other in choices:
        gains = [paired(rows, field, base, other, f"test_{score}") for score in ("overall_accuracy", "macro_f1")]
        shown = [f"{gain.mean():+.3f} ± {gain.sem() if len(gain) > 1 else 0:.3f}" for gain in gains]
        lines.append((other, base, len(gains[0]), *shown))
    return markdown_table(("", "against", "pairs", "overall accuracy", "macro F1"), lines) + "\n"


def paired(rows: pd.DataFrame, field: str, base: str, other: str, column: str) -> pd.Series:
    """Return a score with ``other`` minus that with ``base``, for each pair of runs that differ in it only."""
    rest = [name for name in _RUN if name != field]
    one, two = (rows[rows[field] == value].set_index(rest)[column] for value in (base, other))
    return (two - one).dropna()


def plot(rows: pd.DataFrame, file: Path) -> None:
    """Draw the overall accuracy on the test split: every run small, mean and deviation large, a color per loss."""
    mappings, losses = list(rows["mapping"].unique()), list(rows["loss"].unique())
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for index, (loss, part) in enumerate(rows.groupby("loss", sort=False)):
        values = {
            mapping: list(found) for mapping, found in part.groupby("mapping", sort=False)["test_overall_accuracy"]
        }
        shift = 0.16 * (index - (len(losses) - 1) / 2)
        plot_spread(axes, index, [mappings.index(name) + shift for name in values], [*values.values()], loss, line="")
    axes.set_xticks(range(len(mappings)), mappings)
    network, epochs = rows[["network", "epochs"]].iloc[0]
    axes.set(ylabel="overall accuracy, test split", title=f"{network}, {epochs} epochs")
    axes.legend()
    save_figure(figure, file, dpi=150)
