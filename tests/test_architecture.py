"""The shape of the tree: which room may import which, and what every module, function and docstring keeps to.

The rules are those of docs/design.md. They are read from the source, so a lazy import counts like any other.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up: a room may import those of the layers below it, and of its own layer those in BESIDE.
LAYERS = (
    {"_version", "errors", "losses", "io"},
    {"zoo", "networks", "weights", "transforms", "datasets"},
    {"models", "features", "engine", "explain"},
    {"cli", "integrations", "scenes", "hubconf", "training", "benchmarks", "docs"},
)
BESIDE = {
    "losses": {"errors"},
    "io": {"errors"},
    "weights": {"zoo"},
    "zoo": {"transforms"},  # its tables of operators and radiometry, which need no torch
    "datasets": {"weights"},  # downloads go through its HTTP client
    "features": {"models"},
    "engine": {"models", "features", ""},
    "benchmarks": {"training", "integrations", "scenes"},
    "cli": {"scenes"},  # its commands on scenes
    "docs": {"cli", "integrations", "training", "benchmarks"},
}
# The experiments' rooms: all stand on experiments, those with MMEngine's tasks on mm.
BENCHMARKS = {
    "experiments": set(),
    "mm": {"experiments"},
    "recognition": {"experiments"},
    "detection": {"experiments", "mm"},
    "segmentation": {"experiments", "mm"},
    "transfer": {"experiments"},
    "factors": {"experiments", "transfer"},
    "explanation": {"experiments"},
    "ablation": {"experiments"},
    "composed": {"experiments", "mm", "detection", "segmentation"},
    "speed": {"experiments", "mm", "detection", "segmentation"},
    "convert": {"experiments", "mm", "recognition", "detection", "segmentation", "ablation"},
}
MAX_MODULE, MAX_FUNCTION = 400, 60
NO_VERB = {"What", "Whether", "How", "Where", "Which", "When", "Why", "Who", "From"}
# May stand second without their names, as users of timm, torchvision and torch.hub expect, or because they are data.
POSITIONAL = {"pretrained", "training", "split", "assignments", "names", "shadow", "range"}


@dataclass(frozen=True)
class Module:
    """One source file of ours: its dotted name, path, text and syntax tree."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def where(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class Import:
    """A module that another imports, and the name it takes from it (None for the module as a whole)."""

    module: str
    name: str | None
    alias: str
    node: ast.AST


@cache
def modules() -> dict[str, Module]:
    """Return the modules of the product by name; MMEngine's configurations are data and not among them."""
    found = {}
    paths = [ROOT / "hubconf.py", ROOT / "docs" / "conf.py", *(ROOT / "docs" / "_build_pages").glob("*.py")]
    for folder in ("sarhub_models", "training", "benchmarks"):
        paths += (ROOT / folder).rglob("*.py")
    for path in sorted(paths):
        if "configs" in path.parts:
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, ast.parse(text), text.count("\n"))
    return found


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    base = module.package.split(".")
    return ".".join(base[: len(base) - node.level + 1] + ([node.module] if node.module else []))


def _type_checking(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that only a type checker reads: the public names that __init__ resolves lazily."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {node for block in blocks for part in block.body for node in ast.walk(part)}


@cache
def imports() -> tuple[tuple[Module, Import], ...]:
    """Return what each module imports of ours, wherever in the file that is."""
    found = []
    for module in modules().values():
        unread = _type_checking(module.tree)
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom) or node in unread:
                continue
            source = _absolute(module, node) if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                whole = f"{source}.{alias.name}" if source else alias.name
                if whole in modules():
                    found.append((module, Import(whole, None, alias.asname or alias.name, node)))
                elif source in modules():
                    found.append((module, Import(source, alias.name, alias.asname or alias.name, node)))
    return tuple(found)


def room(name: str) -> str:
    """Return the room of a module: the folder or loose file in the package, or the folder beside it."""
    parts = name.split(".")
    if parts[0] == "sarhub_models":
        return parts[1] if len(parts) > 1 else ""
    return parts[0]


def fail_with(problems: list[str], rule: str) -> None:
    if problems:
        pytest.fail(f"{rule}\n  " + "\n  ".join(sorted(set(problems))), pytrace=False)


