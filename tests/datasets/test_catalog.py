from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sarhub_models import datasets
from sarhub_models.datasets.base import ImageDataset
from sarhub_models.datasets.catalog import TASKS, find, names, task_of
from sarhub_models.errors import UnknownNameError

TOY = '''
"""A toy."""
from sarhub_models.datasets.catalog import CatalogEntry
from sarhub_models.datasets.recognition.folder import FolderDataset


class Toy(FolderDataset):
    """Two classes."""


DATASET = CatalogEntry(
    Toy,
    {"train": 2, "test": None},
    classes={"train": (1, 1)},
    lists=("somewhere/train.txt",),
    recipe={"data": {"full_scale": 255}, "preprocess": {"size": 32}},
    target=True,
    finetune_steps=7,
)
'''
USE = """
import sys
from pathlib import Path

import sarhub_models.datasets.recognition as room
room.__path__.append(sys.argv[1])
root = sys.argv[2]

from benchmarks.recognition.grid import DATASETS, STEPS
from sarhub_models import datasets
from sarhub_models.cli import main
from sarhub_models.engine.readers import open_split
from training.recipes import load_recipe
from training.splits import LISTS

assert "toy" in DATASETS and STEPS["toy"] == 7 and LISTS["toy"] == ("somewhere/train.txt",)
recipe = load_recipe("resnet18_toy", [f"data.root={root}"])
assert (recipe.data.name, recipe.data.full_scale, recipe.preprocess.size) == ("toy", 255, 32)
assert isinstance(open_split(recipe.data, "train"), datasets.Toy)
assert main(["index", "toy", root, "--split", "train"]) == 0
"""


def test_every_data_set_has_a_reader_that_says_how_it_is_checked() -> None:
    assert set(names()) == {name for task in TASKS for name in names(task)}
    for name in names():
        entry = find(name)
        assert issubclass(entry.reader, ImageDataset) and getattr(datasets, entry.reader.__name__) is entry.reader
        assert set(entry.classes) <= set(entry.splits) and set(entry.class_count) <= set(entry.splits)
        assert not entry.subsets.keys() & entry.splits.keys()
        for split, counts in entry.classes.items():
            assert len(counts) == len(entry.class_names)
            assert name == "ben" or entry.splits[split] == sum(counts)  # its images have several classes


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UnknownNameError, match="no data set is called 'ls-ssdd'; did you mean 'ls_ssdd'"):
        find("ls-ssdd")
    with pytest.raises(UnknownNameError):
        task_of("base")
    with pytest.raises(AttributeError, match="no attribute 'Mstar'"):
        getattr(datasets, "Mstar")  # noqa: B009


def test_names_cost_no_import_of_a_reader() -> None:
    code = (
        "import sys; from sarhub_models.datasets.catalog import names; assert 'mstar' in names(); "
        "assert not {'numpy', 'torch', 'rasterio'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_data_set_is_one_file(tmp_path: Path) -> None:
    """Index, recipes, benchmarks and imports know a data set whose module was put beside the others."""
    from tests.datasets.scenes import write_npy

    (tmp_path / "room").mkdir()
    (tmp_path / "room/toy.py").write_text(TOY)
    for name in ("a", "b"):
        write_npy(tmp_path / f"root/{name}/1.npy")
    (tmp_path / "root/train.txt").write_text("a/1.npy 0\nb/1.npy 1\n")
    command = [sys.executable, "-c", USE, str(tmp_path / "room"), str(tmp_path / "root")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout and "ok" in done.stdout
