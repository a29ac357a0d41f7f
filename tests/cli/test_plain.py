"""Names and encodings: nothing that is printed steers the terminal, and no terminal is too poor for it."""

from __future__ import annotations

import io
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pytest

from sarhub_models.cli import commands as commands_package
from sarhub_models.cli import main
from sarhub_models.cli.plain import inert
from sarhub_models.zoo.manifest import list_models, model_info

ENCODINGS = ("ascii", "latin-1", "cp437", "cp850", "cp932", "utf-8")
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red]x[/red]"


def terminal(encoding: str, monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What a terminal of an encoding gets, which refuses characters that it lacks."""
    received = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(received, encoding=encoding, write_through=True))
    return received


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "width"), [*((e, 80) for e in ENCODINGS), ("ascii", 20), ("cp932", 40)])
def test_every_list_and_description_fits_every_terminal(
    encoding: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    one_of_each = {model_info(name).citation: name for name in list_models()}.values()
    assert any(not model_info(name).citation.isascii() for name in one_of_each)
    received = terminal(encoding, monkeypatch)
    for command in (["list"], ["cache"], ["cache", "path"], *(["info", name] for name in one_of_each)):
        assert main(command) == 0
    assert b"create_model(" in received.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_help_fits_every_terminal(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    received = terminal(encoding, monkeypatch)
    commands = [name.rstrip("_") for _, name, _ in pkgutil.iter_modules(commands_package.__path__)]
    for command in commands:
        assert main([command, "--help"]) == 0
    assert received.getvalue().count(b"Usage:") == len(commands)


def test_characters_become_similar_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    received = terminal("cp437", monkeypatch)
    assert main(["features", "--help"]) == 0
    assert b"cuda:1, mps ...; auto" in b" ".join(received.getvalue().split())


@pytest.mark.parametrize("group", [[], ["cache"], ["explain"]])
def test_a_bare_group_is_no_error(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(group) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") > (0 if group == ["cache"] else 5) and err == ""


def test_escape_sequences_are_written_out() -> None:
    assert inert("a\nb\tc ü 日本") == "a\nb\tc ü 日本"
    assert inert(EVIL) == r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red]x[/red]"
    assert inert("\udcff\r\x00") == r"\udcff\r\x00"


@pytest.mark.slow
def test_names_of_files_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / EVIL))
    folder = tmp_path / f"{EVIL.replace('/', '')}"
    folder.mkdir()
    (folder / "a.npy").write_bytes(b"\x93NUMPY" + EVIL.encode())
    np.save(folder / "b.npy", np.zeros((8, 8), np.float32))
    missing = str(folder / "none.pth")
    commands = [
        ["cache", "path"],
        ["info", EVIL],
        [EVIL],
        ["import", missing],
        ["features", str(folder), "--model", "mobilenetv3_dsn", "--out", str(tmp_path / "o.safetensors")],
        ["index", "folder", str(folder)],
        ["explain", "compare", str(folder), str(folder), "--out", str(folder)],
        ["verify", EVIL],
    ]
    for command in commands:
        main(command)
        out, err = capsys.readouterr()
        assert r"\x1b]0;owned\x07" in out + err, command
        assert "[red]x[" in out + err, command
        assert not {c for c in out + err if not c.isprintable()} - {"\n"}, command
