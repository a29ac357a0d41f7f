"""Windows of a plan: neighbors that are read at once give what each gives alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.errors import ImageError
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.scenes.plan import make_plan
from sarhub_models.scenes.products import open_scene
from sarhub_models.scenes.reading import ahead, batches, check_radiometry, read_ready

from .test_products import write_tif


@pytest.mark.parametrize(("size", "stride"), [(64, 64), (96, 32), (300, 300)])
def test_windows_read_at_once_are_those_read_alone(tmp_path: Path, size: int, stride: int) -> None:
    array = np.random.default_rng(0).integers(0, 900, (200, 2600), dtype=np.uint16)
    array[:, 500:900] = 0
    file = write_tif(tmp_path / "s.tif", array, nodata=0)
    plan = make_plan(array.shape, size=size, stride=stride)
    with open_scene(file) as scene:
        found = list(batches(scene, plan, range(3, len(plan)), size=5, max_nodata=0.5, radiometry="dn"))
        indices = [index for batch in found for index in batch.indices]
        assert all(len(batch.indices) == 5 for batch in found[:-1])
        assert (len(indices) < len(plan) - 3) == (stride < 300)  # the gap holds no larger cell
        for batch in found[::7]:
            for index, pixels, mask in zip(batch.indices, batch.pixels, batch.masks, strict=True):
                alone = read_ready(scene, plan[index], plan.input_size, "dn")
                assert alone is not None
                np.testing.assert_array_equal(pixels, alone[0])
                np.testing.assert_array_equal(mask, alone[1])


def test_power_is_averaged_where_the_resolution_is_another(tmp_path: Path) -> None:
    decibels = np.where(np.indices((64, 64)).sum(axis=0) % 2, -10.0, -20.0).astype(np.float32)
    with open_scene(write_tif(tmp_path / "s.tif", decibels)) as scene:
        plan = make_plan(scene.shape, size=8, resolution=80, spacing=scene.spacing)
        ready = read_ready(scene, plan[0], plan.input_size, "db")
    assert ready is not None
    np.testing.assert_allclose(ready[0], 10 * np.log10((0.1 + 0.01) / 2), atol=0.1)


def test_what_runs_ahead_raises_here_and_stops_with_its_reader() -> None:
    seen: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            seen.append(number)
            yield number
            if number == 3:
                raise ValueError("of the thread")

    with pytest.raises(ValueError, match="of the thread"):
        list(ahead(numbers))
    seen.clear()
    reader = ahead(numbers)
    assert next(reader) == 0
    reader.close()
    assert len(seen) <= 4


@pytest.mark.parametrize("radiometry", [None, "amplitude"])
def test_integers_stay_integers_at_another_resolution(tmp_path: Path, radiometry: str | None) -> None:
    """Their type says the digital number of amplitude 1."""
    array = np.random.default_rng(0).integers(0, 65535, (64, 64), dtype=np.uint16)
    with open_scene(write_tif(tmp_path / "s.tif", array)) as scene:
        plan = make_plan(scene.shape, size=8, resolution=80, spacing=scene.spacing)
        ready = read_ready(scene, plan[0], plan.input_size, radiometry)
    assert ready is not None
    assert (ready[0].dtype, ready[0].shape) == (np.uint16, (1, 8, 8))
    whole = array.mean() if radiometry is None else np.sqrt((array.astype(float) ** 2).mean())
    assert ready[0].mean() == pytest.approx(whole, rel=0.02)


def test_only_windows_without_data_or_of_zeros_are_left_out(tmp_path: Path) -> None:
    array = np.zeros((16, 64), np.uint16)
    array[:, :16], array[:, 16:32], array[:, 32:48] = 9, 7, 5
    with open_scene(write_tif(tmp_path / "s.tif", array, nodata=5)) as scene:
        plan = make_plan(scene.shape, size=16)
        found = [read_ready(scene, window, 16, "dn") for window in plan]
    assert [ready is not None for ready in found] == [True, True, False, False]


@pytest.mark.parametrize("beyond", [1, 2, 3])
def test_remainders_of_few_pixels_are_seen_at_another_resolution(tmp_path: Path, beyond: int) -> None:
    """All of their pixels have data, though they fill no pixel of the network's."""
    array = np.full((64 + beyond, 64), 9, np.uint16)
    with open_scene(write_tif(tmp_path / "s.tif", array)) as scene:
        plan = make_plan(scene.shape, size=8, resolution=80, spacing=scene.spacing)
        found = batches(scene, plan, range(len(plan)), size=3, max_nodata=0.5, radiometry="dn")
        assert [index for batch in found for index in batch.indices] == list(range(len(plan)))


@pytest.mark.parametrize("columns", [slice(15 * 8, 17 * 8), slice(30 * 8, 31 * 8)])
def test_values_are_looked_at_wherever_they_are(tmp_path: Path, columns: slice) -> None:
    """Of 45 rows of 60 windows with data in few columns, decibels are no amplitude."""
    array = np.full((45 * 8, 60 * 8), np.nan, np.float32)
    array[:, columns] = -12
    model = WindowModel(ModelSpec("mobilenetv3_dsn", "features"))
    with open_scene(write_tif(tmp_path / "s.tif", array)) as scene, pytest.raises(ImageError, match="never negative"):
        check_radiometry(scene, make_plan(scene.shape, size=8), model)


@pytest.mark.slow
def test_an_overview_keeps_no_whole_rows(tmp_path: Path) -> None:
    with open_scene(write_tif(tmp_path / "s.tif", np.ones((64, 4096), np.uint16))) as scene:
        tracemalloc.start()
        pixels, valid, step = scene.overview(64)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (pixels.shape, valid.shape, step) == ((1, 1, 64), (1, 64), 64)
    with open_scene(write_tif(tmp_path / "t.tif", np.ones((4096, 4096), np.uint16))) as scene:
        tracemalloc.start()
        scene.overview(1024)
        more = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert more < peak + 10 * 1024**2  # all rows that are read would be 8 MiB and their masks as much again
