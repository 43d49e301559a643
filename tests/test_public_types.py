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
STANDARD |= {"BaseModel", "os", "PathLike", "ModuleType", "TracebackType", "DataFrame"}

INTERNAL = {
    "CountRule": "the alias of archon.node for numbers of calls and candidates",
    "F": "the type variable of decorators",
    "Application": "Server.__init__, which archon.serve calls",
    "Graph": "Architecture, which archon.load makes",
    "Meter": "Architecture.answer, called for nested graphs",
    "ModelCard": "Architecture, which archon.load makes",
    "ModelUse": "Architecture.answer, called for nested graphs",
    "Prompt": "Architecture.prompt",
    "ArchitectureSpec": "Architecture.spec; its JSON is the architecture's file",
    "SpaceSpec": "Space.spec; its JSON is the space's file",
    "Place": "references of a file's errors",
    "Inputs": "the alias of GraphBuilder for ids of nodes",
    "Keys": "the alias of GraphBuilder for JSON objects",
    "Point": "the alias of Space for the values of parameters",
    "Value": "the alias of Space for JSON values",
    "Parameter": "the parameters of a Space, read from its file",
    "Random": "random.Random",
    "random": "random.Random",
    "Trial": "a trial of Optuna",
    "Tally": "EvalProgress.tally, the running totals of a report",
    "ComputeModel": "NodeTrace.compute_model, the sizes of a model",
    "ScoredTexts": "NodeTrace.scored, the texts that a reward model has read",
    "UnitTestMethod": "the alias of UnitTest for its methods",
    "StudyEvent": "OnStudyEvent, the events of a search",
}
"""Types that a program meets only where the package calls itself, and where that is."""


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
        is_init = member == "__init__" and dataclasses.is_dataclass(value)  # its fields are above
        if inspect.isfunction(function) and is_own and not is_init:
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
                if used not in {*archon.__all__, *STANDARD, *INTERNAL}:
                    missing.setdefault(used, where)
    assert not missing
