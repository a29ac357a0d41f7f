"""The promise of CONTRIBUTING.md: one addition touches one file of code, and all that lists its kind lists it.

One of each kind is added to a copy of the package, each by one file, and a process of its own looks for them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.renew import schema

ROOT = Path(__file__).parents[1]
NETWORK = '''
"""ResNet-10-T, for a test."""

from ._spec import NetworkSpec

SPECS = {"resnet10t": NetworkSpec(timm_name="resnet10t", stem="conv1.0", head="fc")}
'''
SOURCE = '''

@register
@dataclass(frozen=True)
class Disk(Source):
    """A file on a disk."""

    kind: ClassVar[str] = "disk"
    path: str

    def __str__(self) -> str:
        return self.path

    def text(self) -> str:
        """See :meth:`Source.text`."""
        return f"the file {self.path}"

    def fetch(self, destination: Path, *, progress: Progress | None = None) -> None:
        """See :meth:`Source.fetch`."""
        shutil.copyfile(self.path, destination)
'''
DATASET = '''
"""Chips of a sensor that nobody has, for a test."""

from ..catalog import CatalogEntry
from .folder import FolderDataset

DATASET = CatalogEntry(FolderDataset, {"train": 3, "test": None}, class_names=("one", "two"))
'''
OPERATOR = '''

@register_operator("square_root", title="square root", parameter="none")
def square_root(x: Array, none: Parameter) -> Array:
    """Return the square root of the amplitude."""
    return x**0.5
'''
LOSS = '''

@register("focal")
class FocalLoss(CrossEntropyLoss):
    """A loss for a test."""
'''
RADIOMETRY = """    "power": Radiometry("power", "a²", _POWER),
"""
COMMAND = '''
"""Say hello: ``sarhub hello``."""


def command() -> None:
    """Say hello to whoever reads radar images."""
    print("hello")
'''
# What the process finds out; the parent compares. Nothing names a file of the package but those that were written.
LOOK = """
import json, sys
import torch, typer
import sarhub_models as sarhub
from typer.testing import CliRunner
from sarhub_models import losses, networks
from sarhub_models.cli import app
from sarhub_models.datasets import catalog
from sarhub_models.errors import SarHubError
from sarhub_models.weights.sources import source_from
from training.recipes import load_recipe
from tests.renew import schema

def said(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "1000"}).output

def refused(call):
    try:
        call()
    except SarHubError as err:
        return str(err)

