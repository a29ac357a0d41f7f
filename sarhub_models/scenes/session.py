"""The begin of every command on scenes: a model, scenes that fit it, a plan for each, and a job to run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from ..io.files import keep_inputs
from ..io.georeference import Georeference, coordinates, parse_system
from ..models.choice import HUB
from ..transforms.radiometry import RADIOMETRIES
from ..zoo.manifest import own_file
from .groups import Groups, groups_folder
from .models import ModelSpec, WindowModel, needs, numbers_of, probe
from .mosaic import Grid, cells, done_groups, strips
from .plan import Plan, make_plan
from .products import find_scenes
from .reading import check_bands, check_radiometry
from .runner import Job, SceneSpec, Unit, run_local
from .sinks.cog import write_cog

__all__ = ["ENGINES", "Reading", "Running", "Session", "Windows", "open_session"]

ENGINES = ("local", "ray")
"""Runners of a job: this process, or a Ray cluster."""


@dataclass(frozen=True)
class Windows:
    """The way scenes are cut.

    Attributes:
        size: side of a window in pixels, at ``resolution``; by default what the network wants.
        stride: side of a cell, likewise.
        overlap: share of a window that the next one shares, in place of ``stride``.
        resolution: meters a pixel that the network is given; by default the scene's own.
        max_nodata: share of a cell without data above which its window is left out; likewise of a value's pixels.
        batch_size: windows that go through the network at once.
    """

    size: int | None = None
    stride: int | None = None
    overlap: float | None = None
    resolution: float | None = None
    max_nodata: float = 0.5
    batch_size: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.max_nodata <= 1:
            raise OptionError(f"expected max_nodata to be a share from 0 to 1, got {self.max_nodata}")
        if self.batch_size < 1:
            raise OptionError(f"expected a batch_size of at least 1, got {self.batch_size}")


@dataclass(frozen=True)
class Reading:
    """The way scenes are read, see :func:`~sarhub_models.scenes.products.open_scene`.

    Attributes:
        bands: names of their bands in the order of the files, where these do not say them.
        band: the only band to take, counted from 1 or by its name.
        radiometry: what they hold; of a product that can be calibrated, what to calibrate it to.
        full_scale: digital number of amplitude 1.
        swath: of Sentinel-1 SLC.
        denoise: subtract the thermal noise of Sentinel-1.
    """

    bands: Sequence[str] | None = None
    band: int | str | None = None
    radiometry: str | None = None
    full_scale: float | None = None
    swath: str | None = None
    denoise: bool = False

    def options(
        self, wanted: Sequence[str], expected: str | None, trained: Mapping[str, Sequence[Any]]
    ) -> dict[str, Any]:
        """Return the options of ``open_scene``."""
        return {
            "wanted": tuple(wanted) if self.band is None else (),
            "bands": None if self.bands is None else tuple(self.bands),
            "band": self.band,
            "trained": dict(trained) if self.bands is None and self.band is None else {},
            "radiometry": self.radiometry,
            "expected": expected,
            "swath": self.swath,
            "denoise": self.denoise,
        }


@dataclass(frozen=True)
class Running:
    """The way a job is run.

    Attributes:
        device: where the network runs.
        engine: one of :data:`ENGINES`.
        address: of a Ray cluster; by default one on this machine.
        quicklook: also draw a picture beside the output, of one scene.
        progress: draw a bar on stderr where that is a terminal.
        to_grid: coordinate reference system, such as ``"EPSG:32633"``, of a grid that maps are warped to; by default
            they keep the pixels of their scene, and its ground control points.
    """

    device: str = "cpu"
    engine: str = "local"
    address: str | None = None
    quicklook: bool = True
    progress: bool = True
    to_grid: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise OptionError(f"expected an engine of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.address is not None and self.engine != "ray":
            raise OptionError(f"address={self.address!r} is that of a Ray cluster: add engine='ray', or leave it out")
        if self.to_grid is not None:
            parse_system(self.to_grid)


@dataclass(frozen=True)
class Session:
    """A job that is ready to run, and what is known of its scenes.

    Attributes:
        job: what to run.
        model: loaded.
        output: channels, height and width of what becomes of a window.
        places: georeference of each scene.
        running: how the job is run.
    """

    job: Job
    model: WindowModel
    output: tuple[int, int, int]
    places: tuple[Georeference, ...]
    running: Running

    @property
    def groups(self) -> Groups:
        """The groups that are done."""
        return Groups(self.job.folder)

    def plan(self, scene: int = 0) -> Plan:
        """Return the plan of a scene."""
        return self.job.plans[scene]

    def grid(self, scene: int = 0) -> Grid:
        """Return the grid of its map."""
        return Grid.of(self.plan(scene), self.output[1])

    def units(self, scene: int = 0) -> list[Unit]:
        """Return the groups of a scene."""
        return [unit for unit in self.job.units() if unit.scene == scene]

    def found(self, scene: int = 0) -> Any:
        """Yield the results of a scene, group by group; errors of :func:`done_groups`."""
        return done_groups(self.groups, self.units(scene))

    def rows(self, scene: int = 0) -> Iterator[np.ndarray]:
        """Yield the map of a scene in strips from the top, (channels, rows, width) float32; NaN without data."""
        if self.output[1] == 1:
            return cells(self.plan(scene), self.found(scene), self.output[0])
        return strips(self.plan(scene), self.grid(scene), self.found(scene), self.output[0])

    def run(self) -> None:
        """Compute what is not done.

        Raises:
            SarHubError: as :func:`~sarhub_models.scenes.runner.run_local` says; what was done is kept.
            MissingDependencyError: Ray is missing.
        """
        if self.running.engine == "ray":
            from .ray_engine import run_ray

            run_ray(self.job, progress=self.running.progress, address=self.running.address)
            return
        run_local(self.job, self.model, progress=self.running.progress)

    def write(self, target: Path, strips: Iterable[np.ndarray], *, bands: int, dtype: str, **options: Any) -> None:
        """Write a map of the only scene as :func:`~sarhub_models.scenes.sinks.cog.write_cog` does, with its options."""
        grid = self.grid()
        write_cog(
            target,
            strips,
            shape=(bands, grid.height, grid.width),
            dtype=dtype,
            georeference=grid.georeference(self.places[0]),
            to_grid=self.running.to_grid,
            **options,
        )

    @property
    def names(self) -> list[str]:
        """Paths of the scenes in the folder that all share; whole ones of addresses and of several drives."""
        places = [spec.path for spec in self.job.scenes]
        paths = [place for place in places if isinstance(place, Path)]
        if len(paths) < len(places) or len({path.anchor for path in paths}) > 1:
            return [place.as_posix() if isinstance(place, Path) else str(place) for place in places]
        root = os.path.commonpath([path.parent for path in paths])
        return [path.relative_to(root).as_posix() for path in paths]

    def tags(self, weights: str | os.PathLike[str]) -> dict[str, str]:
        """Return what a map of the only scene says of its making."""
        return {"WEIGHTS": os.fspath(weights), "SCENE": self.job.scenes[0].path.name}

    @property
    def coordinates(self) -> str:
        """Words for people on what coordinates of a map of the only scene are."""
        place, warped = self.places[0], self.running.to_grid
        return coordinates(place, place.crs if warped is None else parse_system(warped))

    def keep_scenes(self, *outputs: Path) -> None:
        """Refuse outputs that are files of the scenes.

        Raises:
            OptionError: one is.
        """
        keep_inputs(outputs, (Path(name) for spec in self.job.scenes for name, *_ in spec.stamp))

    def seen(self) -> int:
        """Return the number of windows that were not left out."""
        return sum(len(group.indices) for scene in range(len(self.job.scenes)) for group in self.found(scene))


def open_session(
    scenes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    weights: str | os.PathLike[str],
    kind: str,
    out: Path,
    windows: Windows,
    reading: Reading,
    running: Running = Running(),
    overlap: float | None = None,
    single: bool = False,
) -> Session:
    """Load the model, open every scene once to plan it and to look at its values, and begin the job.

    Args:
        scenes: a scene, a folder or a list of them.
        weights: a name, a file of weights, or the folder of a run.
        kind: what becomes of a window, one of :data:`~sarhub_models.scenes.models.KINDS`.
        out: the output, beside which the groups are kept.
        windows: how scenes are cut.
        reading: how they are read.
        running: how the job is run.
        overlap: by default, where ``windows`` does not say it.
        single: the output is a map of one scene, so several are refused; other outputs have no grid.

    Raises:
        SarHubError: the model or a scene cannot be opened, they do not fit, or an unfinished run had other arguments.
    """
    wanted, expected, trained = needs(weights)
    given = [scenes] if isinstance(scenes, str | os.PathLike) else list(scenes)
    options = reading.options(wanted, expected, trained)
    # Workers on a cluster have a working directory of their own
    found = [path.absolute() for place in given for path in find_scenes(place, wanted=wanted)]
    specs = [SceneSpec(path, options) for path in found]
    if single and len(specs) > 1:
        raise OptionError(f"{out} holds one scene, {len(specs)} were given: give each a file of its own")
    if running.to_grid is not None and not single:
        raise OptionError(f"maps (.tif) can be warped to a grid, {out} is none: leave to_grid out")
    with specs[0].open() as first:
        said = first.radiometry
    _check_scale(specs[0].path, said, expected, weights, reading)
    file = None if os.fspath(weights).startswith(HUB) else own_file(weights)
    source = os.fspath(weights) if file is None else str(Path(weights).absolute())
    model = WindowModel(ModelSpec(source, kind, said or expected, reading.full_scale, running.device))
    size = windows.size or model.size
    output = probe(model, size)
    plans, places = [], []
    for number, spec in enumerate(specs):
        with spec.open() as scene:
            if scene.radiometry != said:
                raise OptionError(
                    f"{scene.path} holds {scene.radiometry}, and {specs[0].path} holds {said}: give radiometry, or one "
                    "kind of product a run"
                )
            plan = make_plan(
                scene.shape,
                size=size,
                stride=windows.stride,
                overlap=overlap if windows.overlap is None and windows.stride is None else windows.overlap,
                resolution=windows.resolution,
                spacing=scene.spacing,
                side=output[1],
            )
            Grid.of(plan, output[1])
            check_bands(scene, model)
            check_radiometry(scene, plan, model)
            if running.to_grid is not None:
                if scene.georeference.crs is None:
                    raise OptionError(f"{scene.path} does not say where it lies, so its map cannot be warped to a grid")
                scene.georeference.check_grid(running.to_grid, scene.height, scene.width)
            specs[number] = replace(spec, stamp=scene.stamp())
            plans.append(plan)
            places.append(scene.georeference)
    job = Job(
        tuple(specs),
        tuple(plans),
        model.spec,
        groups_folder(out.absolute()),
        windows.batch_size,
        windows.max_nodata,
        output[1] > 1,
    )
    session = Session(job, model, output, tuple(places), running)
    session.keep_scenes(out)
    session.groups.begin(job.maker(model))
    return session


def _check_scale(
    scene: Any, said: str | None, expected: str | None, weights: str | os.PathLike[str], reading: Reading
) -> None:
    """Refuse a calibrated scene where stored numbers are meant.

    Raises:
        OptionError: a full scale is given, or the weights were fine-tuned on stored numbers and nothing is said.
    """
    if said not in RADIOMETRIES or RADIOMETRIES[said].calibration is None:
        return
    if reading.full_scale is not None and expected != "dn":
        raise OptionError(f"{scene} holds {said}, calibrated already: leave full_scale out")
    if reading.radiometry is None and (scale := numbers_of(weights)) is not None:
        raise OptionError(
            f"{scene} would be calibrated to {said}, and {weights} was fine-tuned on numbers of which {scale:g} are "
            "amplitude 1: say radiometry='dn' for those of the product, or another one"
        )
