"""The networks of the study: fine-tuned on ship types, from nothing and from SAR pre-trained weights."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from sarhub_models.engine.processes import Programs, sigterm_interrupts
from sarhub_models.engine.run import is_finished, load_run
from sarhub_models.errors import DataError, OptionError
from training.recipes import load_recipe

__all__ = ["NONE", "SAR", "Cell", "finetune", "grid"]

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
        OptionError: a folder holds a run of another recipe, from another start or on other data.
        DataError: a run failed; the message says where its output is.
    """
    chosen = {
        cell: [
            *(f"data.root={data}", "data.options.parts=[opensarship]", f"runtime.seed={cell.seed}"),
            *(f"optim.epochs={epochs}", *assignments, f"model.init={starting_point(cell, pretrained)}"),
        ]
        for cell in cells
    }
    recipes = {cell: load_recipe(f"{cell.network}_dsn", chosen[cell]) for cell in cells}
    waiting = [cell for cell in cells if not is_finished(recipes[cell], out / cell.name)]
    for cell in track(waiting, description="fine-tuning", disable=not waiting):
        folder = out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "training.pretrain", recipes[cell].name),
            *(*chosen[cell], "--out", str(folder)),
        ]
        log = folder / "log.txt"
        with sigterm_interrupts():
            code = Programs().run(command, log)
        if code != 0:
            raise DataError(f"{cell.name} ended with status {code}; its output: {log}")
