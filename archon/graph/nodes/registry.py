"""Registry of node types, one for each spec in the union ``archon.spec.architecture.AnyNode``.

Importing this module fails if a type lacks a module or a declaration, or does not declare a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, get_args

from archon.graph.nodes.declaration import Method, NodeType, Reads
from archon.graph.prompts.templates import PromptKind
from archon.spec.architecture import AnyNode, Node


def _declared() -> Iterator[tuple[str, NodeType[Any]]]:
    """Yield (name, declaration) of each node type, after checking it against the type's spec.

    Raises
    ------
    TypeError
        A declaration does not match its spec.
    """
    for spec in get_args(get_args(AnyNode)[0]):
        (name,) = get_args(spec.model_fields["type"].annotation)
        node_type: NodeType[Any] = import_module(f"archon.graph.nodes.{name}").NODE_TYPE
        key = node_type.chosen_by
        methods = get_args(spec.model_fields[key].annotation) if key else ("",)
        if node_type.spec is not spec:
            raise TypeError(f"NODE_TYPE of {name} must have the spec {spec.__name__}")
        if set(methods) != set(node_type.methods):
            declared = tuple(node_type.methods)
            raise TypeError(f"NODE_TYPE of {name} must have the methods {methods}, not {declared}")
        if not key and "method" in spec.model_fields:
            raise TypeError(f"NODE_TYPE of {name} must set chosen_by='method'")
        if ("model" in spec.model_fields) != (spec.role is not Node.role):
            raise TypeError(f"the spec of {name} must have both model and role, or neither")
        if node_type.explain is None and node_type.effects.drops:
            raise TypeError(
                f"NODE_TYPE of {name} must set explain, because {name} drops candidates"
            )
        yield name, node_type


NODE_TYPES: Mapping[str, NodeType[Any]] = dict(_declared())
"""Value of ``type`` in a spec → the declaration of the node type."""


def method_of(node: AnyNode) -> Method[Any]:
    """Return the method of a node."""
    return NODE_TYPES[node.type].method(node)


def reads_of(node: AnyNode) -> Reads:
    """Return the inputs of a node in addition to the texts of the candidates."""
    return NODE_TYPES[node.type].reads(node)


def prompt_kinds() -> Iterator[PromptKind]:
    """Yield the prompt kinds of all node types and methods, each once."""
    for node_type in NODE_TYPES.values():
        kinds = (method.prompt for method in node_type.methods.values())
        yield from dict.fromkeys(kind for kind in kinds if kind is not None)
