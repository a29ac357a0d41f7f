"""One run of an experiment: what is trained, from what, on how many labels, with which seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sarhub_models.errors import OptionError

from .initializations import NONE, Initialization

__all__ = ["Trial", "check_folders"]


@dataclass(frozen=True)
class Trial:
    """One run.

    Attributes:
        task: what the network is used for, such as ``"detection"``.
        dataset: on what.
        network: architecture; in detection and segmentation the model whose preprocessing the images get.
        initialization: what it starts from.
        fraction: of the training labels, in (0, 1].
        seed: of all random choices.
        variant: what else trials of an experiment differ in, such as the method of recognition.
    """

    task: str
    dataset: str
    network: str
    initialization: Initialization = NONE
    fraction: float = 1.0
    seed: int = 0
    variant: str = ""

    @property
    def label(self) -> str:
        """Name of the initialization in tables and folders."""
        return self.initialization.label

    @property
    def folder(self) -> Path:
        """Folder below that of the experiment: ``trials/DATASET/NETWORK/INITIALIZATION-PERCENT-SEED[/VARIANT]``."""
        name = f"{self.label}-{100 * self.fraction:g}-{self.seed}"
        return Path("trials", *map(_slug, filter(None, (self.dataset, self.network, name, self.variant))))


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+|^\.+", "_", text.replace("–", "-"))


def check_folders(trials: Sequence[Trial]) -> None:
    """Check that every trial has a folder of its own.

    Raises:
        OptionError: two have the same one.
    """
    known: dict[Path, Trial] = {}
    for trial in trials:
        if (other := known.setdefault(trial.folder, trial)) is not trial:
            raise OptionError(
                f"two runs, from {other.label!r} and from {trial.label!r}, would have the folder {trial.folder}: "
                "--init LABEL=PLACE gives labels that differ in letters or digits"
            )
