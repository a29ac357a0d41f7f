import os
import subprocess
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from benchmarks.mm import install as mm_install
from sarhub_models.errors import MissingDependencyError

MMCV = Requirement("onedl-mmcv>=2.3.6")
WRAPPER = Path(mm_install.__file__).with_name("cxx20")


def wheel(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"onedl_mmcv-{version}-cp311-cp311-linux_x86_64.whl"
    file.touch()
    return file


@pytest.fixture
def calls(monkeypatch):
    """What would be installed and built, in place of doing it: at first nothing works, afterwards all does."""
    made: list[str] = []
    monkeypatch.setattr(mm_install, "satisfied", lambda entry: bool(made))
    monkeypatch.setattr(mm_install, "works", lambda: None if made else "ImportError: no module mmcv")
    monkeypatch.setattr(mm_install, "_pip", lambda *arguments, **_: made.append(" ".join(arguments)))

    def build(folder, entry):
        made.append("build")
        return wheel(folder, "2.3.6")

    monkeypatch.setattr(mm_install, "build", build)
    return made


def test_the_extra_names_the_four_packages():
    names = {entry.name for entry in mm_install.requirements()}
    assert names == {"onedl-mmcv", "onedl-mmengine", "onedl-mmdetection", "onedl-mmsegmentation"}


def test_the_newest_wheel_that_is_allowed(tmp_path):
    assert mm_install.find_wheel(tmp_path, MMCV) is None
    wheel(tmp_path, "2.3.5")
    assert mm_install.find_wheel(tmp_path, MMCV) is None
    newest = wheel(tmp_path, "2.3.10")
    wheel(tmp_path, "2.3.9")
    assert mm_install.find_wheel(tmp_path, MMCV) == newest


def test_wheels_are_kept_by_release_of_pytorch_and_python(tmp_path):
    folder = mm_install.wheel_folder(tmp_path)
    assert folder.parent == tmp_path and folder.name.startswith(f"{torch.__version__}-cp3")


def test_built_once_then_taken_from_the_cache(tmp_path, calls):
    assert mm_install.install(tmp_path).startswith("built and installed")
    assert calls[0] == "build" and sum("onedl-mmdetection" in call for call in calls) == 1
    calls.clear()
    assert mm_install.install(tmp_path).startswith("installed onedl_mmcv-2.3.6")
    assert "build" not in calls
    before = list(calls)
    assert "are there and work" in mm_install.install(tmp_path)
    assert calls == before


def test_what_does_not_work_in_the_end_is_an_error(tmp_path, calls, monkeypatch):
    monkeypatch.setattr(mm_install, "works", lambda: "ImportError: libGL.so.1: no such file")
    monkeypatch.setattr(mm_install.metadata, "version", lambda name: "4.12.0.88")
    with pytest.raises(MissingDependencyError, match="do not work: ImportError: libGL"):
        mm_install.install(tmp_path)
    assert "opencv-python-headless==4.12.0.88" in calls[-1]


@pytest.mark.skipif(os.name != "posix", reason="the wrapper is a shell script")
def test_the_wrapper_raises_the_standard_and_nothing_else(tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    compiler.chmod(0o755)
    arguments = ["-std=c++17", "-c", "a file.cpp", "-DX=-std=c++17", "-O3"]
    environment = {**os.environ, "CXX_BEHIND": str(compiler)}
    done = subprocess.run([WRAPPER, *arguments], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines() == ["-std=c++20", *arguments[1:]]


@pytest.mark.parametrize("newer", [True, False])
def test_the_wrapper_is_used_where_pytorch_needs_it(monkeypatch, newer):
    monkeypatch.setattr(mm_install, "needs_cxx20", lambda: newer)
    environment = mm_install.build_environment({"PATH": "/bin", "CXX": "clang++"})
    assert (environment["MMCV_WITH_OPS"], environment["FORCE_CUDA"], environment["PATH"]) == ("1", "0", "/bin")
    assert environment["CXX"] == (str(WRAPPER) if newer else "clang++")
    assert environment.get("CXX_BEHIND") == ("clang++" if newer else None)


def test_pytorch_says_which_standard_it_needs():
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version <= (2, 10) or version >= (2, 14):
        assert mm_install.needs_cxx20() == (version >= (2, 14))
