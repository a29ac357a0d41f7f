"""``sarhub download``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import sarhub_models
from sarhub_models.cli import main
from tests.weights.loopback import Fault, FileServer

from .conftest import MODEL, only_line


def test_download_goes_on_after_a_failure(served: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    served.faults["/w"] = [Fault(status=403)]
    assert main(["download", MODEL, MODEL, "--json"]) == 1
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert "403" in first["error"]
    assert "403" in only_line(err)
    assert second["error"] is None


def test_a_download_with_another_number_of_classes_than_the_list_says_is_refused(
    served: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(sarhub_models.create_model(MODEL, num_classes=7).state_dict(), tmp_path / "seven.pth")
    served.files["/w"] = (tmp_path / "seven.pth").read_bytes()
    assert main(["download", MODEL]) == 1
    assert "must have the shape (10, 1024), found (7, 1024)" in only_line(capsys.readouterr().err)
    assert list((tmp_path / "cache").glob("*.safetensors")) == []
