"""What the rules check, and the violations that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archon.graph.dataflow import Dataflow, dataflow
from archon.graph.topology import reachable, reversed_edges, topological_order
from archon.spec.architecture import ArchitectureSpec


@dataclass(frozen=True)
class Violation:
    """A broken rule: what is wrong, and where in the file."""

    reason: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Wiring:
    """A spec, its edges and the capabilities of its models, as the rules see them."""

    spec: ArchitectureSpec
    capabilities: Mapping[str, frozenset[str]]
    inputs: Mapping[str, tuple[str, ...]]
    """Node → the nodes that it reads; inputs that name no node are left out."""

    @classmethod
    def of(cls, spec: ArchitectureSpec, capabilities: Mapping[str, frozenset[str]]) -> Wiring:
        inputs = {
            node_id: tuple(source for source in node.inputs if source in spec.nodes)
            for node_id, node in spec.nodes.items()
        }
        return cls(spec, capabilities, inputs)

    @cached_property
    def readers(self) -> Mapping[str, Sequence[str]]:
        """Node → the nodes that read it, in the order of declaration."""
        return reversed_edges(self.inputs)

    @cached_property
    def order(self) -> list[str]:
        """Every node after its inputs; the graph must have no cycle."""
        return topological_order(self.inputs)

    def downstream(self, node_ids: Iterable[str]) -> frozenset[str]:
        """The nodes themselves and all nodes after them."""
        return frozenset(reachable(self.readers, node_ids))

    @cached_property
    def flow(self) -> Dataflow:
        """What arrives at each node; the edges must be valid."""
        return dataflow(self.spec, self.order)


Rule = Callable[[Wiring], Iterable[Violation]]


def input_path(node_id: str, index: int) -> tuple[str | int, ...]:
    """The place of an input in a file."""
    return ("nodes", node_id, "inputs", index)
