"""Build a valid graph from an architecture's spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archon.errors import together
from archon.graph.dataflow import Dataflow
from archon.graph.validation.checks import graph_errors
from archon.graph.validation.wiring import Wiring
from archon.spec.architecture import ArchitectureSpec


@dataclass(frozen=True)
class Graph:
    """A graph that follows all validation rules."""

    spec: ArchitectureSpec
    order: tuple[str, ...]
    """The nodes in topological order: each comes after its inputs."""
    inputs: Mapping[str, tuple[str, ...]]
    """Node → the nodes that it reads, both in file order."""
    flow: Dataflow
    """The maximum number of candidates on each edge, and what arrives with them."""


def build(
    spec: ArchitectureSpec,
    capabilities: Mapping[str, frozenset[str]],
    file: str | None = None,
) -> Graph:
    """Return the graph of a spec, after checking every rule of ``archon.graph.validation.checks``.

    Parameters
    ----------
    capabilities
        Role → capabilities of its model. Rules about models are not checked for roles that are
        missing from this mapping.
    file
        The name of the spec's file, for errors.

    Raises
    ------
    GraphError
        The graph violates rules. The error's ``errors`` attribute gives the file, JSON path and
        rule of each violation.
    """
    wiring = Wiring.of(spec, capabilities)
    if errors := graph_errors(wiring, file):
        raise together(errors)
    return Graph(
        spec=spec,
        order=tuple(wiring.order),
        inputs={node: tuple(spec.nodes[node].inputs) for node in spec.nodes},
        flow=wiring.flow,
    )
