"""Prepared folders: complete or not at all, never of two settings, never over what others wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mm.prepared import RECORD, prepare_folder
from sarhub_models.errors import DataError, OptionError


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    def fill(folder: Path) -> None:
        assert not list(folder.iterdir()), "what an interrupted run left is gone"
        (folder / "whole").write_text("")

    with pytest.raises(KeyboardInterrupt):
        prepare_folder(tmp_path / "out", {"seed": 0}, fail)
    assert not (tmp_path / "out").exists()
    assert prepare_folder(tmp_path / "out", {"seed": 0}, fill)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [RECORD, "whole"]


def test_a_folder_is_neither_written_twice_nor_mixed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare_folder(out, {"seed": 0, "patches": {"s1": "a"}}, lambda folder: None)
    assert not prepare_folder(out, {"seed": 0, "patches": {"s1": "a"}}, lambda folder: pytest.fail("written again"))
    with pytest.raises(OptionError, match="seed: 0 there, 1 now"):
        prepare_folder(out, {"seed": 1, "patches": {"s1": "a"}}, lambda folder: None)
    with pytest.raises(OptionError, match="patches"):
        prepare_folder(out, {"seed": 0, "patches": "simulated"}, lambda folder: None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="not empty"):
        prepare_folder(tmp_path / "mine", {}, lambda folder: None)
    assert (tmp_path / "mine" / "thesis.tex").is_file()
