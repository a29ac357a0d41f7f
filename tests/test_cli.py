"""The command line, run as users and scripts run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import sarhub_models
from sarhub_models.cli import main
from sarhub_models.registry import list_models, manifest_path
from sarhub_models.weights import Store
from tests.weights.loopback import Fault, FileServer

MODEL = "mobilenetv3_osu"


def child(code: str, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **(environ or {})})


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    file = tmp_path_factory.mktemp("released") / "MobileNetV3_OSU.pth"
    torch.save(sarhub_models.create_model(MODEL).state_dict(), file)
    return file


@pytest.fixture
def served(server: FileServer, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A list of weights whose model is on the loopback server."""
    manifest = json.loads(manifest_path().read_text())
    manifest["models"] = {MODEL: {**manifest["models"][MODEL], "sources": [{"type": "http", "url": f"{server.url}/w"}]}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
    server.files["/w"] = checkpoint.read_bytes()
    return server


def only_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.strip()


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


@pytest.mark.parametrize("arguments", [[], ["--help"], ["list"], ["list", "--json"], ["info", MODEL], ["cache"]])
def test_answers_without_heavy_imports(arguments: list[str]) -> None:
    code = (
        "import sys; from sarhub_models.cli import main; code = main(sys.argv[1:]);"
        "print(code, [m for m in ('torch', 'timm', 'numpy', 'torchvision') if m in sys.modules], file=sys.stderr)"
    )
    result = child(code, *arguments)
    assert result.stderr == "0 []\n"
    assert result.stdout


def test_list_prints_every_model_unbroken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "network", "data", "bands", "unit", "classes", "params", "here"]
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
    assert entry["licence"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "resnet5_ben"], "did you mean 'resnet50_ben'"),
        (["info"], "NAME"),
        (["list", "--network", "resnet19"], "no network is called 'resnet19'"),
        (["list", "--netwrk", "x"], "--netwrk"),
        (["lst"], "lst"),
        (["download"], "--all"),
        (["download", "resnet50_ben", "--all"], "--all"),
        (["download", "resnet50_bem"], "did you mean 'resnet50_ben'"),
        (["verify", "nonsense"], "nonsense"),
        (["cache", "remove", "nonsense"], "nonsense"),
        (["export", MODEL, "--out", "x", "--format", "tflite"], "tflite"),
        (["export", MODEL, "--out", "x", "--untrained", "--checkpoint", "y"], "not both"),
        (["publish", MODEL, "--repo", "a/b", "--dry-run"], "--out"),
    ],
)
def test_wrong_calls_end_with_2_and_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in only_line(err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["download", "resnet50_ben"], "SARHUB_OFFLINE"),
        (["verify", "resnet50_ben"], "resnet50_ben"),
        (["cache", "remove", "resnet50_ben"], "resnet50_ben"),
        (["import", "/nowhere/weights.pth"], "/nowhere/weights.pth"),
        (["publish", "resnet50_ben", "--repo", "a/b", "--i-have-permission"], "SARHUB_OFFLINE"),
    ],
)
def test_failures_end_with_1_and_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    assert main(arguments) == 1
    assert words in only_line(capsys.readouterr().err)


