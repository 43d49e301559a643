"""Topological order and reachability of a graph, given as node → the nodes that it reads.

Every command that loads an architecture uses this module, so it does not import networkx, which is
slow to import. Only the search for a cycle does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush

Edges = Mapping[str, Sequence[str]]


def topological_order(edges: Edges) -> list[str]:
    """Return the nodes in an order in which each node comes after the nodes that it reads.

    If several nodes could be next, the one that comes first in ``edges`` is chosen.

    Raises
    ------
    graphlib.CycleError
        The graph has a cycle.
    """
    names = list(edges)
    position = {name: i for i, name in enumerate(names)}
    sorter = TopologicalSorter(edges)
    sorter.prepare()
    ready: list[int] = []
    order: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, position[name])
        name = names[heappop(ready)]
        order.append(name)
        sorter.done(name)
    return order


def reversed_edges(edges: Edges) -> dict[str, list[str]]:
    """Return node → the nodes that read it, in the order of ``edges``."""
    readers: dict[str, list[str]] = {name: [] for name in edges}
    for name, sources in edges.items():
        for source in dict.fromkeys(sources):
            readers[source].append(name)
    return readers


def reachable(edges: Edges, starts: Iterable[str]) -> set[str]:
    """Return ``starts`` and all nodes that are reachable from them along ``edges``."""
    found: set[str] = set()
    ahead = list(starts)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += edges.get(name, ())
    return found
