"""Install the MM packages: ``python -m benchmarks.mm.install [--cache DIR]``, which ``make test-mm`` calls.

MMCV's operations are compiled against the PyTorch that is installed, for the CPU, which takes a quarter of an hour on
two cores. The wheel is kept in a folder for that release of PyTorch and Python, and is only built where there is none.
Where everything is there and works, nothing is done.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from sarhub_models.errors import MissingDependencyError, SarHubError

__all__ = ["find_wheel", "install", "main", "needs_cxx20", "requirements", "wheel_folder", "works"]

CACHE = Path("~/.cache/sarhub-models/wheels")
_MMCV = "onedl-mmcv"
_WRAPPER = Path(__file__).with_name("cxx20")
_TOOLS = (
    "setuptools<81",
    "wheel",
    "ninja",
    "psutil",
)  # MMCV's build imports pkg_resources, which setuptools 81 dropped
# Every package is imported, and one compiled operation gives what it should: of two boxes that overlap, one stays.
_CHECK = """
import torch, mmcv.ops, mmdet.models, mmseg.models
boxes = torch.tensor([[0., 0., 10., 10.], [1., 0., 10., 10.], [20., 20., 30., 30.]])
assert mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1].tolist() == [0, 2]
"""


def requirements(extra: str = "mm") -> list[Requirement]:
    """Return what an extra of this package asks for, as its installed metadata say."""
    found = [Requirement(text) for text in metadata.requires("sarhub-models") or []]
    return [
        entry
        for entry in found
        if entry.marker is not None
        and entry.marker.evaluate({"extra": extra})
        and not entry.marker.evaluate({"extra": ""})
    ]


def satisfied(entry: Requirement) -> bool:
    """Return whether a requirement is installed in a release that it allows."""
    try:
        return entry.specifier.contains(metadata.version(entry.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def works() -> str | None:
    """Import the MM packages in a new process and run an operation; return what is wrong, ``None`` for nothing."""
    done = subprocess.run([sys.executable, "-c", _CHECK], capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def wheel_folder(cache: Path) -> Path:
    """Return the folder for wheels that fit the PyTorch, the Python and the platform that run this."""
    tag = next(sys_tags())
    return cache.expanduser() / f"{torch.__version__}-{tag}"


def find_wheel(folder: Path, entry: Requirement) -> Path | None:
    """Return the newest wheel of a folder that a requirement allows."""
    wheels = {parse_wheel_filename(file.name)[1]: file for file in folder.glob(f"{entry.name.replace('-', '_')}-*.whl")}
    allowed = [version for version in wheels if entry.specifier.contains(version, prereleases=True)]
    return wheels[max(allowed)] if allowed else None


def needs_cxx20() -> bool:
    """Return whether the headers of the installed PyTorch refuse C++17, which MMCV's build asks for."""
    header = Path(torch.__file__).parent / "include" / "torch" / "csrc" / "api" / "include" / "torch" / "all.h"
    return "__cplusplus < 202002L" in header.read_text(encoding="utf-8")


def build_environment(current: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of MMCV's build."""
    environment = {**current, "MMCV_WITH_OPS": "1", "FORCE_CUDA": "0"}
    environment["CUDA_VISIBLE_DEVICES"] = ""  # where a GPU is seen, a CUDA compiler is looked for
    environment.setdefault("MAX_JOBS", str(os.cpu_count() or 1))
    if needs_cxx20():
        environment["CXX_BEHIND"] = current.get("CXX", "c++")
        environment["CXX"] = environment["CC"] = str(_WRAPPER)
    return environment


def build(folder: Path, entry: Requirement) -> Path:
    """Build the wheel into a folder, where it appears whole, and return its path."""
    _pip("install", "--quiet", *_TOOLS)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        # pip's own cache knows wheels by name only, and would give one that was built for another PyTorch.
        options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", f"--no-binary={entry.name}")
        requirement = f"{entry.name}{entry.specifier}"
        _pip("wheel", *options, "--wheel-dir", temporary, requirement, environment=build_environment(os.environ))
        (wheel,) = Path(temporary).glob("*.whl")
        return Path(shutil.move(wheel, folder / wheel.name))


def install(cache: Path) -> str:
    """Install what is missing, and return what was done in one line.

    Raises:
        MissingDependencyError: pip or the build failed, or what is installed does not work.
    """
    entries = requirements()
    if all(map(satisfied, entries)) and works() is None:
        return "the MM packages are there and work"
    (mmcv,) = (entry for entry in entries if entry.name == _MMCV)
    folder = wheel_folder(cache)
    wheel = find_wheel(folder, mmcv)
    done = "installed"
    if wheel is None:
        print(f"building {mmcv} for PyTorch {torch.__version__}; this takes a while", flush=True)
        wheel, done = build(folder, mmcv), "built and installed"
    others = [str(entry).partition(";")[0] for entry in entries if entry is not mmcv]
    _pip("install", "--quiet", str(wheel), *others)
    _pip("install", "--quiet", "--force-reinstall", "--no-deps", str(wheel))  # also where one for another PyTorch was
    if "libGL" in (works() or ""):
        version = metadata.version("opencv-python")
        _pip("install", "--quiet", "--force-reinstall", "--no-deps", f"opencv-python-headless=={version}")
    if (fault := works()) is not None:
        raise MissingDependencyError(f"the MM packages were installed but do not work: {fault}")
    return f"{done} {wheel.name} and {', '.join(others)}"


def _pip(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    if (code := subprocess.run(command, env=environment).returncode) != 0:
        raise MissingDependencyError(f"'{' '.join(command[1:])}' ended with status {code}; its messages are above")


def main(arguments: list[str] | None = None) -> None:
    """Install, and say what was done."""
    parser = argparse.ArgumentParser(description="Install MMCV with its operations, MMDetection and MMSegmentation.")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help=f"of built wheels (default {CACHE})")
    try:
        print(install(parser.parse_args(arguments).cache))
    except SarHubError as err:
        sys.exit(f"error: {err}")


if __name__ == "__main__":
    main()
