"""Dataflow along the edges of a graph, computed from its spec alone.

Validation, model bindings, the cost estimate and, through it, the server's token limit use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from archon.graph.nodes.declaration import Calls
from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.spec.architecture import AnyNode, ArchitectureSpec


@dataclass(frozen=True, slots=True)
class Flow:
    """Candidates on an edge, with their critiques, tests and scores."""

    counts: Mapping[str, float] = field(default_factory=dict)
    """Writer → largest number of its candidates."""
    limit: float = math.inf
    critics: frozenset[str] = frozenset()
    """Nodes whose critiques may be present."""
    has_critiques: bool = False
    """True if critiques are present when every condition is true."""
    testers: frozenset[str] = frozenset()
    """Nodes whose unit tests are present."""
    is_scored: bool = False
    """True if every candidate has a score in any case."""
    has_support: bool = False
    """True if a candidate's latest score may be the support of a vote."""

    @property
    def total(self) -> float:
        """The largest number of candidates."""
        return min(self.limit, sum(self.counts.values()))

    @classmethod
    def joined(cls, flows: Sequence[Flow], written: Mapping[str, float]) -> Flow:
        """Return the union of flows by identity of their candidates.

        Two edges may have the same or different candidates of one writer; ``written`` is the number
        that each writer has written.
        """
        if len(flows) == 1:
            return flows[0]
        writers = dict.fromkeys(writer for flow in flows for writer in flow.counts)
        return cls(
            {w: min(written[w], sum(f.counts.get(w, 0) for f in flows)) for w in writers},
            sum(flow.total for flow in flows),
            frozenset().union(*(flow.critics for flow in flows)),
            any(flow.has_critiques for flow in flows),
            frozenset().union(*(flow.testers for flow in flows)),
            bool(flows) and all(flow.is_scored for flow in flows),
            any(flow.has_support for flow in flows),
        )

    def either(self, other: Flow, *, is_mean: bool) -> Flow:
        """Return an upper bound of this flow and ``other``, or their mean.

        These are the output and the input of a node that may pass on its input.
        """

        def combined(a: float, b: float) -> float:
            return (a + b) / 2 if is_mean else max(a, b)

        writers = {**self.counts, **other.counts}
        return Flow(
            {w: combined(self.counts.get(w, 0), other.counts.get(w, 0)) for w in writers},
            combined(self.total, other.total),
            self.critics | other.critics,
            self.has_critiques,
            self.testers | other.testers,
            self.is_scored and other.is_scored,
            self.has_support or other.has_support,
        )

    def at_most(self, count: int | None) -> Flow:
        """Return the flow limited to ``count`` candidates."""
        if count is None or self.total <= count:
            return self
        return replace(self, counts={w: min(c, count) for w, c in self.counts.items()}, limit=count)


@dataclass(frozen=True, slots=True)
class Dataflow:
    """The flows into and out of all nodes."""

    arriving: Mapping[str, Flow]
    leaving: Mapping[str, Flow]
    written: Mapping[str, float]
    """Writer → number of candidates that it writes."""


def dataflow(
    spec: ArchitectureSpec,
    order: Iterable[str],
    *,
    agreement: float | None = None,
    may_be_cut: bool = False,
) -> Dataflow:
    """Compute the flows of candidates, critiques, tests and scores through the graph.

    Parameters
    ----------
    order
        The nodes, each after its inputs.
    agreement
        The share of samples that agree, for the expected flow, where conditions are true half of
        the time. None for the largest flow: every node runs, writes and keeps all it can.
    may_be_cut
        A budget may make any node pass on its inputs.
    """
    is_mean = agreement is not None
    arriving: dict[str, Flow] = {}
    leaving: dict[str, Flow] = {}
    written: dict[str, float] = {}
    for name in order:
        node = spec.nodes[name]
        sources = [leaving[source] for source in node.inputs]
        flow = arriving[name] = Flow.joined(sources, written)
        if NODE_TYPES[node.type].effects.writes:
            written[name] = num_calls(method_of(node).calls(node, math.ceil(flow.total)), agreement)
        passed = _passed_on(name, node, flow, written, is_mean)
        if node.when is not None or (may_be_cut and not is_mean):
            passed = passed.either(flow, is_mean=is_mean)
        leaving[name] = passed
    return Dataflow(arriving, leaving, written)


def num_calls(calls: Calls, agreement: float | None) -> float:
    """Return the expected number of calls for a share of samples that agree.

    Without a share, return the largest number.
    """
    if agreement is None or calls.expected is None:
        return calls.count
    return calls.expected(agreement)


def _passed_on(
    name: str, node: AnyNode, flow: Flow, written: Mapping[str, float], is_mean: bool
) -> Flow:
    """Return the part of a flow that a node passes on if it runs, with the node's effects."""
    effects = NODE_TYPES[node.type].effects
    if effects.replaces:
        flow = Flow(testers=flow.testers)
    if effects.usual_share < 1 and is_mean:
        flow = flow.at_most(math.ceil(flow.total * effects.usual_share))
    if effects.keeps is not None:
        flow = flow.at_most(effects.keeps(node))
    if effects.writes:
        flow = Flow.joined([flow, Flow({name: written[name]})], written)
    if effects.scores is not None:
        flow = replace(flow, is_scored=True, has_support=effects.scores == "support")
    if effects.critiques:
        flow = replace(flow, critics=flow.critics | {name}, has_critiques=True)
    if effects.writes_tests is not None:
        flow = replace(flow, testers=flow.testers | {name})
    return flow
