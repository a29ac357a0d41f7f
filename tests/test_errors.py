"""Exceptions: one base, the built-in that a caller expects, and no class outside ``errors``."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest

from sarhub_models import errors

ROOT = Path(__file__).parents[1]
CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error") and name != "SarHubError"]


@pytest.mark.parametrize("error", CLASSES)
def test_each_is_also_the_built_in_that_a_caller_expects(error: type[Exception]) -> None:
    assert issubclass(error, errors.SarHubError)
    known = {value for value in vars(builtins).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert any(base in known - {Exception} for base in error.__mro__)
    assert str(error("say what to do")) == "say what to do"


def test_every_one_is_listed_in_the_documentation() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert [error.__name__ for error in CLASSES if f"`{error.__name__}`" not in page] == []


@pytest.mark.slow
def test_no_public_exception_stands_anywhere_else() -> None:
    elsewhere = []
    for room in ("sarhub_models", "training", "benchmarks"):
        for file in (ROOT / room).rglob("*.py"):
            if file == Path(errors.__file__):
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    bases = [ast.unparse(base) for base in node.bases]
                    if any(base.endswith(("Error", "Warning", "Exception")) for base in bases):
                        elsewhere.append(f"{file.relative_to(ROOT)}: {node.name}")
    assert elsewhere == []
