"""Data flows one way: every module imports only from its own place or from those before it."""

import ast
from pathlib import Path

import pytest

import lossdoctor

ROOT = Path(lossdoctor.__file__).parent
ORDER = ["record", "evidence", "finding", "rules", "ranking", "probability", "engine", "report"]
WAYS_IN = {
    "callback", "check", "sources", "tensorboard", "cases", "demo", "validation", "__main__", "cli",
}  # fmt: skip
KERAS_AT_HOME = {"record", "callback", "cases"}
KERAS_ON_CALL = {"check", "cli", "demo", "tensorboard", "validation"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def place(module):
    return module.split(".")[1] if "." in module else ""


def rank(name):
    return len(ORDER) if name in WAYS_IN else ORDER.index(name)


def imports(path):
    """Every import: the module's name, and whether it is made when the file is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in inside
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names if node.module == "lossdoctor" else [node.module]:
                yield name, id(node) not in inside


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_import_only_leftwards(path):
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert here in WAYS_IN or here in ORDER, f"{here} has no place in the journey"
    for name, _ in imports(path):
        there = place(name) if name.startswith("lossdoctor.") else ""
        if there in {*ORDER, *WAYS_IN}:
            assert rank(there) <= rank(here), f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_keras_is_touched_only_where_it_belongs(path):
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name, at_import in imports(path):
        if name.split(".")[0] in {"keras", "tensorflow"}:
            assert here in KERAS_AT_HOME or (here in KERAS_ON_CALL and not at_import), (
                f"{path} imports {name}"
            )


def test_the_check_itself_sees_imports():
    found = dict(imports(ROOT / "engine.py"))
    assert found["lossdoctor.ranking"] is True
    assert rank("ranking") < rank("engine") < rank("report") < rank("cli")
