"""``sarhub download``."""

from __future__ import annotations

import json

import pytest

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
