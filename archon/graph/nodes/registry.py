"""All types of nodes, by name. The union of specs in ``archon.spec.architecture`` lists them.

A type whose module or declaration is missing, and a method that is not declared, fail here, when
the package is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, get_args

from archon.graph.nodes.base import GraphNode
from archon.graph.nodes.declaration import Method, NodeType, Setup
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import PromptKind
from archon.lm.embedding import Embedder
from archon.spec.architecture import AnyNode, Node


def _declared() -> Iterator[tuple[str, NodeType[Any]]]:
    """Every declaration, checked against its spec.

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
            raise TypeError(f"the declaration of {name} is of another spec")
        if set(methods) != set(node_type.methods):
            raise TypeError(f"{name} has the methods {methods}, and declares others")
        if not key and "method" in spec.model_fields:
            raise TypeError(f"the declaration of {name} does not say what chooses its method")
        if ("model" in spec.model_fields) != (spec.role is not Node.role):
            raise TypeError(f"the key model of {name} and its property role do not agree")
        if node_type.explain is None and any(m.drops for m in node_type.methods.values()):
            raise TypeError(f"{name} drops candidates, and does not explain why")
        yield name, node_type


NODE_TYPES: Mapping[str, NodeType[Any]] = dict(_declared())
"""By the ``type`` of their specs."""


def method_of(node: AnyNode) -> Method[Any]:
    """How a node works."""
    return NODE_TYPES[node.type].method(node)


def describe(node: AnyNode) -> str:
    """Type and method of a node, as error messages name them."""
    return NODE_TYPES[node.type].describe(node)


def make_node(
    name: str, node: AnyNode, prompt: Prompt | None = None, embedder: Embedder | None = None
) -> GraphNode:
    """The object that runs a node.

    Raises
    ------
    MissingExtraError
        It runs programs, and the sandbox is not installed.
    """
    return method_of(node).make(Setup(name, node, prompt, embedder))


def prompt_kinds() -> Iterator[PromptKind]:
    """The prompts of all types, in the order of types and methods."""
    for node_type in NODE_TYPES.values():
        kinds = (method.prompt for method in node_type.methods.values())
        yield from dict.fromkeys(kind for kind in kinds if kind is not None)
