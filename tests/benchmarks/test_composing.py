"""Composed scenes and mosaics: seams, boxes, masks, splits and folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from benchmarks.composed.mosaics import MosaicSettings, compose_mosaic, compose_mosaics, land_cover, region_map
from benchmarks.composed.patches import (
    Patches,
    gray_levels,
    load_patches,
    seam_window,
    stitch,
)
from benchmarks.composed.scenes import (
    SceneSettings,
    compose_scene,
    compose_scenes,
    find_ship,
    sea_patches,
    ship_chips,
)
from sarhub_models.datasets.recognition.dsn.reader import SPLITS
from sarhub_models.errors import OptionError

FEW_SCENES = SceneSettings(2, 1, 1, size=256, fewest=2, most=4)
FEW_MOSAICS = MosaicSettings(2, 1, 1, size=128, fewest=3, most=5)


def clutter(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return speckle: circular Gaussian noise of mean intensity 1."""
    real, imaginary = np.random.default_rng(seed).normal(0, np.sqrt(0.5), (2, *shape))
    return real + 1j * imaginary


def write_packed(folder: Path, part: str, classes: list[str], level: Callable[[str, int], int]) -> None:
    """Write a packed file as load_dsn reads it: four patches of each class and split, with one level each."""
    rows = [(label, split) for split in SPLITS for label in range(len(classes)) for _ in range(4)]
    iq = np.zeros((len(rows), 64, 64, 2), dtype=np.int16)
    for patch, (label, split) in zip(iq, rows, strict=True):
        patch[..., 0] = level(split, label)
    np.savez(
        folder / f"{part}.npz",
        iq=iq,
        label=np.array([label for label, _ in rows]),
        split=np.array([split for _, split in rows]),
        name=np.array([f"{classes[label]}/{number}" for number, (label, _) in enumerate(rows)]),
        classes=np.array(classes),
    )


def test_squared_weights_of_overlapping_windows_sum_to_one() -> None:
    window = seam_window(16, 4) ** 2
    total = np.zeros((28, 28))
    for row in (0, 12):
        for column in (0, 12):
            total[row : row + 16, column : column + 16] += window
    np.testing.assert_allclose(total[4:-4, 4:-4], 1, atol=1e-6)


def test_speckle_has_the_same_statistics_across_seams() -> None:
    patches = iter(clutter((400, 24, 24), seed=1))
    amplitude = np.abs(stitch(lambda: next(patches), (300, 200), 8, np.random.default_rng(0)))
    assert amplitude.shape == (300, 200)
    assert (amplitude**2).mean() == pytest.approx(1, abs=0.02)
    # Rayleigh: the squared mean is π/4 of the mean square; of the plain mean of two amplitudes it would be 0.88
    assert amplitude.mean() ** 2 / (amplitude**2).mean() == pytest.approx(np.pi / 4, abs=0.005)


@pytest.mark.parametrize("size", [1, 40, 57, 64, 200])
def test_an_area_of_any_size_is_covered(size: int) -> None:
    for seed in range(5):
        area = stitch(lambda: np.ones((64, 64)), (size, 33), 6, np.random.default_rng(seed))
        assert area.shape == (size, 33)
        assert np.abs(area).min() >= 0.999


def test_gray_levels_are_the_logarithm_of_digital_numbers() -> None:
    amplitude = np.array([[0, 1, 255, 65535, 1e6]], dtype=np.float32)
    assert gray_levels(amplitude).tolist() == [[0, round(255 / 16), round(255 * 8 / 16), 255, 255]]
    assert gray_levels(amplitude).dtype == np.uint8


@pytest.mark.parametrize("peak", [8.0, 200.0])
def test_a_ship_is_boxed_whether_dim_or_bright(peak: float) -> None:
    chip = np.abs(clutter((64, 64), seed=2))
    chip[30:36, 20:45] = peak
    chip[33, 10:55] = np.maximum(chip[33, 10:55], peak / 40)  # side lobes in range
    ship = find_ship(chip)
    assert ship is not None
    (rows, columns) = ndimage.find_objects(ship.astype(int))[0]
    assert (rows.start, rows.stop, columns.start, columns.stop) == pytest.approx((30, 36, 20, 45), abs=1)


@pytest.mark.parametrize("places", [[], [(30, 0)], [(30, 10), (10, 40)]], ids=["none", "at the edge", "two"])
def test_chips_without_a_single_whole_ship_are_left_out(places: list[tuple[int, int]]) -> None:
    chip = np.abs(clutter((64, 64), seed=3))
    for row, column in places:
        chip[row : row + 5, column : column + 12] = 20
    assert find_ship(chip) is None


def test_boxes_enclose_the_ships_and_nothing_else_stands_out() -> None:
    sea, ships = sea_patches(load_patches(None, "s1", "train")), ship_chips(load_patches(None, "opensarship", "train"))
    for seed in range(3):
        scene = compose_scene(sea, ships, FEW_SCENES, np.random.default_rng(seed))
        assert FEW_SCENES.fewest <= len(scene.boxes) <= FEW_SCENES.most
        bright = np.sqrt(ndimage.uniform_filter(scene.amplitude.astype(float) ** 2, 3))
        bright = bright > 2.7 * np.median(bright)
        inside = np.zeros_like(bright)
        for x, y, width, height in scene.boxes:
            assert x >= 0
            assert y >= 0
            assert max(x + width, y + height) <= FEW_SCENES.size
            assert not inside[y : y + height, x : x + width].any(), "boxes overlap"
            inside[y : y + height, x : x + width] = True
            found = bright[y : y + height, x : x + width]
            assert found.any(axis=1).mean() > 0.7
            assert found.any(axis=0).mean() > 0.7
        assert (bright & ~inside).sum() < 20


