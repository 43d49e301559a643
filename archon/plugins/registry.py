"""Everything that plug-ins have registered, by kind and name.

The registry stores declarations only. The package that uses a kind turns its declarations into its
own objects: ``archon.graph.nodes`` makes node types, ``archon.evals.scorers`` makes scorers.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archon.errors import UsageError

Kind = Literal["node", "scorer", "template", "benchmark", "provider"]
KINDS: Mapping[Kind, str] = {
    "node": "node type",
    "scorer": "scorer",
    "template": "template",
    "benchmark": "benchmark",
    "provider": "provider",
}
"""Kind → its name in messages."""

_SHIPPED: Mapping[Kind, str] = {
    "node": "archon.spec.architecture:shipped_node_types",
    "scorer": "archon.evals.scorers.registry:shipped_scorers",
    "template": "archon.graph.nodes.registry:shipped_templates",
    "benchmark": "archon.spec.catalog:benchmark_names",
    "provider": "archon.spec.model_strings:reserved_prefixes",
}
"""Kind → function that returns the shipped names. It is imported when something is registered."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The plug-in that registers something."""

    name: str
    """Name of the entry point, or the file or module."""
    detail: str = ""
    """Distribution and version of an entry point, or the path of a file."""

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """One registered object."""

    kind: Kind
    name: str
    """Name in files. The name of a template has the node type before it, as in
    ``generator/socratic``."""
    declaration: Any
    """The declaration, from ``archon.plugins.declarations``."""
    code: Any
    """The function or class."""
    origin: Origin

    @property
    def place(self) -> str:
        """``FILE:LINE`` of the code, or its module."""
        file, line = _source_place(self.code)
        return f"{file}:{line}" if file else str(getattr(self.code, "__module__", "Python"))

    def digest(self) -> str:
        """Return a digest of the source of the plug-in, which identifies its behaviour.

        For a module of a package, this is the digest of all Python files of the package. For a
        single file, it is the digest of the file. For code in a script or a notebook, it is the
        digest of the function or class.
        """
        return hashlib.sha256(_source(self.code)).hexdigest()[:16]


_registrations: dict[tuple[Kind, str], Registration] = {}
_loading: list[Origin] = []


def register(kind: Kind, name: str, declaration: Any, code: Any) -> None:
    """Register an object under a name.

    A definition that is executed again, such as a cell of a notebook, replaces its earlier version.

    Raises
    ------
    UsageError
        Archon ships something with this name, or another definition has registered the name.
    """
    origin = _loading[-1] if _loading else _own_origin(code)
    new = Registration(kind, name, declaration, code, origin)
    noun = f"{KINDS[kind]} {name!r}"
    if not isinstance(name, str) or not name or len(name) > 100 or any(c.isspace() for c in name):
        raise UsageError(f"{noun}: a name has 1 to 100 characters and no white space")
    if name in _shipped(kind):
        raise UsageError(f"{new.place}: Archon ships a {noun}; register yours under another name")
    known = _registrations.get((kind, name))
    if known is not None and not _is_same_definition(known, new):
        raise UsageError(
            f"{new.place}: the {noun} is already registered by {known.origin} at {known.place}; "
            "rename one of them"
        )
    _registrations[kind, name] = new


def _shipped(kind: Kind) -> Collection[str]:
    module, _, function = _SHIPPED[kind].partition(":")
    names: Callable[[], Collection[str]] = getattr(importlib.import_module(module), function)
    return names()


def _is_same_definition(a: Registration, b: Registration) -> bool:
    def key(found: Registration) -> tuple[Any, ...]:
        file, _ = _source_place(found.code)
        return (file or getattr(found.code, "__module__", None), _qualified_name(found.code))

    return key(a) == key(b)


def _qualified_name(code: Any) -> str:
    return str(getattr(code, "__qualname__", type(code).__qualname__))


def _own_origin(code: Any) -> Origin:
    """Return the origin of code that registers itself in a running program."""
    file, _ = _source_place(code)
    module = str(getattr(code, "__module__", "Python"))
    return Origin(Path(file).name if file else module, file or "")


def get(kind: Kind, name: str) -> Registration | None:
    """Return what is registered under a name now; ``lookup.find`` also loads plug-ins."""
    return _registrations.get((kind, name))


def names(kind: Kind) -> list[str]:
    """Return the names that are registered now."""
    return [name for each, name in _registrations if each == kind]


def everything() -> tuple[Registration, ...]:
    """Return all registrations, in order."""
    return tuple(_registrations.values())


@contextmanager
def loading(origin: Origin) -> Iterator[None]:
    """Record ``origin`` for everything that is registered in the block.

    If the block fails, nothing that it registered stays.
    """
    before = dict(_registrations)
    _loading.append(origin)
    try:
        yield
    except BaseException:
        restore(before)
        raise
    finally:
        _loading.pop()


def snapshot() -> dict[tuple[Kind, str], Registration]:
    """Return a copy of the registrations, for ``restore``."""
    return dict(_registrations)


def restore(registrations: Mapping[tuple[Kind, str], Registration]) -> None:
    """Replace all registrations."""
    _registrations.clear()
    _registrations.update(registrations)


# ------------------------------------------------------------------------------------- source code


def _source_place(code: Any) -> tuple[str | None, int]:
    found = inspect.unwrap(code) if callable(code) else code
    if isinstance(found, str):
        return found, 1
    try:
        file = inspect.getsourcefile(found)
        _, line = inspect.getsourcelines(found)
    except (OSError, TypeError):
        inner = getattr(found, "__code__", None)
        return (inner.co_filename, inner.co_firstlineno) if inner is not None else (None, 0)
    return file, line


def _source(code: Any) -> bytes:
    module = sys.modules.get(str(getattr(code, "__module__", "")))
    if module is not None and module.__name__ != "__main__":
        package = sys.modules.get(module.__name__.partition(".")[0])
        folders = [] if package is None else list(getattr(package, "__path__", []))
        if folders:
            files = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
            return b"\0".join(path.read_bytes() for path in files)
    file, _ = _source_place(code)
    if module is not None and module.__name__ == "__main__":
        file = None
    if file is not None and Path(file).is_file():
        return Path(file).read_bytes()
    try:
        return inspect.getsource(code).encode()
    except (OSError, TypeError):
        inner = getattr(code, "__code__", None)
        parts = (_qualified_name(code), *(() if inner is None else (inner.co_code, inner.co_names)))
        return repr(parts).encode()
