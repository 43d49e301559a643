"""What can be checked of an architecture whose file breaks the schema.

Its graph is still worth checking: the names of nodes, roles and inputs are known where their own
values are valid, so that a user sees all errors of a file at once. A node that breaks the schema is
stood in for by a generator with its inputs and its role.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archon.spec.architecture import (
    AnyNode,
    ArchitectureSpec,
    GeneratorNode,
    NodeId,
    RoleModel,
)
from archon.spec.common import WHEN_USED, Name

_NODE: TypeAdapter[AnyNode] = TypeAdapter(AnyNode, config=WHEN_USED)
_NODE_ID: TypeAdapter[str] = TypeAdapter(NodeId, config=WHEN_USED)
_ROLE: TypeAdapter[str] = TypeAdapter(Name, config=WHEN_USED)
_MODEL: TypeAdapter[RoleModel] = TypeAdapter(RoleModel, config=WHEN_USED)


@dataclass(frozen=True)
class ValidParts:
    """An architecture made of the valid parts of a file, and what of it is not from the file."""

    spec: ArchitectureSpec
    """Its output is empty where the file names none."""
    invalid_roles: frozenset[str]
    """Roles whose model breaks the schema."""
    invalid_nodes: frozenset[str]
    """Nodes that a generator stands in for."""
    knows_roles: bool
    """Whether ``models`` can be read, so that a role that is not in it is missing."""
    knows_edges: bool
    """Whether ``output`` and the inputs of every node can be read."""


def valid_parts(data: Any) -> ValidParts | None:
    """The valid parts of an architecture's file; None where it has no nodes."""
    if not isinstance(data, dict) or not isinstance(data.get("nodes"), dict):
        return None
    nodes = {node_id: node for node_id, node in data["nodes"].items() if _is(_NODE_ID, node_id)}
    if not nodes:
        return None
    invalid = frozenset(node_id for node_id, node in nodes.items() if not _is(_NODE, node))
    models = data.get("models", {})
    knows_roles = isinstance(models, dict) and not ("models" not in data and _misspelt(data))
    models = models if isinstance(models, dict) else {}
    output = data.get("output")
    knows_output = _is(_NODE_ID, output)
    invalid_roles = frozenset(role for role, model in models.items() if not _is(_MODEL, model))
    spec = ArchitectureSpec.model_construct(
        version=1,
        name="",
        description="",
        models={
            role: "" if role in invalid_roles else _MODEL.validate_python(model, strict=True)
            for role, model in models.items()
        },
        nodes={
            node_id: _stand_in(node)
            if node_id in invalid
            else _NODE.validate_python(node, strict=True)
            for node_id, node in nodes.items()
        },
        output=output if knows_output else "",
        answer="number",
        budget=None,
    )
    return ValidParts(
        spec=spec,
        invalid_roles=invalid_roles,
        invalid_nodes=invalid,
        knows_roles=knows_roles,
        knows_edges=knows_output
        and len(nodes) == len(data["nodes"])
        and all(_knows_inputs(nodes[node_id]) for node_id in invalid),
    )


def _stand_in(node: Any) -> GeneratorNode:
    node = node if isinstance(node, dict) else {}
    inputs, model = node.get("inputs"), node.get("model")
    return GeneratorNode.model_construct(
        type="generator",
        model=model if _is(_ROLE, model) else None,
        inputs=[i for i in inputs if _is(_NODE_ID, i)] if isinstance(inputs, list) else [],
    )


def _knows_inputs(node: Any) -> bool:
    """Whether a node that breaks the schema names its inputs without a fault."""
    if not isinstance(node, dict):
        return False
    if "inputs" not in node:
        return not _near("inputs", node)
    inputs = node["inputs"]
    return isinstance(inputs, list) and all(_is(_NODE_ID, source) for source in inputs)


def _misspelt(data: dict[str, Any]) -> bool:
    return _near("models", (key for key in data if key not in ArchitectureSpec.model_fields))


def _near(name: str, keys: Iterable[str]) -> bool:
    return bool(difflib.get_close_matches(name, keys, n=1))


def _is(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
