"""Keys that ``--set`` can change in an architecture, for completion in shells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from archon.spec.architecture import AnyNode, ArchitectureSpec

_NOT_SET = frozenset({"version", "name", "description", "nodes", "type"})


def setting_texts(data: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    """Yield continuations of ``KEY=VALUE``: one more step of the key, or a value.

    >>> data = {"nodes": {"first": {"type": "generator"}}}
    >>> [text for text in setting_texts(data, "first.s") if text.startswith("first.s")]
    ['first.sampling.', 'first.samples=', 'first.stop_when.']
    """
    if incomplete.startswith("nodes."):
        nodes = {"nodes": data.get("nodes") or {}}
        for text in setting_texts(nodes, incomplete.removeprefix("nodes.")):
            if text.startswith(tuple(f"{node}." for node in nodes["nodes"])):
                yield f"nodes.{text}"
        return
    key, equals, _ = incomplete.partition("=")
    *before, _ = key.split(".")
    annotation: Any = None
    node = next((n for n in data.get("nodes") or {} if key.startswith(f"{n}.")), None)
    if node is None and not before:
        yield from (f"{name}." for name in data.get("nodes") or {})
        yield from _steps("", ArchitectureSpec, data)
        return
    prefix = "" if node is None else f"{node}."
    annotation = ArchitectureSpec if node is None else _node_class(data["nodes"][node])
    steps = key.removeprefix(prefix).split(".")
    for name in steps if equals else steps[:-1]:
        if annotation is None or name not in annotation.model_fields:
            if prefix == "models.":
                break
            annotation = None
            break
        field = annotation.model_fields[name].annotation
        if equals and name == steps[-1]:
            yield from (f"{key}={value}" for value in _literals(field))
            return
        prefix += f"{name}."
        annotation = next(_models(field), None)
    if prefix == "models." and not equals:
        yield from (f"models.{role}=" for role in data.get("models") or {})
    elif annotation is not None and not equals:
        yield from _steps(prefix, annotation, data)


def _steps(prefix: str, model: type[BaseModel], data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of an object: with a dot if they contain objects, otherwise with ``=``."""
    for name, field in model.model_fields.items():
        if name not in _NOT_SET:
            has_keys = name == "models" or next(_models(field.annotation), None) is not None
            yield f"{prefix}{name}{'.' if has_keys else '='}"


def _node_class(node: Mapping[str, Any]) -> type[BaseModel] | None:
    """Return the schema of a node."""
    for model in _models(AnyNode):
        if node.get("type") in get_args(model.model_fields["type"].annotation):
            return model
    return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the schemas of objects in an annotation, but not those inside lists or objects."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    elif get_origin(annotation) not in (list, dict, tuple):
        for part in get_args(annotation):
            yield from _models(part)


def _literals(annotation: Any) -> Iterator[str]:
    """Yield the values of an annotation that allows only a few."""
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    else:
        for part in get_args(annotation):
            yield from _literals(part)
