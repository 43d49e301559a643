"""Every type in a public signature is public too, or of the standard library or pandas."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import dataclasses
import inspect
import pathlib
import typing
from collections.abc import Iterator
from typing import Any

import archon

STANDARD = {*vars(builtins), *vars(typing), *vars(collections.abc), *vars(pathlib)}
STANDARD |= {"os", "PathLike", "ModuleType", "TracebackType", "DataFrame"}


def annotations(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Pairs (where, annotation as it is written) of a public name."""
    if not isinstance(value, type):
        if callable(value) and not typing.get_origin(value):
            yield from of_function(name, value)
        return
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield f"{name}.{field.name}", str(field.type)
    for member, owner in inspect.getmembers_static(value):
        if member.startswith("_") and member != "__init__":
            continue
        function = getattr(owner, "fget", None) or getattr(owner, "__func__", owner)
        is_own = getattr(function, "__module__", "").startswith("archon")
        if inspect.isfunction(function) and is_own and not dataclasses.is_dataclass(value):
            yield from of_function(f"{name}.{member}", function)
        elif inspect.isfunction(function) and is_own and member != "__init__":
            yield from of_function(f"{name}.{member}", function)


def of_function(name: str, function: Any) -> Iterator[tuple[str, str]]:
    for parameter, annotation in getattr(function, "__annotations__", {}).items():
        yield f"{name}({parameter})", str(annotation)


def names(annotation: str) -> Iterator[str]:
    """The names in an annotation, without those of literals and type arguments in strings."""
    tree = ast.parse(annotation, mode="eval")
    skipped = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal"
        for part in ast.walk(node.slice)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in skipped:
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def test_every_type_in_a_public_signature_is_public() -> None:
    missing: dict[str, str] = {}
    for name in archon.__all__:
        for where, annotation in annotations(name, getattr(archon, name)):
            for used in names(annotation):
                if used not in archon.__all__ and used not in STANDARD:
                    missing.setdefault(used, where)
    assert not missing
