"""A folder of explanations: tables, maps and pictures, written by one run and read back to compare networks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import DataError, OptionError
from ..io.figures import save_figure
from ..io.files import replacing, write_text
from ..io.json_files import read_object
from ..io.npz import read_arrays
from ..io.tables import check_table, write_table
from .figures import View, chip_figure, distribution_figure, grid_figure
from .knowledge import THRESHOLDS, Explanation, knowledge_points
from .measures import Interval, Row, agreement, bootstrap, measure_cam, measure_points
from .regions import BACKGROUND, Regions

__all__ = ["Found", "compare", "read_folder", "summarize", "write_folder"]

_FORMAT = "sarhub-explanation-1"
_FACTS = "explain.json"
_SUMMARIZED = ("share", "share_target", "area", "area_target", "density_target", "density_shadow", "density_background")


@dataclass(frozen=True)
class Found:
    """Maps of one network over a set of chips.

    Attributes:
        network: what it is called in tables and pictures.
        kind: ``"kp"``, or the method of the class-activation maps.
        names: of the chips.
        amplitude: float (N, H, W), for the pictures.
        regions: of the chips.
        maps: H of each patch, (N, R, C), or class-activation maps (N, H, W).
        thresholds: the b of the knowledge points; none for class-activation maps.
        settings: how the maps were made, for the record.
        extra: further arrays, one item a chip, that are written with the maps.
    """

    network: str
    kind: str
    names: tuple[str, ...]
    amplitude: np.ndarray
    regions: Regions
    maps: np.ndarray
    thresholds: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of_points(
        cls,
        network: str,
        names: Sequence[str],
        amplitude: np.ndarray,
        regions: Regions,
        explanation: Explanation,
        *,
        thresholds: Sequence[float] = THRESHOLDS,
        settings: Mapping[str, Any] | None = None,
    ) -> Found:
        """Return the knowledge points of an explanation."""
        extra = {"sigma": explanation.sigma, "distortion": explanation.distortion}
        return cls(
            *(network, "kp", tuple(names), amplitude, regions, explanation.entropy),
            *(tuple(map(float, thresholds)), settings or {}, extra),
        )

    def rows(self) -> list[Row]:
        """Return the measures, a row for each chip (and b)."""
        if self.kind == "kp":
            rows = measure_points(self.maps, self.regions, self.names, thresholds=self.thresholds)
        else:
            rows = measure_cam(self.maps, self.regions, self.names, self.kind)
        return [{"network": self.network, **row} for row in rows]

    def view(self, index: int) -> View:
        """Return a chip for the pictures."""
        patches, chip = self.regions.patches[index], self.amplitude[index]
        points = self.kind == "kp"
        return View(
            *(chip, patches, self.regions.patch),
            entropy=self.maps[index] if points else None,
            cam=None if points else self.maps[index],
            title=self.names[index],
        )

    def points(self, threshold: float) -> np.ndarray:
        """Return the knowledge points at a b, bool (N, R, C)."""
        return knowledge_points(self.maps, self.regions.background, threshold)


def write_folder(
    out: str | os.PathLike[str],
    found: Found,
    *,
    table: str = "csv",
    pictures: str | None = "png",
    palette: str = "default",
    seed: int = 0,
) -> list[Row]:
    """Write everything about one network.

    ``measures.<table>`` has a row for each chip (and b), ``summary.<table>`` the means with intervals,
    ``maps/<chip>.npz`` the arrays of each chip, ``pictures/<chip>.<pictures>`` and ``distribution.<pictures>`` what
    they look like, ``explain.json`` the settings.

    Args:
        out: created if need be.
        found: what was found.
        table: ``"csv"`` or ``"parquet"``.
        pictures: ``"png"``, ``"pdf"`` or ``None`` for none.
        palette: of :data:`~sarhub_models.explain.figures.PALETTES`.
        seed: of the bootstrap.

    Returns:
        The rows of the summary.
    """
    folder = Path(out)
    check_table(folder / f"measures.{table}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = found.rows()
    summary = summarize(rows, seed=seed)
    write_table(rows, folder / f"measures.{table}")
    write_table(summary, folder / f"summary.{table}")
    for index, name in enumerate(found.names):
        _write_map(folder / "maps" / f"{name}.npz", found, index)
        if pictures is not None:
            figure = chip_figure(found.view(index), thresholds=found.thresholds, palette=palette)
            save_figure(figure, folder / "pictures" / f"{name}.{pictures}")
    if pictures is not None:
        save_figure(_distribution({found.network: rows}, palette, seed), folder / f"distribution.{pictures}")
    facts = {
        **{"format": _FORMAT, "network": found.network, "kind": found.kind, "patch": found.regions.patch},
        **{"thresholds": list(found.thresholds), "settings": dict(found.settings), "names": list(found.names)},
    }
    write_text(folder / _FACTS, json.dumps(facts, indent=2) + "\n")
    return summary


def read_folder(folder: str | os.PathLike[str]) -> Found:
    """Read what :func:`write_folder` wrote.

    Raises:
        DataError: the folder holds no finished explanation, or a map is missing or damaged.
    """
    root = Path(folder)
    try:
        facts = read_object(root / _FACTS)
    except OSError as err:  # what is missing, and what is damaged
        raise DataError(
            f"expected a finished explanation in {root}, found no readable {_FACTS}; "
            "'sarhub explain kp' and 'sarhub explain cam' write one"
        ) from err
    if facts.get("format") != _FORMAT:
        raise DataError(f"{root / _FACTS} is of another version; run 'sarhub explain' again")
    try:
        return _found(root, facts)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as err:
        raise DataError(f"{root / _FACTS} is damaged, or its maps are ({err!r}); run 'sarhub explain' again") from err


def _found(root: Path, facts: Mapping[str, Any]) -> Found:
    for name in facts["names"]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"the chip {name!r} lies outside of the folder")
    maps = [_read_map(root / "maps" / f"{name}.npz") for name in facts["names"]]
    stacked = {key: np.stack([arrays[key] for arrays in maps]) for key in ("amplitude", "target", "shadow", "patches")}
    regions = Regions(stacked["target"], stacked["shadow"], stacked["patches"], facts["patch"])
    values = np.stack([arrays["entropy" if facts["kind"] == "kp" else "cam"] for arrays in maps])
    return Found(
        *(facts["network"], facts["kind"], tuple(facts["names"]), stacked["amplitude"], regions, values),
        *(tuple(facts["thresholds"]), facts["settings"]),
    )


def summarize(rows: Sequence[Row], *, seed: int = 0) -> list[Row]:
    """Return the mean of the shares and densities over chips, with 95 % bootstrap intervals.

    A row for each network, map, b and measure: ``mean``, ``low``, ``high``, and ``chips``, the number of chips where
    the measure is defined.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["network"], row["map"], str(row["b"])), []).append(row)
    summary = []
    for (network, kind, _), members in groups.items():
        for measure in _SUMMARIZED:
            found = bootstrap([row[measure] for row in members], seed=seed)
            summary.append({"network": network, "map": kind, "b": members[0]["b"], **_cells(measure, found)})
    return summary


