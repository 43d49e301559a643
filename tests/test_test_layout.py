"""Layout of the tests: no module imports a test module, and no file is longer than 500 lines."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = sorted(Path(__file__).parent.rglob("*.py"))
MAX_LINES = 500
IMPORT_FUNCTIONS = {"__import__", "import_module", "importorskip"}


def imported_names(tree: ast.AST) -> Iterator[str]:
    """The dotted names of all modules that a module may import, wherever the import stands."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module or ''}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if (
                name in IMPORT_FUNCTIONS and isinstance(first, ast.Constant)
            ):
                yield str(first.value)


def is_test_module(name: str) -> bool:
    return any(part.startswith("test_") or part == "conftest" for part in name.split("."))


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("import test_a", True),
        ("from test_a import helper", True),
        ("from tests.evals import test_a", True),
        ("def f():\n    from conftest import helper", True),
        ("importlib.import_module('test_a')", True),
        ("pytest.importorskip('torch')\nimport latest_a\nfrom a_doubles import helper", False),
    ],
)
def test_imports_of_test_modules_are_found(source: str, is_found: bool) -> None:
    assert any(map(is_test_module, imported_names(ast.parse(source)))) == is_found


def test_no_module_imports_a_test_module() -> None:
    """Shared helpers are in ``conftest.py``, ``*_doubles.py`` and other modules without tests."""
    found = {
        path: [n for n in imported_names(ast.parse(path.read_text("utf-8"))) if is_test_module(n)]
        for path in MODULES
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_no_two_modules_have_the_same_name() -> None:
    """All folders of tests are on the import path, where the first of two hides the other."""
    counts = Counter(path.stem for path in MODULES)
    assert [name for name, count in counts.items() if count > 1] == ["conftest"]
