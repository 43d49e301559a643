"""The candidates that a node dropped, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from archon.graph.nodes.declaration import Plain, Reason
from archon.graph.nodes.registry import NODE_TYPES

Identity = tuple[str, int]
"""Node and sample index of a candidate."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A dropped candidate."""

    candidate: Identity
    reason: Reason


def identity(data: Plain) -> Identity:
    """Return the identity of a candidate from its plain data."""
    return data["node"], data["draw"]


def drops(node: Plain, candidates: Mapping[Identity, Plain]) -> Iterator[Drop]:
    """Yield the dropped candidates of a node, in the order of its inputs.

    The declaration of the node's type has the reasons (``archon.graph.nodes.<type>``).
    ``candidates`` has all candidates of the question.
    """
    kept = {identity(output["id"]) for output in node["outputs"]}
    judged = {identity(candidate["id"]): candidate for candidate in node.get("dropped", ())}
    node_type = NODE_TYPES.get(node["type"])  # None for a type of another version
    for entry in map(identity, node["inputs"]):
        if entry in kept:
            continue
        reason = Reason("not passed on")
        if node_type is not None and node_type.explain is not None and (kept or judged):
            reason = node_type.explain(node, judged.get(entry, candidates[entry]))
        yield Drop(entry, reason)
