"""Output of the command line: exit codes, one line for a failure, help."""

from __future__ import annotations

import pkgutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sarhub_models
from sarhub_models.cli import commands, main
from sarhub_models.weights import Store
from tests.weights.loopback import Fault, FileServer

from .conftest import MODEL, child, only_line


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--help"], ["list"], ["list", "--json"], ["info", MODEL], ["cache"]])
def test_answers_without_heavy_imports(arguments: list[str]) -> None:
    heavy = {"torch", "timm", "torchvision", "pandas", "scipy", "rasterio"}
    if "info" not in arguments:  # it describes the operator, whose module is of NumPy
        heavy.add("numpy")
    code = (
        "import sys; from sarhub_models.cli import main; heavy = sys.argv.pop(1).split(','); code = main(sys.argv[1:]);"
        "print(code, [m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    result = child(code, ",".join(sorted(heavy)), *arguments)
    assert result.stderr == "0 []\n"
    assert result.stdout


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


@pytest.mark.slow
def test_interrupt_ends_with_130_and_one_line(served: FileServer) -> None:
    served.faults["/w"] = [Fault(after=1000, stall=True)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sarhub_models", "download", MODEL], stderr=subprocess.PIPE, text=True
    )
    try:
        assert served.stalled.wait(600)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130
    assert only_line(err) == "sarhub: interrupted"


@pytest.mark.slow
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


@pytest.mark.slow
def test_every_command_shows_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].split("\n")[1:]
    names = [line.split()[0] for line in listed if line.strip()]
    assert sorted(names) == sorted({module.name.rstrip("_") for module in pkgutil.iter_modules(commands.__path__)})
    for name in names:
        assert main([name, "--help"]) == 0
        assert f"sarhub {name}" in capsys.readouterr().out.partition("Examples:")[2]


@pytest.mark.slow
def test_a_new_module_is_a_new_command(tmp_path: Path) -> None:
    (tmp_path / "hello_world.py").write_text(
        "def command(name: str, loud: bool = False) -> None:\n"
        '    """Greet.\n\n    Examples: sarhub hello-world you\n    """\n'
        "    print(f'hello {name}')\n"
    )
    (tmp_path / "group_of").mkdir()
    (tmp_path / "group_of" / "__init__.py").write_text("import typer\n\ngroup = typer.Typer()\n")
    (tmp_path / "group_of" / "import_.py").write_text("def command() -> None:\n    print('grouped')\n")
    code = (
        "import sys; from sarhub_models.cli import commands; commands.__path__.append(sys.argv.pop(1));"
        "import importlib, sarhub_models.cli as cli; importlib.reload(cli); sys.exit(cli.main(sys.argv[1:]))"
    )
    assert "hello-world" in child(code, str(tmp_path), "--help").stdout
    assert child(code, str(tmp_path), "hello-world", "you").stdout == "hello you\n"
    assert child(code, str(tmp_path), "group-of", "import").stdout == "grouped\n"
