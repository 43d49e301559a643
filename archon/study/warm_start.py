"""Warm start: find the configuration of a space that builds a given architecture."""

from __future__ import annotations

import json
from typing import Any

from archon.errors import GraphError, SpecError, UsageError
from archon.graph.nodes.registry import method_of
from archon.graph.topology import topological_order
from archon.spec.architecture import AnyNode, ArchitectureSpec, ModelNode
from archon.study.space import MAX_COUNTED, Point, Space


def point_of(space: Space, architecture: ArchitectureSpec) -> Point:
    """Find the configuration of a space that builds an architecture; node names may differ.

    Raises
    ------
    UsageError
        No configuration builds it, or the space has too many configurations to try.
    """
    if space.count() is None:
        raise UsageError(
            "a warm start tries all configurations of the space to find its architecture, but "
            f"{space.name} has more than {MAX_COUNTED:,}; omit the warm start"
        )
    wanted = _canonical(architecture)
    for point in space.points():
        try:
            spec = space.build(point)
        except (SpecError, GraphError):
            continue
        if len(spec.nodes) == len(architecture.nodes) and _canonical(spec) == wanted:
            return point
    raise UsageError(f"no configuration of the {space.name} space builds {architecture.name}")


def _canonical(spec: ArchitectureSpec) -> str:
    """Return a text that is equal for architectures that differ only in names and defaults.

    Names are those of nodes; it makes no difference whether a default value is written out.
    """
    numbers: dict[str, int] = {}
    known: dict[str, int] = {}
    for name in topological_order({name: node.inputs for name, node in spec.nodes.items()}):
        text = json.dumps(_canonical_node(spec, spec.nodes[name], numbers), sort_keys=True)
        numbers[name] = known.setdefault(text, len(known))
    # The numbers depend on the order of nodes, so the result has the nodes themselves.
    return _expanded(numbers[spec.output], list(known))


def _expanded(number: int, texts: list[str]) -> str:
    data = json.loads(texts[number])
    data["inputs"] = [_expanded(source, texts) for source in data["inputs"]]
    return json.dumps(data, sort_keys=True)


def _canonical_node(
    spec: ArchitectureSpec, node: AnyNode, numbers: dict[str, int]
) -> dict[str, Any]:
    data: dict[str, Any] = node.model_dump(mode="json", exclude_none=True)
    data["inputs"] = [numbers[source] for source in node.inputs]
    if isinstance(node, ModelNode) and node.model is not None:
        model = spec.models[node.model]
        data["model"] = model if isinstance(model, str) else model.model_dump(mode="json")
        prompt = data.pop("prompt", {})
        kind = method_of(node).prompt
        if kind is not None and prompt.get("template") == kind.default:
            del prompt["template"]
        data["prompt"] = {key: value for key, value in prompt.items() if value != 0}
    return data
