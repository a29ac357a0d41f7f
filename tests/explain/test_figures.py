"""Pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarhub_models.errors import OptionError, UnknownNameError
from sarhub_models.explain import bootstrap
from sarhub_models.explain.figures import (
    PALETTES,
    View,
    chip_figure,
    decibels,
    distribution_figure,
    grid_figure,
    point_kinds,
)
from sarhub_models.io.figures import save_figure


def view(cam: bool = False) -> View:
    patches = np.zeros((4, 4), np.uint8)
    patches[1, 1], patches[1, 2] = 1, 2
    entropy = np.zeros((4, 4))
    entropy[1, 1] = entropy[3, 3] = -4
    chip = np.random.default_rng(0).random((30, 30))
    return View(chip, patches, 8, None if cam else entropy, chip if cam else None, "chip")


def test_decibels_are_stretched_between_percentiles() -> None:
    shown = decibels(np.array([0.0, 0.01, 0.1, 1.0]), low=0, high=100)
    assert shown == pytest.approx([0, 0, 0.5, 1])
    assert (decibels(np.zeros((3, 3))) == 0).all()


def test_each_patch_is_one_of_six_kinds() -> None:
    kinds = point_kinds(view().entropy, view().patches, 0.5)
    assert kinds[1].tolist() == [0, 4, 2, 0]
    assert kinds[3, 3] == 3


@pytest.mark.slow
@pytest.mark.parametrize("palette", list(PALETTES))
@pytest.mark.parametrize("cam", [False, True])
def test_pictures_are_written(palette: str, cam: bool, tmp_path: Path) -> None:
    figure = chip_figure(view(cam), thresholds=(0.25, 0.5), palette=palette)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert ("target KP" in labels) == (not cam)
    first = save_figure(figure, tmp_path / "new" / "a.png")
    with Image.open(first) as picture:
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    save_figure(
        grid_figure({"one": [view(cam)], "two": [view(cam)]}, threshold=0.3, palette=palette), tmp_path / "b.pdf"
    )
    assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")


def test_a_knowledge_point_has_the_color_of_the_legend() -> None:
    figure = chip_figure(view(), thresholds=(0.5,), palette="colorblind")
    image = figure.axes[1].images[0]  # axes: amplitude, map at b, …
    drawn = image.cmap(image.norm(image.get_array()))[12, 12]
    handle = next(h for h in figure.legends[0].get_patches() if h.get_label() == "target KP")
    assert tuple(drawn) == handle.get_facecolor()


def test_distributions_show_every_chip_and_the_interval() -> None:
    values = np.array([0.1, 0.2, np.nan])
    figure = distribution_figure({"b": {"net": values}}, {"b": {"net": bootstrap(values)}}, "share", chance=0.3)
    (axis,) = figure.axes
    assert len(axis.lines[0].get_xdata()) == 2
    assert axis.get_ylabel() == "share"
    panels = {f"b = {number}": {"net": values} for number in range(4)}
    figure = distribution_figure(panels, {name: {"net": bootstrap(values)} for name in panels}, "share")
    assert [axis.get_title() for axis in figure.axes] == list(panels)
    assert figure.axes[3].get_position().y0 < figure.axes[0].get_position().y0  # wraps, and stays legible


def test_wrong_arguments_say_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="colorblind"):
        chip_figure(view(), palette="colorful")
    with pytest.raises(OptionError, match="same chips"):
        grid_figure({"one": [view()], "two": []})