def compare(
    found: Sequence[Found],
    out: str | os.PathLike[str],
    *,
    table: str = "csv",
    pictures: str = "png",
    palette: str = "default",
    threshold: float | None = None,
    most: int = 8,
    seed: int = 0,
) -> list[Row]:
    """Compare networks on the chips that all of them were explained on.

    ``measures.<table>`` and ``summary.<table>`` are those of all networks; ``comparison.<table>`` has, for each
    network and the first one, the difference of their shares and (for knowledge points) the agreement of their maps;
    ``grid.<pictures>`` shows chips side by side and ``distribution.<pictures>`` the shares.

    Args:
        found: two or more, of one kind, with different names, patches and chips alike.
        out: created if need be.
        table: ``"csv"`` or ``"parquet"``.
        pictures: ``"png"`` or ``"pdf"``.
        palette: of :data:`~sarhub_models.explain.figures.PALETTES`.
        threshold: b of the grid; by default the first.
        most: chips in the grid, the first ones.
        seed: of the bootstrap.

    Returns:
        The rows of the comparison.

    Raises:
        OptionError: there are not two, or they cannot be compared.
    """
    _check_comparable(found)
    folder = Path(out)
    check_table(folder / f"measures.{table}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = {one.network: one.rows() for one in found}
    every = [row for part in rows.values() for row in part]
    comparison = [row for other in found[1:] for row in _differences(found[0], other, rows, seed)]
    write_table(every, folder / f"measures.{table}")
    write_table(summarize(every, seed=seed), folder / f"summary.{table}")
    write_table(comparison, folder / f"comparison.{table}")
    views = {one.network: [one.view(index) for index in range(min(most, len(one.names)))] for one in found}
    chosen = threshold if threshold is not None else (found[0].thresholds or THRESHOLDS)[0]
    title = f"knowledge points, b = {chosen:g}" if found[0].kind == "kp" else found[0].kind
    save_figure(grid_figure(views, threshold=chosen, palette=palette, title=title), folder / f"grid.{pictures}")
    save_figure(_distribution(rows, palette, seed), folder / f"distribution.{pictures}")
    return comparison


def _differences(first: Found, other: Found, rows: Mapping[str, Sequence[Row]], seed: int) -> list[Row]:
    """Return the differences between two networks, paired by chip, and the agreement of their maps."""
    found = []
    for b in first.thresholds or (np.nan,):
        one, two = ([r for r in rows[f.network] if r["b"] == b or np.isnan(b)] for f in (first, other))
        key = {"network": other.network, "against": first.network, "map": first.kind, "b": b}
        for measure in ("share", "share_target"):
            gain = np.array([r[measure] for r in two]) - np.array([r[measure] for r in one])
            found.append({**key, **_cells(f"difference of {measure}", bootstrap(gain, seed=seed))})
        if first.kind == "kp":
            alike = agreement((first.maps, other.maps), (first.points(b), other.points(b)))
            found += [{**key, **_cells(name, bootstrap(values, seed=seed))} for name, values in alike.items()]
    return found


def _cells(measure: str, found: Interval) -> Row:
    return {"measure": measure, "mean": found.mean, "low": found.low, "high": found.high, "chips": found.count}


def _distribution(rows: Mapping[str, Sequence[Row]], palette: str, seed: int) -> Any:
    """Draw the shares on target and shadow, a panel for each b."""
    panels: dict[str, dict[str, list[float]]] = {}
    for network, part in rows.items():
        for row in part:
            label = row["map"] if np.isnan(row["b"]) else f"b = {row['b']:g}"
            panels.setdefault(label, {}).setdefault(network, []).append(row["share"])
    areas = [row["area"] for part in rows.values() for row in part]
    values = {panel: {name: np.array(shares) for name, shares in part.items()} for panel, part in panels.items()}
    intervals = {
        panel: {name: bootstrap(shares, seed=seed) for name, shares in part.items()} for panel, part in values.items()
    }
    return distribution_figure(
        values, intervals, "share on target and shadow", chance=float(np.mean(areas)), palette=palette
    )


def _check_comparable(found: Sequence[Found]) -> None:
    if len(found) < 2:
        raise OptionError(f"expected two or more explanations to compare, got {len(found)}")
    first = found[0]
    if len({one.network for one in found}) < len(found):
        raise OptionError("expected networks of different names; --label of 'sarhub explain kp' and 'cam' names one")
    for other in found[1:]:
        for what, a, b in (
            ("kind of map", first.kind, other.kind),
            ("thresholds", first.thresholds, other.thresholds),
            ("patches", first.regions.patches.shape[1:], other.regions.patches.shape[1:]),
            ("chips", first.names, other.names),
        ):
            if a != b:
                raise OptionError(
                    f"{first.network} and {other.network} cannot be compared: they differ in their {what}"
                )


def _write_map(file: Path, found: Found, index: int) -> None:
    regions = found.regions
    arrays: dict[str, Any] = {
        **{"amplitude": found.amplitude[index], "patches": regions.patches[index]},
        **{"target": regions.target[index], "shadow": regions.shadow[index]},
        **{key: values[index] for key, values in found.extra.items()},
    }
    if found.kind == "kp":
        background = (regions.patches[index] == BACKGROUND)[None]
        points = [knowledge_points(found.maps[index][None], background, b)[0] for b in found.thresholds]
        arrays |= {"entropy": found.maps[index], "points": np.stack(points), "thresholds": np.array(found.thresholds)}
    else:
        arrays["cam"] = found.maps[index]
    with replacing(file) as temporary:
        np.savez_compressed(temporary, **arrays)


def _read_map(file: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(file)
    except DataError as err:
        raise DataError(f"{file} is missing or damaged ({err}); run 'sarhub explain' again") from err