def test_a_ship_keeps_its_contrast_to_the_sea() -> None:
    chip = clutter((64, 64), seed=4) * 50
    chip[28:36, 20:45] = 50 * 30
    (ship,) = ship_chips(Patches(chip[None], np.zeros(1, int), ("Tanker",)))
    sea = clutter((8, 64, 64), seed=5) * 12
    settings = SceneSettings(1, 1, 1, size=256, fewest=1, most=1)
    scene = compose_scene(sea, [ship], settings, np.random.default_rng(0))
    expected = np.abs(chip).max() / np.median(np.abs(chip))
    assert scene.amplitude.max() / np.median(scene.amplitude) == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
def test_scenes_are_a_coco_data_set_that_depends_on_the_seed_alone(tmp_path: Path) -> None:
    assert compose_scenes(None, tmp_path / "a", FEW_SCENES, progress=False)
    assert compose_scenes(None, tmp_path / "b", FEW_SCENES, progress=False)
    for split, count in zip(SPLITS, (2, 1, 1), strict=True):
        text = (tmp_path / "a" / "annotations" / f"{split}.json").read_text()
        assert text == (tmp_path / "b" / "annotations" / f"{split}.json").read_text()
        coco = json.loads(text)
        assert len(coco["images"]) == count
        assert [c["name"] for c in coco["categories"]] == ["ship"]
        assert {a["image_id"] for a in coco["annotations"]} == {i["id"] for i in coco["images"]}
        assert len({a["id"] for a in coco["annotations"]} - {0}) == len(coco["annotations"])
        for image in coco["images"]:
            with Image.open(tmp_path / "a" / split / image["file_name"]) as picture:
                assert (picture.mode, picture.size) == ("L", (image["width"], image["height"]))
                other = Image.open(tmp_path / "b" / split / image["file_name"])
                assert (np.asarray(picture) == np.asarray(other)).all()


def test_regions_are_many_and_their_borders_irregular() -> None:
    regions = region_map(128, 6, np.random.default_rng(0))
    assert set(np.unique(regions)) <= set(range(6))
    assert len(np.unique(regions)) >= 5
    # A straight border lies in at most one piece of a row: bent ones are met at many different columns
    steps = np.argwhere(np.diff(regions, axis=1) != 0)
    assert len(np.unique(steps[:, 1])) > 60


def test_masks_name_the_class_of_every_pixel_and_splits_do_not_mix(tmp_path: Path) -> None:
    classes = ["agriculture", "forest", "water"]

    def level(split: str, label: int) -> int:
        return 3 ** (1 + 3 * SPLITS.index(split) + label)

    write_packed(tmp_path, "s1", classes, level)
    assert compose_mosaics(tmp_path, tmp_path / "out", FEW_MOSAICS, progress=False)
    assert (tmp_path / "out" / "classes.txt").read_text().split() == classes
    for split in SPLITS:
        for file in (tmp_path / "out" / "img_dir" / split).iterdir():
            image = np.asarray(Image.open(file)).astype(int)
            mask = np.asarray(Image.open(tmp_path / "out" / "ann_dir" / split / file.name))
            for label in np.unique(mask):
                lowest = level(split, int(label))
                limits = gray_levels(np.array([[lowest, 2 * lowest]], float))[0]  # equal signals add up in seams
                assert limits[0] <= image[mask == label].min() <= image[mask == label].max() <= limits[1] + 1


def test_scenes_hold_patches_of_their_split_only(tmp_path: Path) -> None:
    levels = {"train": 10, "val": 100, "test": 1000}
    write_packed(tmp_path, "s1", ["forest", "water"], lambda split, label: levels[split] if label else 1)
    for split, level in levels.items():
        sea = sea_patches(load_patches(tmp_path, "s1", split))
        assert np.abs(sea) == pytest.approx(level)


@pytest.mark.slow
def test_no_class_of_a_mosaic_is_rarer_than_another() -> None:
    patches = land_cover(load_patches(None, "s1", "train"))
    assert patches.class_names == ("sea", "urban", "fields", "forest")
    settings = MosaicSettings(1, 1, 1, size=128, fewest=8, most=8)
    rng = np.random.default_rng(0)
    shares = np.mean(
        [np.bincount(compose_mosaic(patches, settings, rng).mask.ravel(), minlength=4) for _ in range(40)], axis=0
    )
    assert shares / shares.sum() == pytest.approx([0.25] * 4, abs=0.06)


@pytest.mark.parametrize("options", [{"train": 0}, {"fewest": 5, "most": 4}, {"most": 30}, {"size": 64}, {"seed": -1}])
def test_impossible_scenes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=r"expected|room"):
        SceneSettings(**options)


@pytest.mark.slow
def test_real_chips_are_boxed_and_water_is_empty(test_data: Path) -> None:
    ships = ship_chips(load_patches(test_data / "data" / "dsn", "opensarship", "val"))
    assert len(ships) > 100
    widths, heights = np.array([ship.box[2:] for ship in ships]).T
    assert 25 < np.median(widths) < 40
    assert 6 < np.median(heights) < 18
    assert len(sea_patches(load_patches(test_data / "data" / "dsn", "s1", "val"))) > 40
