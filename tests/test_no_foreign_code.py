"""No file of another's is ever run: no pickle, no remote code, no ``eval``, told from the source.

What may run others' code is listed, each with what keeps it in bounds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "archon"
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "code",
           "codeop", "imp", "runpy"}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {("torch", "load"), ("torch", "jit"), ("np", "load"), ("numpy", "load"),
              ("os", "system"), ("os", "popen"), ("yaml", "load"), ("yaml", "unsafe_load"),
              ("pd", "read_pickle"), ("cpp_extension", "load_inline")}  # fmt: skip
ARGUMENTS = {"trust_remote_code", "allow_pickle", "shell"}
ALLOWED: dict[str, set[str]] = {
    # Only if the card says so, which must be in a separate file (``archon.graph.loading``).
    "engine/transformers/loading.py": {"trust_remote_code"},
    "lm/local/transformers_fallback.py": {"trust_remote_code"},
}


def offences(source: str) -> Iterator[str]:
    """What a module's source does that it must not."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if a.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in MODULES:
                    yield module
                yield from (
                    f"{module}.{a.name}"
                    for a in names
                    if (module.split(".")[-1], a.name) in ATTRIBUTES
                )
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in ATTRIBUTES:
                yield f"{owner}.{name}"
            case ast.keyword(arg=str(name), value=value) if name in ARGUMENTS:
                if not (isinstance(value, ast.Constant) and value.value is False):
                    yield name


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_runs_what_a_file_holds(path: Path) -> None:
    found = set(offences(path.read_text(encoding="utf-8")))
    assert found == ALLOWED.get(str(path.relative_to(ROOT)), set())


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from dill import loads", "torch.load(path, weights_only=True)", "eval(text)",
     "from torch import load", "f(trust_remote_code=flag)", "np.load(path)", "exec(text)"],
)  # fmt: skip
def test_each_way_is_seen(source: str) -> None:
    assert list(offences(source))


def test_what_is_harmless_is_not_an_offence() -> None:
    source = "model.eval(); re.compile('a'); f(trust_remote_code=False); json.load(file)"
    assert not list(offences(source))
