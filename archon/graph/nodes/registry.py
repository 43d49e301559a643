"""Registry of node types. The union of specs in ``archon.spec.architecture`` lists them.

The import fails if the module or the declaration of a type is missing, or if a method is not
declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, get_args

from archon.graph.nodes.declaration import Method, NodeType, Reads
from archon.graph.prompts.templates import PromptKind
from archon.spec.architecture import AnyNode, Node


def _declared() -> Iterator[tuple[str, NodeType[Any]]]:
    """Yield every declaration after checking it against its spec.

    Raises
    ------
    TypeError
        A declaration and its spec differ.
    """
    for spec in get_args(get_args(AnyNode)[0]):
        (name,) = get_args(spec.model_fields["type"].annotation)
        node_type: NodeType[Any] = import_module(f"archon.graph.nodes.{name}").NODE_TYPE
        key = node_type.chosen_by
        methods = get_args(spec.model_fields[key].annotation) if key else ("",)
        if node_type.spec is not spec:
            raise TypeError(f"the declaration of {name} has another spec")
        if set(methods) != set(node_type.methods):
            declared = tuple(node_type.methods)
            raise TypeError(f"the spec of {name} has the methods {methods}, not {declared}")
        if not key and "method" in spec.model_fields:
            raise TypeError(f"the declaration of {name} lacks chosen_by")
        if ("model" in spec.model_fields) != (spec.role is not Node.role):
            raise TypeError(f"the key model of {name} and its property role do not agree")
        if node_type.explain is None and node_type.effects.drops:
            raise TypeError(f"{name} drops candidates, but its declaration lacks explain")
        yield name, node_type


NODE_TYPES: Mapping[str, NodeType[Any]] = dict(_declared())
"""By the ``type`` of their specs."""


def method_of(node: AnyNode) -> Method[Any]:
    """Return the method of a node."""
    return NODE_TYPES[node.type].method(node)


def reads_of(node: AnyNode) -> Reads:
    """Return the inputs that a node reads beyond the candidates themselves."""
    return NODE_TYPES[node.type].reads(node)


def prompt_kinds() -> Iterator[PromptKind]:
    """Yield the prompts of all types, in the order of types and methods."""
    for node_type in NODE_TYPES.values():
        kinds = (method.prompt for method in node_type.methods.values())
        yield from dict.fromkeys(kind for kind in kinds if kind is not None)
