"""Input and output of the validation rules: wirings and violations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archon.graph.dataflow import Dataflow, dataflow
from archon.graph.topology import reachable, reversed_edges, topological_order
from archon.spec.architecture import ArchitectureSpec


@dataclass(frozen=True)
class Violation:
    """A violation of a rule, with its JSON path."""

    reason: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Wiring:
    """A spec, its edges and the capabilities of its models: the input of the rules."""

    spec: ArchitectureSpec
    capabilities: Mapping[str, frozenset[str]]
    inputs: Mapping[str, tuple[str, ...]]
    """Node → the nodes that it reads, without inputs that name no node."""

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
        """Return the nodes and all nodes that read them, directly or indirectly."""
        return frozenset(reachable(self.readers, node_ids))

    @cached_property
    def flow(self) -> Dataflow:
        """The largest flows; the edges must be valid."""
        return dataflow(self.spec, self.order)


Rule = Callable[[Wiring], Iterable[Violation]]


def input_path(node_id: str, index: int) -> tuple[str | int, ...]:
    """Return the JSON path of an input."""
    return ("nodes", node_id, "inputs", index)
