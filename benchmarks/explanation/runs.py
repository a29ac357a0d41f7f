"""The networks of the study: fine-tuned on ship types, from nothing and from SAR pre-trained weights."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from sarhub_models.errors import DataError, OptionError
from training.evaluate import score_run
from training.run import SUMMARY, Run, load_run

__all__ = ["NONE", "SAR", "Cell", "finetune", "grid", "test_scores"]

NONE, SAR = "none", "SAR"


@dataclass(frozen=True)
class Cell:
    """One network.

    Attributes:
        network: architecture.
        start: ``NONE`` or ``SAR``.
        seed: of the fine-tuning.
    """

    network: str
    start: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.network}-{self.start}-{self.seed}"


def grid(networks: Sequence[str], seeds: int) -> list[Cell]:
    """Return the cells, seed by seed, so that a part of the study holds all of its columns."""
    return [Cell(n, start, seed) for seed, n, start in itertools.product(range(seeds), networks, (NONE, SAR))]


def starting_point(cell: Cell, pretrained: Mapping[str, str]) -> str:
    """Return what ``--init`` of the training takes: ``none``, a registered name or a file.

    Raises:
        OptionError: it is not said where the pre-trained weights of the network are.
        DataError: the folder that was given holds no weights.
    """
    if cell.start == NONE:
        return "none"
    if cell.network not in pretrained:
        raise OptionError(
            f"where are the SAR pre-trained weights of {cell.network}? --pretrained {cell.network}=RUN_DIR, a run of "
            f"'python -m training.pretrain {cell.network}_dsn', or a name of 'sarhub list'"
        )
    place = Path(pretrained[cell.network])
    if not place.is_dir():
        return pretrained[cell.network]
    load_run(place)  # says what is wrong with a run that is not finished
    return str(place / "best.safetensors")


def finetune(
    cells: Sequence[Cell], data: Path, out: Path, pretrained: Mapping[str, str], epochs: int, assignments: Sequence[str]
) -> None:
    """Fine-tune the cells that are not finished, each in a process of its own; an interrupted one goes on.

    Raises:
        DataError: a run failed; the message says where its output is.
    """
    starts = {cell: starting_point(cell, pretrained) for cell in cells}
    waiting = [cell for cell in cells if not (out / cell.name / SUMMARY).is_file()]
    for cell in track(waiting, description="fine-tuning", disable=not waiting):
        folder = out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "training.pretrain", f"{cell.network}_dsn"),
            *(f"data.root={data}", "data.options.parts=[opensarship]", f"runtime.seed={cell.seed}"),
            *(f"optim.epochs={epochs}", *assignments, "--init", starts[cell], "--out", str(folder)),
        ]
        log = folder / "log.txt"
        with log.open("a", encoding="utf-8") as stream:
            code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT).returncode
        if code != 0:
            raise DataError(f"{cell.name} ended with status {code}; its output: {log}")


def test_scores(run: Run) -> dict[str, float]:
    """Return a run's scores on the test split, computed once."""
    file = run.folder / "test.json"
    if not file.is_file():
        return score_run(run, "test")
    scores: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return scores
