"""The cache: ``download``, ``verify``, ``cache``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sarhub_models.cli import main
from sarhub_models.weights import Store
from tests.weights.loopback import FileServer

from .conftest import MODEL, only_line


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_download_verify_and_cache(served: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", MODEL, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["error"] is None
    assert Path(result["path"]).stat().st_size == result["bytes"]

    assert main(["download", "--all"]) == 0
    assert capsys.readouterr().out.startswith(MODEL)
    assert len(served.log) == 1

    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["here"] == "cached"
    assert main(["cache", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["source"] == f"{served.url}/w"
    assert main(["cache"]) == 0
    assert MODEL in capsys.readouterr().out
    assert main(["cache", "path"]) == 0
    assert Path(result["path"]).is_relative_to(capsys.readouterr().out.strip())

    assert main(["verify"]) == 0
    assert capsys.readouterr().out.split()[:2] == [MODEL, "ok"]
    damage(Path(result["path"]))
    assert main(["verify", MODEL, "--json"]) == 1
    out, err = capsys.readouterr()
    assert [(v["name"], v["ok"]) for v in json.loads(out)] == [(MODEL, False)]
    only_line(err)


@pytest.mark.slow
def test_cache_clear_asks(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(checkpoint)]) == 0
    command = "import sys; from sarhub_models.cli import main; sys.exit(main(['cache', 'clear']))"
    refused = subprocess.run([sys.executable, "-c", command], input="n\n", capture_output=True, text=True, timeout=600)
    assert refused.returncode == 130
    assert len(Store().entries()) == 1
    put_aside = Store().root / "quarantine" / "old-0123456789ab"
    put_aside.parent.mkdir()
    put_aside.write_bytes(b"x")
    capsys.readouterr()
    assert main(["cache", "clear", "--yes"]) == 0
    assert "removed 2 files" in capsys.readouterr().out
    assert Store().entries() == []
    assert not put_aside.exists()
    assert main(["cache", "clear", "--yes", "--forget-pins"]) == 0
    assert "removed 1 files" in capsys.readouterr().out
    assert main(["cache", "clear", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("interrupted downloads", "quarantine", "first downloads"))
