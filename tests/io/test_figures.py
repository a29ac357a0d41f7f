"""Figures are replaced whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sarhub_models.errors import OptionError
from sarhub_models.io.figures import save_figure


@pytest.mark.parametrize("name", ["a.png", "a.pdf"])
def test_the_same_figure_is_the_same_file(name: str, tmp_path: Path) -> None:
    first = save_figure(Figure(), tmp_path / "new" / name).read_bytes()
    assert save_figure(Figure(), tmp_path / name).read_bytes() == first


def test_a_figure_that_cannot_be_drawn_leaves_the_one_before(tmp_path: Path) -> None:
    file = save_figure(Figure(), tmp_path / "a.png")
    content, broken = file.read_bytes(), Figure()
    broken.suptitle("$\\frac{1}$")
    with pytest.raises(ValueError, match="frac"):
        save_figure(broken, file)
    assert file.read_bytes() == content and list(tmp_path.iterdir()) == [file]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.pdf"):
        save_figure(Figure(), tmp_path / "a.jpg")
