"""Static dataflow analysis: computes from a spec what can arrive along each edge of a graph.

It is used for validation, for the model bindings, and for the cost estimate.
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
    """Candidates on an edge, counted by the node that wrote them, with annotations and tests."""

    counts: Mapping[str, float] = field(default_factory=dict)
    """Node → the maximum or the expected number of its candidates on the edge."""
    limit: float = math.inf
    """Upper bound on the total number of candidates."""
    critics: frozenset[str] = frozenset()
    """Nodes whose critiques the candidates may have."""
    has_critiques: bool = False
    """True if the candidates have critiques when every ``when`` is true."""
    testers: frozenset[str] = frozenset()
    """Nodes whose unit tests may arrive with the candidates."""
    is_scored: bool = False
    """True if every candidate has a score, whether or not conditions are true."""
    has_support: bool = False
    """True if a candidate's latest score may be the support of a vote."""

    @property
    def total(self) -> float:
        """The total number of candidates, maximum or expected."""
        return min(self.limit, sum(self.counts.values()))

    @classmethod
    def joined(cls, flows: Sequence[Flow], written: Mapping[str, float]) -> Flow:
        """Merge the flows of a node's inputs.

        Two edges may carry the same or different candidates of one node. The merged flow therefore
        contains the sum of both counts, but at most ``written[node]``, the number of candidates
        that the node writes.
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
        """Combine this flow, the output of a node, with ``other``, the node's input.

        Because of ``when`` or a budget, the node passes on one or the other. Each count is the
        larger of the two or, with ``is_mean``, their mean.
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
        """Return the flow limited to ``count`` candidates; None means no limit."""
        if count is None or self.total <= count:
            return self
        return replace(self, counts={w: min(c, count) for w, c in self.counts.items()}, limit=count)


@dataclass(frozen=True, slots=True)
class Dataflow:
    """The flows through a graph."""

    arriving: Mapping[str, Flow]
    """Node → the merged flow of its inputs."""
    leaving: Mapping[str, Flow]
    """Node → its output flow."""
    written: Mapping[str, float]
    """Node → number of candidates that it writes, for every node that writes any."""


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
        The names of the nodes, each after its inputs.
    agreement
        The assumed share of samples with the most frequent value, to compute the expected flow;
        conditions are then assumed to be true half of the time. If it is None, the maximum flow is
        computed: every node runs, writes its maximum number of candidates and drops as few as
        possible.
    may_be_cut
        True if a budget may stop any node, which then passes on its inputs.
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
    """Return the expected number of calls, given the share of samples that agree.

    If ``agreement`` is None, return the maximum number of calls.
    """
    if agreement is None or calls.expected is None:
        return calls.count
    return calls.expected(agreement)


def _passed_on(
    name: str, node: AnyNode, flow: Flow, written: Mapping[str, float], is_mean: bool
) -> Flow:
    """Return the output flow of a node that runs: its input flow, with the node type's effects."""
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
