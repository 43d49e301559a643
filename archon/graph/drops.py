"""Find the candidates that a node did not pass on, and the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from archon.graph.nodes.declaration import Plain, Reason
from archon.graph.nodes.registry import NODE_TYPES

Identity = tuple[str, int]
"""A candidate's id: the node that wrote it, and its sample index."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A candidate that a node did not pass on, and the reason."""

    candidate: Identity
    reason: Reason


def identity(data: Plain) -> Identity:
    """Return a candidate's id, given the ``id`` value in its plain data."""
    return data["node"], data["draw"]


def drops(node: Plain, candidates: Mapping[Identity, Plain]) -> Iterator[Drop]:
    """Yield the candidates that a node dropped, in the order of its inputs.

    The reasons come from ``explain`` in the declaration of the node's type.

    Parameters
    ----------
    node
        The node's entry in a trace.
    candidates
        All candidates in the trace.
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
