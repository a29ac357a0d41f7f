"""What there is, and getting it: ``list``, ``info``, ``download``, ``import``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sarhub_models.cli import main
from sarhub_models.zoo.manifest import list_models, manifest_path
from tests.weights.loopback import Fault, FileServer

from .conftest import MODEL, child, only_line


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


def test_info_shows_the_numbers_of_the_preprocessing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "resnet50_ben"]) == 0
    out = capsys.readouterr().out
    for fact in (
        "0.0005743462",
        "p = 1",
        "10.3390/rs15235534",
        "hy50",
        "drive.google.com",
        'create_model("resnet50_ben"',
    ):
        assert fact in out


def test_nothing_is_cut_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["info", "resnet50_ben"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert 'model = sarhub.create_model("resnet50_ben", pretrained=True).eval()' in out.splitlines()
    plain = re.sub(r"\x1b\[[\d;]*m|\s", "", out)
    assert "https://drive.google.com/drive/folders/11qHjnN-Rc6Sse-hdmaxklNe9rKTTRdlh" in plain


def test_info_json_is_the_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "resnet18_tsx.grsl2020", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert entry["checksum"] == {"algorithm": "git-blob", "value": "96607894248e509a925454f5f8e2113c33e1dcf7"}
    assert entry["preprocessing"]["operator"] == "log_amplitude"
    assert entry["license"] is None


def test_download_goes_on_after_a_failure(served: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    served.faults["/w"] = [Fault(status=403)]
    assert main(["download", MODEL, MODEL, "--json"]) == 1
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert "403" in first["error"]
    assert "403" in only_line(err)
    assert second["error"] is None


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
