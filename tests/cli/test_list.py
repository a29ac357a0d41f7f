"""``sarhub list``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sarhub_models.cli import main
from sarhub_models.zoo.manifest import list_models, manifest_path

from .conftest import MODEL, child, only_line


@pytest.mark.slow
def test_bundled_weights_are_listed_without_heavy_imports(tmp_path: Path) -> None:
    manifest = json.loads(manifest_path().read_text())
    entry = {**manifest["models"][MODEL], "sources": [{"type": "bundled", "file": "toy.safetensors"}]}
    manifest["models"] = {MODEL: entry}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "toy.safetensors").write_bytes(b"")
    code = (
        "import pathlib, sys; from sarhub_models.cli import main; from sarhub_models.weights import sources;"
        "sources.BUNDLED = pathlib.Path(sys.argv[1]); code = main(['list', '--json']);"
        "print(code, [m for m in ('torch', 'timm', 'numpy') if m in sys.modules], file=sys.stderr)"
    )
    result = child(code, str(tmp_path), environ={"SARHUB_MANIFEST": str(tmp_path / "manifest.json")})
    assert result.stderr == "0 []\n"
    assert [row["here"] for row in json.loads(result.stdout)] == ["bundled"]


def test_list_prints_every_model_unbroken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "network", "data", "bands", "radiometry", "classes", "params", "here"]
    assert [line.split()[0] for line in lines] == list_models()


def test_list_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "resnet*", "--dataset", "ben", "--network", "resnet50", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "resnet50_ben"
    assert row["num_classes"] == 19
    assert row["here"] is None


def test_list_without_match_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "vgg*"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "no model matches 'vgg*'" in only_line(err)


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
def test_a_terminal_of_any_width_breaks_no_name(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["list"]) == 0
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    header, *lines = lines
    assert [line.split()[0] for line in lines] == list_models()
    shown = header.split()
    assert ("bands" in shown) == (width >= 60) and ("classes" in shown) == (width >= 120)
    assert ("network" in shown) == (width >= 200)
    assert max(map(len, lines)) <= max(width, *map(len, list_models()))
