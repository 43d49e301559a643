"""The point of a space at which a known architecture stands, for a warm start."""

from __future__ import annotations

import json
from typing import Any

from archon.errors import GraphError, SpecError, UsageError
from archon.graph.nodes.registry import method_of
from archon.graph.topology import topological_order
from archon.spec.architecture import AnyNode, ArchitectureSpec, ModelNode
from archon.study.space import MAX_COUNTED, Point, Space


def point_of(space: Space, architecture: ArchitectureSpec) -> Point:
    """The point of a space that comes to an architecture, whatever its nodes are called.

    Raises
    ------
    UsageError
        There is none, or the space has too many points to go through them.
    """
    if space.count() is None:
        raise UsageError(
            f"a known architecture is found by going through the points of a space, of which "
            f"{space.name} has more than {MAX_COUNTED:,}"
        )
    wanted = _canonical(architecture)
    for point in space.points():
        try:
            spec = space.build(point)
        except (SpecError, GraphError):
            continue
        if len(spec.nodes) == len(architecture.nodes) and _canonical(spec) == wanted:
            return point
    raise UsageError(f"{architecture.name} is no point of the space {space.name}")


def _canonical(spec: ArchitectureSpec) -> str:
    """Equal for architectures that differ in names and in what is spelt out of the defaults."""
    forms: dict[str, int] = {}
    known: dict[str, int] = {}
    for name in topological_order({name: node.inputs for name, node in spec.nodes.items()}):
        form = json.dumps(_canonical_node(spec, spec.nodes[name], forms), sort_keys=True)
        forms[name] = known.setdefault(form, len(known))
    # Numbers were given in an order that another graph of the same form may not have.
    texts = {number: form for form, number in known.items()}
    return _spelt(forms[spec.output], texts)


def _spelt(number: int, texts: dict[int, str]) -> str:
    data = json.loads(texts[number])
    data["inputs"] = [_spelt(source, texts) for source in data["inputs"]]
    return json.dumps(data, sort_keys=True)


def _canonical_node(spec: ArchitectureSpec, node: AnyNode, forms: dict[str, int]) -> dict[str, Any]:
    data: dict[str, Any] = node.model_dump(mode="json", exclude_none=True)
    data["inputs"] = [forms[source] for source in node.inputs]
    if isinstance(node, ModelNode) and node.model is not None:
        model = spec.models[node.model]
        data["model"] = model if isinstance(model, str) else model.model_dump(mode="json")
        prompt = data.pop("prompt", {})
        kind = method_of(node).prompt
        if kind is not None and prompt.get("template") == kind.default:
            del prompt["template"]
        data["prompt"] = {key: value for key, value in prompt.items() if value != 0}
    return data