@pytest.mark.slow
def test_imports_point_one_way() -> None:
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    problems = []
    for module, used in imports():
        source, target = room(module.name), room(used.module)
        if source in ("", "__main__", target):
            continue  # the front doors name rooms, and no room imports them
        if not target:
            if height[source] < len(LAYERS) - 1 and "" not in BESIDE.get(source, ()):
                problems.append(f"{module.where(used.node)}: the package's public names are for its users")
        elif source not in height or target not in height:
            problems.append(f"{module.where(used.node)}: {source} or {target} has no place in LAYERS")
        elif height[target] >= height[source] and target not in BESIDE.get(source, ()):
            problems.append(f"{module.where(used.node)}: {source} imports {target}")
    fail_with(problems, "an arrow that docs/design.md does not have:")


def test_rooms_of_the_benchmarks_import_one_way() -> None:
    problems = []
    for module, used in imports():
        source, target = module.name.split("."), used.module.split(".")
        if source[0] != "benchmarks" or target[0] != "benchmarks" or target[1:2] in ([], source[1:2]):
            continue
        if target[1] not in BENCHMARKS.get(source[1], ()):
            problems.append(f"{module.where(used.node)}: benchmarks/{source[1]} imports benchmarks/{target[1]}")
    fail_with(problems, "an arrow between experiments:")


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for module, used in imports():
        graph[module.name].add(used.module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail("a circle of imports:\n  " + " imports\n  ".join(reversed(err.args[1])), pytrace=False)


def test_layers_and_arrows_beside_are_free_of_circles() -> None:
    TopologicalSorter(BESIDE).prepare()
    TopologicalSorter(BENCHMARKS).prepare()


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_version"


def test_private_names_stay_in_their_room() -> None:
    problems = []
    modules_by_alias: dict[str, set[str]] = defaultdict(set)
    for module, used in imports():
        if used.module.split(".")[:2] == module.name.split(".")[:2]:
            continue
        if used.name is None:
            modules_by_alias[module.name].add(used.alias)
        if any(_private(name) for name in (*used.module.split("."), used.name or "")):
            problems.append(f"{module.where(used.node)}: {used.module} {used.name or ''}")
    for name, aliases in modules_by_alias.items():
        problems += [
            f"{modules()[name].where(node)}: {ast.unparse(node)}"
            for node in ast.walk(modules()[name].tree)
            if isinstance(node, ast.Attribute) and _private(node.attr) and ast.unparse(node.value) in aliases
        ]
    fail_with(problems, "a name with an underscore is used outside its room:")


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function below its signature and docstring, which grow with what users are told."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.slow
def test_modules_and_functions_are_short() -> None:
    problems = [
        f"{m.path.relative_to(ROOT)}: {m.lines} lines, {MAX_MODULE} at most"
        for m in modules().values()
        if m.lines > MAX_MODULE
    ]
    for module in modules().values():
        for function in _functions(module):
            lines = _lines_of_code(function)
            if lines > MAX_FUNCTION:
                problems.append(f"{module.where(function)}: {function.name} has {lines} lines, {MAX_FUNCTION} at most")
    fail_with(problems, "too long to be read at once:")


def test_every_module_says_what_it_holds() -> None:
    problems = [str(m.path.relative_to(ROOT)) for m in modules().values() if m.lines and not ast.get_docstring(m.tree)]
    fail_with(problems, "a module without a docstring:")


@pytest.mark.slow
def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    problems = []
    for module in modules().values():
        for node in [module.tree, *ast.walk(module.tree)]:
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = (ast.get_docstring(node) or "-").split()[0].rstrip(",:")
            if first in NO_VERB:
                problems.append(f"{module.where(node)}: {first} ...")
    fail_with(problems, "a docstring says what is done ('Return the ...'), not a question's answer:")


def _public_functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield owner + node.name, node


def test_options_are_given_by_name() -> None:
    """A parameter with a default is an option, which public functions take by its name alone.

    Others prescribe the signatures of networks (timm), integrations (MMEngine), commands (typer) and ``forward``.
    """
    problems = []
    for module in modules().values():
        if room(module.name) in ("networks", "integrations", "cli", "training", "benchmarks", "docs", "hubconf"):
            continue
        for name, function in _public_functions(module.tree.body):
            arguments = [*function.args.posonlyargs, *function.args.args]
            if arguments and arguments[0].arg in ("self", "cls"):
                arguments = arguments[1:]
            defaults = len(function.args.defaults)
            optional = [a.arg for a in arguments[max(1, len(arguments) - defaults) :]] if defaults else []
            if not function.name.startswith("forward") and set(optional) - POSITIONAL:
                problems.append(f"{module.where(function)}: {name}({', '.join(optional)})")
    fail_with(problems, "options that may be given without their names:")
