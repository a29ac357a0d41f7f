"""Plans of windows, and maps of windows that become one grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sarhub_models.errors import OptionError
from sarhub_models.scenes.groups import Group
from sarhub_models.scenes.mosaic import Grid, cells, strips
from sarhub_models.scenes.plan import Plan, Window, make_plan


@pytest.mark.parametrize(("shape", "size", "stride"), [((100, 130), 32, 32), ((100, 130), 32, 12), ((7, 5), 16, 16)])
def test_cells_tile_the_scene_and_windows_have_them_in_the_middle(
    shape: tuple[int, int], size: int, stride: int
) -> None:
    plan = make_plan(shape, size=size, stride=stride)
    seen = np.zeros(shape, int)
    for index, window in enumerate(plan):
        cell = plan.cell(index)
        seen[cell.row : cell.row + cell.height, cell.column : cell.column + cell.width] += 1
        assert (window.row + plan.halo, window.column + plan.halo) == (cell.row, cell.column)
        assert window.height == window.width == plan.size
    assert (plan.stride, plan.size) == (stride, size)
    assert (seen == 1).all()


def test_a_resolution_changes_what_is_read_and_not_what_the_network_is_given() -> None:
    plan = make_plan((1000, 1000), size=100, overlap=0.5, resolution=20, spacing=(10, 10))
    assert (plan.size, plan.stride, plan.input_size) == (200, 100, 100)
    with pytest.raises(OptionError, match="does not say the size of its pixels"):
        make_plan((1000, 1000), size=100, resolution=20)
    with pytest.raises(OptionError, match="not square"):
        make_plan((1000, 1000), size=100, resolution=20, spacing=(14, 2.3))


@pytest.mark.parametrize("options", [{"stride": 0}, {"stride": 65}, {"overlap": 1.0}, {"stride": 8, "overlap": 0.5}])
def test_impossible_plans_are_refused(options: dict) -> None:
    with pytest.raises(OptionError):
        make_plan((100, 100), size=64, **options)


def windowed(plan: Plan, grid: Grid, truth: np.ndarray, *, left_out: tuple[int, ...] = ()) -> Iterator[Group]:
    """Yield groups of seven windows whose maps are cut from one map."""
    padded = np.pad(truth, [(0, 0), (64, 64), (64, 64)], mode="edge")
    for start in range(0, len(plan), 7):
        indices = [i for i in range(start, min(start + 7, len(plan))) if i not in left_out]
        maps, masks = [], []
        for index in indices:
            window = plan[index]
            row, column = window.row // grid.step, window.column // grid.step
            maps.append(padded[:, 64 + row : 64 + row + grid.side, 64 + column : 64 + column + grid.side])
            masks.append(np.ones((grid.side, grid.side), bool))
        yield Group(np.array(indices), np.stack(maps), np.stack(masks))


@pytest.mark.parametrize(("size", "stride", "side"), [(64, 32, 16), (64, 64, 16), (48, 16, 6), (32, 24, 32)])
def test_blending_maps_that_agree_gives_the_map_back(size: int, stride: int, side: int) -> None:
    plan = make_plan((150, 210), size=size, stride=stride, side=side)
    grid = Grid.of(plan, side)
    truth = np.random.default_rng(0).random((3, grid.height, grid.width)).astype(np.float32)
    found = np.concatenate(list(strips(plan, grid, windowed(plan, grid, truth), 3)), axis=1)
    np.testing.assert_allclose(found, truth, atol=2e-6)


def test_blending_leaves_no_seam_between_windows_that_disagree() -> None:
    """Two windows that differ by 1 meet gradually: no step between neighbors is larger than that of the weights."""
    plan = Plan(64, 128, 64, 32, 64)
    grid = Grid.of(plan, 64)

    def groups() -> Iterator[Group]:
        for index in range(len(plan)):
            value = np.full((1, 1, 64, 64), index % plan.columns % 2, np.float32)
            yield Group(np.array([index]), value, np.ones((1, 64, 64), bool))

    found = np.concatenate(list(strips(plan, grid, groups(), 1)), axis=1)[0]
    assert found.shape == (64, 128)
    assert np.ptp(found) > 0.9
    assert np.abs(np.diff(found, axis=1)).max() < 0.06
    assert np.abs(np.diff(found, axis=0)).max() < 1e-5


def test_windows_that_were_left_out_have_no_value() -> None:
    plan = make_plan((60, 80), size=20)
    grid = Grid.of(plan, 1)

    def groups() -> Iterator[Group]:
        kept = np.array([index for index in range(len(plan)) if index not in (0, 5, 11)])
        yield Group(kept, kept.astype(np.float32)[:, None, None, None], np.ones((len(kept), 1, 1), bool))

    found = np.concatenate(list(cells(plan, groups(), 1)), axis=1)[0]
    assert found.shape == (grid.height, grid.width) == (3, 4)
    assert np.isnan(found.ravel()[[0, 5, 11]]).all()
    np.testing.assert_array_equal(found.ravel()[[1, 4, 10]], [1, 4, 10])


def test_a_whole_line_without_windows_has_no_value() -> None:
    plan = Plan(96, 64, 32, 32, 32)
    grid = Grid.of(plan, 8)
    truth = np.ones((1, grid.height, grid.width), np.float32)
    found = np.concatenate(list(strips(plan, grid, windowed(plan, grid, truth, left_out=(2, 3, 4, 5)), 1)), axis=1)[0]
    assert (found[:8] == 1).all()
    assert np.isnan(found[8:]).all()
    assert found.shape == (24, 16)


def test_a_stride_that_does_not_fit_the_maps_is_refused() -> None:
    with pytest.raises(OptionError, match="the stride must be a multiple"):
        Grid.of(make_plan((100, 100), size=64, stride=20, side=16), 16)


def test_the_window_around_a_point() -> None:
    assert make_plan((100, 100), size=20).around(30.5, 40.5) == Window(20, 30, 20, 20)


@pytest.mark.parametrize(("size", "stride", "side"), [(256, 129, 256), (64, 40, 8)])
def test_a_margin_that_cannot_be_the_same_on_both_sides_is_refused(size: int, stride: int, side: int) -> None:
    with pytest.raises(OptionError, match="as much on both sides"):
        Grid.of(make_plan((500, 500), size=size, stride=stride, side=side), side)


@pytest.mark.parametrize("overlap", [None, 0.0, 0.3, 0.5, 0.99])
@pytest.mark.parametrize(("size", "side"), [(250, 250), (256, 8), (224, 7), (64, 2), (6, 3)])
def test_an_overlap_becomes_one_that_fits_the_map(size: int, side: int, overlap: float | None) -> None:
    plan = make_plan((400, 300), size=size, overlap=overlap, side=side)
    grid = Grid.of(plan, side)
    assert plan.stride + 2 * plan.halo == size
    largest = 1 - (2 - side % 2) / side  # a cell has a value, and there are as many on both sides
    wanted = min(0.5 if overlap is None else overlap, largest)
    assert abs(1 - plan.stride / size - wanted) <= 1.01 / side
    assert sum(part.shape[1] for part in strips(plan, grid, iter(()), 1)) == grid.height


def test_a_resolution_that_a_map_cannot_have_is_refused_with_those_that_it_can() -> None:
    with pytest.raises(OptionError, match=r"14 m makes a value of the map 1\.4 pixels .* give 10 m or 20 m"):
        make_plan((900, 900), size=256, resolution=14, spacing=(10, 10), side=256)
    with pytest.raises(OptionError, match=r"give 10 m$"):
        make_plan((900, 900), size=256, resolution=4, spacing=(10, 10), side=256)
    for resolution, pixels in ((20, 512), (10.1, 256)):
        plan = make_plan((900, 900), size=256, resolution=resolution, spacing=(10, 10), side=256)
        assert (plan.size, plan.input_size) == (pixels, 256)
    assert make_plan((900, 900), size=224, resolution=14, spacing=(10, 10), side=7).size == 45 * 7