chip = torch.rand(1, 64, 64)
json.dump({
    "home": sarhub.__file__,
    "models": sarhub.list_models(),
    "list": said("list"),
    "info": said("info", "resnet50_ben.added"),
    "networks": networks.names(),
    "logits": list(networks.build("resnet10t", num_classes=5, in_chans=1)(torch.rand(2, 1, 64, 64)).shape),
    "no such network": refused(lambda: networks.spec("resnet10")),
    "source": source_from({"type": "disk", "path": "/w.pth"}).text(),
    "no such source": refused(lambda: source_from({"type": "disc"})),
    "index": said("index", "--help"),
    "no such data set": refused(lambda: catalog.find("nobodi")),
    "recipe": load_recipe("resnet10t_nobody").data.name,
    "operator": sarhub.DRAA("square_root", 0, 1).eval()(chip).equal(chip.sqrt()),
    "no such operator": refused(lambda: sarhub.DRAA("square", 0, 1)),
    "loss": type(losses.make_loss("focal", torch.tensor([1, 2]))).__name__,
    "recipe's loss": load_recipe("mobilenetv3_dsn", ["loss.name=focal"]).loss.name,
    "no such loss": refused(lambda: losses.make_loss("focus", torch.tensor([1, 2]))),
    "radiometry": sarhub.create_transform("resnet50_ben", radiometry="power")(chip).shape[0],
    "no such radiometry": refused(lambda: sarhub.create_transform("resnet50_ben", radiometry="powr")),
    "features": said("features", "--help"),
    "help": said("--help"),
    "hello": said("hello"),
    "schema": schema(),
}, sys.stdout)
"""


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def add_weights(root: Path) -> None:
    file = root / "weights_manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    added = {**manifest["models"]["resnet50_ben"], "sources": [{"type": "disk", "path": "/w.pth"}]}
    manifest["models"]["resnet50_ben.added"] = added
    file.write_text(json.dumps(manifest), encoding="utf-8")


def add_radiometry(root: Path) -> None:
    file = root / "sarhub_models" / "transforms" / "radiometry.py"
    before = file.read_text(encoding="utf-8")
    after = before.replace('    "dn": Radiometry(', RADIOMETRY + '    "dn": Radiometry(')
    assert after != before
    file.write_text(after, encoding="utf-8")


ADDITIONS = {
    "weights": add_weights,
    "network": lambda root: (root / "sarhub_models/networks/resnet10t.py").write_text(NETWORK),
    "source": lambda root: append(root / "sarhub_models/weights/sources.py", SOURCE),
    "data set": lambda root: (root / "sarhub_models/datasets/recognition/nobody.py").write_text(DATASET),
    "operator": lambda root: append(root / "sarhub_models/transforms/operators.py", OPERATOR),
    "loss": lambda root: append(root / "sarhub_models/losses.py", LOSS),
    "radiometry": add_radiometry,
    "command": lambda root: (root / "sarhub_models/cli/commands/hello.py").write_text(COMMAND),
}


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, its list of weights, the recipes, and one addition of each kind."""
    root = tmp_path_factory.mktemp("clone")
    for folder in ("sarhub_models", "training"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    for file in ("tests/__init__.py", "tests/renew.py", "weights_manifest.json"):
        shutil.copyfile(ROOT / file, root / file)
    for kind, add in ADDITIONS.items():
        before = contents(root)
        add(root)
        after = contents(root)
        changed = [path for path in after if before.get(path) != after[path]]
        assert len(changed) == 1, f"to add a {kind} touches {changed}"
    return root


@pytest.fixture(scope="module")
def seen(copy: Path) -> dict[str, Any]:
    environ = {**os.environ, "PYTHONPATH": str(copy), "SARHUB_CACHE": str(copy / "cache")}
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=copy, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert Path(found["home"]).is_relative_to(copy)
    return found


@pytest.mark.slow
def test_a_set_of_weights(seen: dict[str, Any]) -> None:
    assert "resnet50_ben.added" in seen["models"]
    assert "resnet50_ben.added" in seen["list"]
    assert "the file /w.pth" in seen["info"]


@pytest.mark.slow
def test_a_network(seen: dict[str, Any]) -> None:
    assert "resnet10t" in seen["networks"]
    assert seen["logits"] == [2, 5]
    assert "did you mean 'resnet10t'" in seen["no such network"]


@pytest.mark.slow
def test_a_source(seen: dict[str, Any], copy: Path) -> None:
    assert seen["source"] == "the file /w.pth"
    assert "disk" in seen["no such source"]
    manifest = json.loads((copy / "weights_manifest.json").read_text(encoding="utf-8"))
    jsonschema.validate(manifest, json.loads(seen["schema"]))
    with pytest.raises(jsonschema.ValidationError, match="disk"):
        jsonschema.validate(manifest, json.loads(schema()))


@pytest.mark.slow
def test_a_data_set(seen: dict[str, Any]) -> None:
    assert "nobody" in seen["index"]
    assert "did you mean 'nobody'" in seen["no such data set"]
    assert seen["recipe"] == "nobody"


@pytest.mark.slow
def test_an_operator(seen: dict[str, Any]) -> None:
    assert seen["operator"] is True
    assert "did you mean 'square_root'" in seen["no such operator"]
    assert "square_root" in json.loads(seen["schema"])["$defs"]["preprocessing"]["properties"]["operator"]["enum"]


@pytest.mark.slow
def test_a_loss(seen: dict[str, Any]) -> None:
    assert seen["loss"] == "FocalLoss"
    assert seen["recipe's loss"] == "focal"
    assert "did you mean 'focal'" in seen["no such loss"]


@pytest.mark.slow
def test_a_radiometry(seen: dict[str, Any]) -> None:
    assert seen["radiometry"] == 3
    assert "did you mean 'power'" in seen["no such radiometry"]
    assert "power" in seen["features"]
    assert "power" in json.loads(seen["schema"])["$defs"]["input"]["properties"]["radiometry"]["enum"]


@pytest.mark.slow
def test_a_command(seen: dict[str, Any]) -> None:
    assert "Say hello to whoever reads radar images" in seen["help"]
    assert seen["hello"] == "hello\n"
