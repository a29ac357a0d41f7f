"""``sarhub import``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sarhub_models.cli import main

from .conftest import MODEL, only_line


@pytest.mark.slow
def test_import_says_what_it_decided(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(checkpoint)]) == 0
    assert f"is {MODEL}: its tensors are those of mobilenetv3" in capsys.readouterr().out
    anonymous = tmp_path / "weights.pth"
    anonymous.write_bytes(checkpoint.read_bytes())
    assert main(["import", str(anonymous), "--name", MODEL, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["name"] == MODEL
    assert Path(result["path"]).is_file()


def test_import_refuses_a_truncated_file(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / checkpoint.name
    cut.write_bytes(checkpoint.read_bytes()[:100_000])
    assert main(["import", str(cut)]) == 1
    assert cut.name in only_line(capsys.readouterr().err)
