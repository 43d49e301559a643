"""Extract the valid parts of an architecture whose file does not match the schema.

The graph can then still be checked, so that all of a file's errors are reported together. Each node
that does not match the schema is replaced with a generator with the same inputs and role.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from archon.spec.architecture import (
    AnyNode,
    ArchitectureSpec,
    GeneratorNode,
    NodeId,
    RoleModel,
)
from archon.spec.common import DEFER_BUILD, Name

T = TypeVar("T")

_NODE: TypeAdapter[AnyNode] = TypeAdapter(AnyNode, config=DEFER_BUILD)
_NODE_ID: TypeAdapter[str] = TypeAdapter(NodeId, config=DEFER_BUILD)
_ROLE: TypeAdapter[str] = TypeAdapter(Name, config=DEFER_BUILD)
_MODEL: TypeAdapter[RoleModel] = TypeAdapter(RoleModel, config=DEFER_BUILD)


@dataclass(frozen=True)
class ValidParts:
    """An architecture that consists of the valid parts of a file, and a list of invalid parts."""

    spec: ArchitectureSpec
    """The architecture. ``output`` is empty if it is invalid in the file."""
    invalid_roles: frozenset[str]
    """Roles whose model does not match the schema."""
    invalid_nodes: frozenset[str]
    """Ids of nodes that are replaced by a generator."""
    knows_roles: bool
    """Whether ``models`` can be read. If so, roles that are missing from it are errors."""
    knows_edges: bool
    """Whether ``output`` and every node's inputs can be read."""


def valid_parts(data: Any) -> ValidParts | None:
    """Return the valid parts of an architecture's data, or None if no node has a valid id."""
    if not isinstance(data, dict) or not isinstance(data.get("nodes"), dict):
        return None
    in_file = {key: node for key, node in data["nodes"].items() if _validated(_NODE_ID, key)}
    if not in_file:
        return None
    nodes = {node_id: _validated(_NODE, node) for node_id, node in in_file.items()}
    invalid_nodes = frozenset(node_id for node_id, node in nodes.items() if node is None)
    listed = data.get("models", {})
    models = listed if isinstance(listed, dict) else {}
    models = {role: _validated(_MODEL, model) for role, model in models.items()}
    unknown = (key for key in data if key not in ArchitectureSpec.model_fields)
    output = _validated(_NODE_ID, data.get("output"))
    spec = ArchitectureSpec.model_construct(
        version=1,
        name="",
        models={role: model or "" for role, model in models.items()},
        nodes={node_id: node or _replacement(in_file[node_id]) for node_id, node in nodes.items()},
        output=output or "",
    )
    return ValidParts(
        spec=spec,
        invalid_roles=frozenset(role for role, model in models.items() if model is None),
        invalid_nodes=invalid_nodes,
        knows_roles=isinstance(listed, dict) and ("models" in data or not _near("models", unknown)),
        knows_edges=output is not None
        and len(nodes) == len(data["nodes"])
        and all(_knows_inputs(in_file[node_id]) for node_id in invalid_nodes),
    )


def _replacement(node: Any) -> GeneratorNode:
    node = node if isinstance(node, dict) else {}
    inputs = node.get("inputs")
    return GeneratorNode.model_construct(
        type="generator",
        model=_validated(_ROLE, node.get("model")),
        inputs=[i for i in inputs if _validated(_NODE_ID, i)] if isinstance(inputs, list) else [],
    )


def _knows_inputs(node: Any) -> bool:
    """Return True if the ``inputs`` of an invalid node are valid, or missing but not misspelled."""
    if not isinstance(node, dict):
        return False
    if "inputs" not in node:
        return not _near("inputs", node)
    inputs = node["inputs"]
    return isinstance(inputs, list) and all(_validated(_NODE_ID, i) is not None for i in inputs)


def _near(name: str, keys: Iterable[str]) -> bool:
    return bool(difflib.get_close_matches(name, keys, n=1))


def _validated(adapter: TypeAdapter[T], value: Any) -> T | None:
    """Return the validated value, or None if it does not match the schema."""
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        return None