def test_bugs_are_one_line_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Store) -> list[Any]:
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(Store, "entries", broken)
    assert main(["cache"]) == 1
    assert "unexpected ZeroDivisionError: first line second line" in only_line(capsys.readouterr().err)
    monkeypatch.setenv("SARHUB_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["cache"])


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


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


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


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of three chips in [0, 1], one of them in a subfolder."""
    rng = np.random.default_rng(0)
    for name in ("a.npy", "b.npy", "sub/c.npy"):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, rng.random((32, 32), dtype=np.float32))
    return tmp_path / "images"


def test_features_of_a_folder(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "features.safetensors"
    command = ["features", str(images), "--model", MODEL, "--checkpoint", str(checkpoint), "--out", str(out)]
    assert main([*command, "--device", "cpu"]) == 0
    assert "3 images, 1024 features" in capsys.readouterr().out
    with safe_open(out, "np") as file:
        assert json.loads(file.metadata()["names"]) == ["a.npy", "b.npy", "sub/c.npy"]
        values = file.get_tensor("features")
    model = sarhub_models.create_model(MODEL, checkpoint_path=checkpoint, num_classes=0).eval()
    chip = sarhub_models.create_transform(MODEL)(np.load(images / "sub" / "c.npy"))
    with torch.inference_mode():
        np.testing.assert_allclose(values[2], model(chip[None])[0], rtol=1e-4, atol=1e-5)


def test_features_of_a_folder_with_a_bad_image(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(images / "b.npy", np.full((32, 32), np.nan))
    out = tmp_path / "features.safetensors"
    command = ["features", str(images), "--model", MODEL, "--checkpoint", str(checkpoint), "--out", str(out)]
    assert main(command) == 1
    assert "b.npy" in only_line(capsys.readouterr().err)
    assert not out.exists()
    assert main([*command, "--on-error", "skip", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 2
    assert list(result["skipped"]) == ["b.npy"]


def test_features_of_digital_numbers_says_what_to_do(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads(manifest_path().read_text())
    entry = manifest["models"][MODEL]
    preprocessing = {**manifest["datasets"][entry["dataset"]]["preprocessing"], "full_scale": 65535}
    manifest["models"] = {MODEL: {**entry, "preprocessing": preprocessing}, "other": entry}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
    np.save(images / "b.npy", np.full((32, 32), 300.0))
    tried = "these weights were trained with amplitude / 65535: try --full-scale 65535"

    def said(model: str, *more: str) -> str:
        out = tmp_path / "features.safetensors"
        main(["features", str(images), "--model", model, "--checkpoint", str(checkpoint), "--out", str(out), *more])
        return capsys.readouterr().err

    message = only_line(said(MODEL))
    assert "--on-error skip" in message
    assert tried in message
    message = only_line(said("other"))
    assert "--full-scale NUMBER" in message
    assert "65535" not in message
    assert tried in said(MODEL, "--on-error", "skip")
    np.save(images / "b.npy", np.zeros((32, 32)))
    message = only_line(said(MODEL, "--full-scale", "2"))
    assert "all pixels are equal" in message
    assert "--on-error skip" in message
    assert "--full-scale" not in message


@pytest.mark.parametrize(
    ("change", "words"),
    [(["--device", "tpu"], "tpu"), (["--out", "features.npz"], ".safetensors"), (["--model", "nonsense"], "nonsense")],
)
def test_features_checks_its_options(
    change: list[str], words: str, images: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["features", str(images), "--model", MODEL, "--checkpoint", str(checkpoint), "--out", "x.safetensors"]
    assert main([*command, *change]) == 2
    assert words in only_line(capsys.readouterr().err)


def test_cache_clear_asks(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(checkpoint)]) == 0
    command = "import sys; from sarhub_models.cli import main; sys.exit(main(['cache', 'clear']))"
    refused = subprocess.run([sys.executable, "-c", command], input="n\n", capture_output=True, text=True, timeout=60)
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


def test_interrupt_ends_with_130_and_one_line(served: FileServer) -> None:
    served.faults["/w"] = [Fault(after=1000, stall=True)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sarhub_models", "download", MODEL], stderr=subprocess.PIPE, text=True
    )
    try:
        assert served.stalled.wait(90)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert only_line(err) == "sarhub: interrupted"


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    code = (
        "import os, sys; from sarhub_models.cli import main; read, write = os.pipe(); os.close(read);"
        "os.dup2(write, 1); sys.exit(main(['list']))"
    )
    result = child(code)
    assert result.returncode == 1
    assert result.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sarhub-models {sarhub_models.__version__}\n"


def test_every_command_shows_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    commands = capsys.readouterr().out.partition("Commands:")[2].split("\n")[1:]
    names = [line.split()[0] for line in commands if line.strip()]
    expected = "list info download verify import features export publish demo compare index cache explain"
    assert names == expected.split()
    for name in names:
        assert main([name, "--help"]) == 0
        assert f"sarhub {name}" in capsys.readouterr().out.partition("Examples:")[2]
