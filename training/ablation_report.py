"""The experiment's rows become a table and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """The scores of one run."""

    network: str
    loss: str
    mapping: str
    seed: int
    epochs: int
    val: dict[str, float]
    test: dict[str, float]


def best_pair(rows: Sequence[Row], network: str) -> tuple[str, str]:
    """Return the loss and mapping with the highest mean overall accuracy on the validation split."""
    pairs = {(row.loss, row.mapping) for row in rows if row.network == network}

    def mean(pair: tuple[str, str]) -> float:
        values = [r.val["overall_accuracy"] for r in rows if r.network == network and (r.loss, r.mapping) == pair]
        return sum(values) / len(values)

    return max(sorted(pairs), key=mean)


def write_report(rows: Sequence[Row], out: Path) -> None:
    raise NotImplementedError
