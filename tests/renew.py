"""Renew the files that are generated from the code, as ``make renew`` does: schema enums and the public API.

The tests compare both with the code, so no change of what users rely on passes unseen.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import sarhub_models

PACKAGE = Path(sarhub_models.__file__).parent
SCHEMA = PACKAGE / "zoo" / "weights_manifest.schema.json"
PUBLIC_API = Path(__file__).parent / "public_api.txt"


def _name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")}
PACKAGES = {_name(file) for file in PACKAGE.rglob("__init__.py")}


def schema() -> str:
    """Return the schema of the list of weights with the names that are registered now."""
    from sarhub_models.transforms import INTERPOLATIONS, OPERATORS, RADIOMETRIES
    from sarhub_models.weights.sources import KINDS

    text = SCHEMA.read_text(encoding="utf-8")
    enums: dict[str, list[str | None]] = {
        "operator": [*OPERATORS],
        "radiometry": [*RADIOMETRIES, None],
        "type": [*KINDS],
        "interpolation": [*INTERPOLATIONS],
    }
    for field, values in enums.items():
        text = re.sub(rf'("{field}": \{{\s*"enum": )\[[^]]*\]', rf"\g<1>{json.dumps(values)}", text)
    return text


def public_api() -> str:
    """Return every public name of the package, a line each: the names in ``__all__``, with what they are.

    Commands are not among them: they are used by their options, which the tests of the command line know.
    """
    lines = []
    for module in sorted(MODULES):
        private = any(part.startswith("_") for part in module.split("."))
        if not private and not module.startswith("sarhub_models.cli."):
            for name in _exported(MODULES[module]):
                lines += _described(module, name)
    return "".join(f"{line}\n" for line in lines)


def _described(module: str, name: str) -> Iterator[str]:
    public, (home, node) = f"{module}.{name}", _definition(module, name)
    if home != module and name in _exported(MODULES[home]):
        yield f"{public} = {home}.{name}"
    elif isinstance(node, ast.FunctionDef):
        yield f"{module}.{_signature(node)}"
    elif isinstance(node, ast.ClassDef):
        yield f"{public}({', '.join(ast.unparse(base) for base in node.bases)})"
        yield from (f"{public}.{line}" for line in _members(node))
    else:
        yield public


def _definition(module: str, name: str) -> tuple[str, ast.AST | None]:
    """Return the module that defines a name, and the class or function, or ``None`` for a plain value."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name and node in MODULES[module].body:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.level and any((a.asname or a.name) == name for a in node.names):
            package = module.split(".") if module in PACKAGES else module.split(".")[:-1]
            source = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            if source in MODULES and source != module:
                return _definition(source, name)
    return module, None


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value))
    return []


def _members(node: ast.ClassDef) -> Iterator[str]:
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
            yield ast.unparse(member)
        elif isinstance(member, ast.FunctionDef) and (member.name == "__init__" or not member.name.startswith("_")):
            kinds = {ast.unparse(decorator) for decorator in member.decorator_list}
            yield f"{member.name}: {_returned(member)}" if "property" in kinds else _signature(member)


def _signature(node: ast.FunctionDef) -> str:
    return f"{node.name}({ast.unparse(node.args)}) -> {_returned(node)}"


def _returned(node: ast.FunctionDef) -> str:
    return ast.unparse(node.returns) if node.returns else "None"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    PUBLIC_API.write_text(public_api(), encoding="utf-8")
