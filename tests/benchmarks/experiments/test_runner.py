"""The runner of trials: what its processes need."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import benchmarks

COMMANDS = sorted(Path(benchmarks.__file__).parent.rglob("__main__.py"))


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.parent.name)
def test_what_other_processes_are_sent_is_not_of_the_module_that_is_run(file: Path) -> None:
    """A process cannot find what belongs to its parent's ``__main__``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert not [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "partial"]
