"""Registry of node types: one for each spec in ``SHIPPED_NODES``, and those of plug-ins.

Importing this module fails if a shipped type lacks a module or a declaration, or does not declare a
method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, get_args

from archon.graph.nodes.declaration import Method, NodeType, Reads
from archon.graph.nodes.plugin import plugin_node_type
from archon.graph.prompts.templates import PromptKind
from archon.plugins import lookup, registry
from archon.plugins.registry import Registration
from archon.spec.architecture import SHIPPED_NODES, AnyNode, Node


def _declared() -> Iterator[tuple[str, NodeType[Any]]]:
    """Yield (name, declaration) of each node type, after checking it against the type's spec.

    Raises
    ------
    TypeError
        A declaration does not match its spec.
    """
    for name, spec in SHIPPED_NODES.items():
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


class _NodeTypes(Mapping[str, NodeType[Any]]):
    """The shipped node types, and those of plug-ins, which are made when they are first used.

    The iteration has the plug-ins' types that are loaded; the lookup of an unknown name loads all
    plug-ins.
    """

    def __init__(self, shipped: Mapping[str, NodeType[Any]]) -> None:
        self._shipped = shipped
        self._made: dict[Registration, NodeType[Any]] = {}

    def __getitem__(self, name: str) -> NodeType[Any]:
        found = self._shipped.get(name)
        if found is not None:
            return found
        registration = lookup.find("node", name)
        if registration is None:
            raise KeyError(name)
        if registration not in self._made:
            self._made[registration] = plugin_node_type(registration)
        return self._made[registration]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._shipped, *registry.names("node")])

    def __len__(self) -> int:
        return len(self._shipped) + len(registry.names("node"))


NODE_TYPES: Mapping[str, NodeType[Any]] = _NodeTypes(dict(_declared()))
"""Value of ``type`` in a spec → the declaration of the node type."""


def shipped_templates() -> frozenset[str]:
    """Return the names of the templates that Archon ships, with the prompt kind before them."""
    return frozenset(
        f"{kind.name}/{name}" for kind in _shipped_kinds() for name in kind.shipped_templates
    )


def method_of(node: AnyNode) -> Method[Any]:
    """Return the method of a node."""
    return NODE_TYPES[node.type].method(node)


def reads_of(node: AnyNode) -> Reads:
    """Return the inputs of a node in addition to the texts of the candidates."""
    return NODE_TYPES[node.type].reads(node)


def prompt_kinds() -> Iterator[PromptKind]:
    """Yield the prompt kinds of all node types and methods, each once."""
    return _kinds_of(NODE_TYPES.values())


def _shipped_kinds() -> Iterator[PromptKind]:
    return _kinds_of(NODE_TYPES[name] for name in SHIPPED_NODES)


def _kinds_of(node_types: Iterable[NodeType[Any]]) -> Iterator[PromptKind]:
    for node_type in node_types:
        kinds = (method.prompt for method in node_type.methods.values())
        yield from dict.fromkeys(kind for kind in kinds if kind is not None)
