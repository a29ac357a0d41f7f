"""Chips of the study and where their targets are: ships of DSN-SLC, or the vehicles of MSTAR with SARBake's masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.experiments.trial import Trial
from sarhub_models.datasets.recognition.dsn.reader import load_dsn
from sarhub_models.datasets.recognition.mstar.reader import CHIP, MSTAR
from sarhub_models.datasets.segmentation.sarbake import SARBake
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import Run
from sarhub_models.errors import DataError
from sarhub_models.explain import ChipBatch, Regions, prepare_chips, regions_from_masks
from sarhub_models.explain.regions import SHADOW, TARGET, tidy
from sarhub_models.explain.results import Found
from training.recipes import load_recipe

__all__ = ["RULE", "Ships", "Targets", "Vehicles", "overlap"]

RULE = "SAR-HUB"
"""Name of the regions of SAR-HUB's rules."""
_CLUTTER = 3.16  # times the median: what Rayleigh-distributed sea exceeds once in a thousand pixels, √(2·ln 1000)/1.177


class Targets(Protocol):
    """Chips that are explained, and regions that are known of them.

    Attributes:
        dataset: name of the data set.
        known: name of the regions beside those of SAR-HUB's rules.
    """

    dataset: ClassVar[str]
    known: ClassVar[str]

    def recipe(self, trial: Trial, assignments: Sequence[str]) -> Recipe:
        """Return the recipe of the fine-tuning of a trial."""

    def chips(self, run: Run, limit: int | None) -> ChipBatch:
        """Return some chips of the test split as a run's network sees them, drawn alike for all runs."""

    def regions(self, found: Found) -> Regions:
        """Return the known regions of chips that were explained."""


@dataclass(frozen=True)
class Ships:
    """The ship types of OpenSARShip in DSN-SLC; the ship is what stands out of the sea's clutter.

    Attributes:
        root: folder of the patches.
    """

    root: Path
    dataset: ClassVar[str] = "dsn"
    known: ClassVar[str] = "ship"

    def recipe(self, trial: Trial, assignments: Sequence[str]) -> Recipe:
        """Return the recipe of the fine-tuning of a trial."""
        given = [f"data.root={self.root}", "data.options.parts=[opensarship]", *_of(trial), *assignments]
        return load_recipe(f"{trial.network}_dsn", given)

    def chips(self, run: Run, limit: int | None) -> ChipBatch:
        """Return chips of the test split."""
        patches = load_dsn(self.root, parts=("opensarship",), split="test")
        order = _drawn(len(patches.images), limit)
        return prepare_chips(
            (patches.images[index] for index in order),
            [patches.names[index] for index in order],
            run.transform(),
            full_scale=run.recipe.data.full_scale,
        )

    def regions(self, found: Found) -> Regions:
        """Return the ship of each chip: amplitude above the clutter, tidied."""
        masks = [tidy(image > _CLUTTER * np.median(image)) for image in found.amplitude]
        return regions_from_masks(np.stack(masks), patch=found.regions.patch)


@dataclass(frozen=True)
class Vehicles:
    """The ten vehicles of MSTAR, with the target and shadow that SARBake has for each chip.

    Attributes:
        root: folder of the chips.
        masks: folder of SARBake.
    """

    root: Path
    masks: Path
    dataset: ClassVar[str] = "mstar"
    known: ClassVar[str] = "SARBake"

    def recipe(self, trial: Trial, assignments: Sequence[str]) -> Recipe:
        """Return the recipe of the fine-tuning of a trial."""
        given = [f"data.root={self.root}", *_of(trial), *assignments]
        return load_recipe(f"{trial.network}_mstar", given, finetune=True)

    @cached_property
    def _labeled(self) -> SARBake:
        return SARBake(self.root, "test", annotations=self.masks)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {_stem(name): index for index, name in enumerate(self._labeled.names)}

    def chips(self, run: Run, limit: int | None) -> ChipBatch:
        """Return chips of the test split that have a mask, of every vehicle alike."""
        scenes = MSTAR(self.root, "test")
        having = [index for index, name in enumerate(scenes.names) if _stem(name) in self._places]
        if not having:
            raise DataError(f"none of the chips of {self.root} has a mask in {self.masks}")
        order = np.asarray(having)[_drawn(len(having), limit)]
        return prepare_chips(
            (scenes[index].image for index in order),
            [scenes.names[index] for index in order],
            run.transform(),
            full_scale=run.recipe.data.full_scale,
        )

    def regions(self, found: Found) -> Regions:
        """Return the masks of SARBake, cut from the middle as the chips are."""
        height, width = found.amplitude.shape[-2:]
        masks = []
        for name in found.names:
            mask = torch.as_tensor(np.asarray(self._labeled[self._places[_stem(name)]][1])).long()
            masks.append(_middle(mask, height, width).numpy())
        return regions_from_masks(np.stack(masks) == TARGET, np.stack(masks) == SHADOW, patch=found.regions.patch)


def _middle(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the middle of a mask (H, W); what is missing is background."""
    down, right = height - mask.shape[-2], width - mask.shape[-1]
    return F.pad(mask, (right // 2, right - right // 2, down // 2, down - down // 2))


def _stem(name: str) -> str:
    match = CHIP.fullmatch(name.rpartition("/")[2])
    return match[1].lower() if match else name.lower()


def _of(trial: Trial) -> tuple[str, str]:
    return f"runtime.seed={trial.seed}", f"model.init={trial.initialization.init}"


def _drawn(count: int, limit: int | None) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(count)[:limit])


def overlap(one: Regions, other: Regions) -> dict[str, np.ndarray]:
    """Return the intersection over union of the pixels of two kinds of regions, one number a chip; NaN of nothing."""
    pairs = {"target": (one.target, other.target), "shadow": (one.shadow, other.shadow)}
    with np.errstate(invalid="ignore"):
        return {name: (a & b).sum((1, 2)) / (a | b).sum((1, 2)) for name, (a, b) in pairs.items()}
