"""The input (``Wiring``) and the output (``Violation``) of the validation rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archon.graph.dataflow import Dataflow, dataflow
from archon.graph.topology import reachable, reversed_edges, topological_order
from archon.spec.architecture import ArchitectureSpec


@dataclass(frozen=True)
class Violation:
    """A violation of a rule, with the JSON path of the value that causes it."""

    reason: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Wiring:
    """The input of the validation rules: a spec, its edges and its models' capabilities."""

    spec: ArchitectureSpec
    capabilities: Mapping[str, frozenset[str]]
    inputs: Mapping[str, tuple[str, ...]]
    """Node → the nodes that it reads, without names of nodes that do not exist."""

    @classmethod
    def of(cls, spec: ArchitectureSpec, capabilities: Mapping[str, frozenset[str]]) -> Wiring:
        inputs = {
            node_id: tuple(source for source in node.inputs if source in spec.nodes)
            for node_id, node in spec.nodes.items()
        }
        return cls(spec, capabilities, inputs)

    @cached_property
    def readers(self) -> Mapping[str, Sequence[str]]:
        """Node → the nodes that read it, in file order."""
        return reversed_edges(self.inputs)

    @cached_property
    def order(self) -> list[str]:
        """The nodes in topological order; the graph must have no cycle."""
        return topological_order(self.inputs)

    def downstream(self, node_ids: Iterable[str]) -> frozenset[str]:
        """Return ``node_ids`` and all nodes that read them, directly or indirectly."""
        return frozenset(reachable(self.readers, node_ids))

    @cached_property
    def flow(self) -> Dataflow:
        """The maximum number of candidates on each edge; the edges must be valid."""
        return dataflow(self.spec, self.order)


Rule = Callable[[Wiring], Iterable[Violation]]


def input_path(node_id: str, index: int) -> tuple[str | int, ...]:
    """Return the JSON path of a node's input, given its position in ``inputs``."""
    return ("nodes", node_id, "inputs", index)
